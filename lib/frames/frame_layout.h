// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

namespace kaq {

// A preamble of equal periods, then OFDM symbols, the first of which is known. All lengths are in samples and multiples
// of 4.
struct FrameLayout {
    int fft_size;
    int cp_length;
    int timing_advance; // by which the windows begin early; less than cp_length
    int delay_window;   // in which all paths lie
    int num_symbols;    // 1 to 100
    int period;         // after which the preamble repeats itself; a multiple of 16
    int num_periods;    // 6 to 100

    int preamble_length() const { return num_periods * period; }
    int symbol_length() const { return cp_length + fft_size; }
    int known_length() const { return preamble_length() + symbol_length(); }
    int frame_length() const { return preamble_length() + num_symbols * symbol_length(); }
};

inline constexpr int max_frame_streams = 8; // of a frame

// Of the carrier offset's second estimate: over so many periods.
inline constexpr int lag_periods = 5;

// Throws std::invalid_argument, unless frames of this layout can be searched for.
void check(const FrameLayout &layout);

} // namespace kaq
