// SPDX-License-Identifier: GPL-3.0-or-later
// Ends of what linear detectors compute with; linear.py has the same ones.
#pragma once

namespace kaq {

inline constexpr double least_noise_part = 1e-10;      // of the sum of all streams' powers; for LMMSE
inline constexpr double least_linear_gain = 1e-12;     // of W H, by which an estimate is divided
inline constexpr double least_singular_part = 1e-6;    // of the largest singular value; zero forcing omits what is less
inline constexpr double largest_llr_scale = 1 / 2e-12; // the error's variance is at least 1e-12

} // namespace kaq
