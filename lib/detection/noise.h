// SPDX-License-Identifier: GPL-3.0-or-later
// What a caller knows of the noise, and what follows for each channel.
#pragma once

#include <span>

namespace kaq {

// One value for all channels together, or one for each. signal_model.py defines the SNR.
struct Noise {
    enum class Kind { variance, snr_db };

    Kind kind;
    std::span<const double> values;

    // Noise variances per receive antenna.
    static Noise of_variance(std::span<const double> values) { return {Kind::variance, values}; }
    static Noise of_snr_db(std::span<const double> values) { return {Kind::snr_db, values}; }
};

// A channel before it is prepared.
struct ChannelLevels {
    double power;            // of what an antenna receives: ||H||_F^2 / num_rx
    float gain;              // H is multiplied by this power of two; 0: nothing is known of the channel
    double noise_var;        // of H times gain
    double inverse_root_snr; // where the laws are evaluated
};

struct SnrRange {
    double low_db, high_db;
};

// For detectors of which nothing follows the SNR but through the noise.
inline constexpr SnrRange any_snr{-1e3, 1e3};

// All else of the levels from `power`; the SNR is clipped to the range. Throws std::invalid_argument if a power is NaN
// or Inf.
void find_levels(const Noise &noise, int num_rx, int num_tx, const SnrRange &range, std::span<ChannelLevels> levels);

} // namespace kaq
