// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/oscillator_track.h"

#include <cmath>
#include <numbers>

namespace kaq {
namespace {

constexpr double turn = 2 * std::numbers::pi;
constexpr double phase_noise = 1e-6; // squared radians in a symbol: a linewidth of 4 mHz at the reference numerology
constexpr double drift = 1e-12;      // of the offset: squared cycles per symbol, in a symbol
constexpr double max_deviation = 5;  // standard deviations of an offset that is believed
constexpr double pair_noise = 8e-4;  // squared cycles per symbol, for one pair at 0 dB
constexpr double offset_step = 5e-4;
constexpr double sure = 1; // radians: less, and the turn is known

} // namespace

void OscillatorTrack::begin(double time, double phase, double offset, double variance) {
    time_ = time;
    state_[1] = offset;
    variance_[1][1] = variance;
    begin_phase(phase);
}

void OscillatorTrack::begin_phase(double phase) {
    state_[0] = phase;
    variance_[0][0] = variance_[0][1] = variance_[1][0] = 0;
}

bool OscillatorTrack::advance(double time, double offset, double variance) {
    const double passed = time - time_, turned = turn * passed;
    time_ = time;
    state_[0] += turned * state_[1];
    variance_[0][0] += turned * (2 * variance_[0][1] + turned * variance_[1][1]) + phase_noise * passed;
    variance_[0][1] += turned * variance_[1][1];
    variance_[1][0] = variance_[0][1];
    variance_[1][1] += drift * passed;
    const double away = offset - state_[1];
    if (away * away > max_deviation * max_deviation * (variance_[1][1] + variance))
        return false;
    take(1, away, variance);
    return true;
}

void OscillatorTrack::take_phase(double phase, double variance) {
    double away = phase - state_[0];
    away -= turn * std::nearbyint(away / turn);
    if (variance_[0][0] < sure * sure)
        return take(0, away, variance);
    state_[0] += away;
    variance_[0][0] = variance;
    variance_[0][1] = variance_[1][0] = 0;
}

double OscillatorTrack::phase_at(double time) const { return state_[0] + turn * (time - time_) * state_[1]; }

void OscillatorTrack::take(int which, double away, double variance) {
    const double total = variance_[which][which] + variance;
    const double gain[2] = {variance_[0][which] / total, variance_[1][which] / total},
                 row[2] = {variance_[which][0], variance_[which][1]};
    for (int i = 0; i < 2; ++i) {
        state_[i] += gain[i] * away;
        for (int j = 0; j < 2; ++j)
            variance_[i][j] -= gain[i] * row[j];
    }
}

double offset_variance(double doppler, double snr, int pairs) {
    return (doppler * doppler + pair_noise / snr) / pairs + offset_step * offset_step;
}

} // namespace kaq
