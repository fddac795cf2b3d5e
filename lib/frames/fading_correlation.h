// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

namespace kaq {

// Of a channel with Jakes Doppler over time: J0(turn), which far away is made to vanish faster, because real spectra
// differ there: times exp(-(turn / 5)^2).
//
// turn: 2 pi times Doppler times lag, in radians, any sign. The error is below 1e-10.
double fading_correlation(double turn);

// The same where a share of the power, a line of sight, does not fade. (The offset of the carriers is its Doppler,
// too.)
inline double fading_correlation(double turn, double line) { return line + (1 - line) * fading_correlation(turn); }

} // namespace kaq
