// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/frame_layout.h"

#include <utility>

#include "support/expect.h"

namespace kaq {
namespace {

constexpr int max_length = 1 << 16; // of a part, so that no sum of them overflows
constexpr int max_parts = 100;
constexpr int length_unit = 4;  // what is done at once: four_lanes.h
constexpr int period_unit = 16; // M is looked at every quarter of a period, which has to be a multiple of 4

} // namespace

void check(const FrameLayout &layout) {
    for (const auto &[name, length] :
         {std::pair{"fft_size", layout.fft_size}, std::pair{"cp_length", layout.cp_length},
          std::pair{"timing_advance", layout.timing_advance}, std::pair{"delay_window", layout.delay_window}})
        expect(length > 0 && length <= max_length && length % length_unit == 0, name, " is ", length,
               "; a multiple of ", length_unit, " up to ", max_length, " expected");
    expect(layout.timing_advance < layout.cp_length, "timing_advance is ", layout.timing_advance,
           "; less than cp_length expected, ", layout.cp_length);
    expect(layout.delay_window <= layout.symbol_length(), "delay_window is ", layout.delay_window,
           "; at most symbol_length expected, ", layout.symbol_length());
    expect(layout.period > 0 && layout.period <= max_length && layout.period % period_unit == 0, "period is ",
           layout.period, "; a multiple of ", period_unit, " up to ", max_length, " expected");
    expect(layout.num_periods > lag_periods && layout.num_periods <= max_parts, "num_periods is ", layout.num_periods,
           "; ", lag_periods + 1, " to ", max_parts, " expected");
    expect(layout.num_symbols > 0 && layout.num_symbols <= max_parts, "num_symbols is ", layout.num_symbols, "; 1 to ",
           max_parts, " expected");
    // What is compared around a place would reach beyond the samples that decide about it.
    expect(3 * layout.symbol_length() <= 2 * layout.preamble_length(), "OFDM symbols have ", layout.symbol_length(),
           " samples; at most ", 2 * layout.preamble_length() / 3, " expected, two thirds of the preamble");
}

} // namespace kaq
