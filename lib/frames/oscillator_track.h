// SPDX-License-Identifier: GPL-3.0-or-later
// The carrier's offset and phase from frame to frame, by a Kalman filter.
//
//     phase(t + dt) = phase(t) + 2 pi offset dt + w_phase,    offset(t + dt) = offset(t) + w_offset
//
// Each frame's training says the offset, roughly. A frame's phase against those before says the mean offset in between,
// finely, but only up to whole turns: it counts where the filter already knows which.
//
// Times are in OFDM symbols, offsets in cycles per symbol, phases in radians.
#pragma once

namespace kaq {

class OscillatorTrack {
public:
    // Forgets everything, and begins with a frame that says this offset.
    void begin(double time, double phase, double offset, double variance);

    // Goes on to a later frame, which says this offset; false: it cannot be that of the same oscillators.
    bool advance(double time, double offset, double variance);

    // The phase of this frame, up to whole turns.
    void take_phase(double phase, double variance);

    // The phase of this frame where nothing connects it to those before.
    void begin_phase(double phase);

    double phase() const { return state_[0]; } // at the time of the last frame
    double phase_at(double time) const;        // of a later one
    double offset() const { return state_[1]; }

private:
    void take(int which, double away, double variance);

    double time_ = 0;
    double state_[2] = {}; // phase, offset
    double variance_[2][2] = {};
};

// Of the offset that one frame's training says: fading turns each of so many pairs of antennas by itself; noise and the
// steps of the estimate come on top. In squared cycles per symbol.
double offset_variance(double doppler, double snr, int pairs);

} // namespace kaq
