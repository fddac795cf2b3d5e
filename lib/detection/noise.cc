// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/noise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/assert.h"
#include "support/expect.h"

namespace kaq {
namespace {

// Power of all entries that a stream arrives with, below which nothing is known of a channel: entries are below 1e-24,
// by far less than any radio delivers. A filter takes samples back to 1: its entries are up to 2^80, times 2^11 for the
// unit of states and 2^33 for a channel that is close to singular. That is still inside of single precision.
constexpr double least_power = 1e-48;

// Largest exponent of a gain. 2^120 and its inverse are normal numbers of single precision, with some room left.
constexpr int max_gain_exponent = 120;

// Largest noise variance of a channel whose entries are about 1. Nothing at all is known of its symbols there, and
// squares of it stay inside of single precision.
constexpr double max_noise_var = 1e10;

// The power of two that takes entries of this mean power next to 1, so that no square leaves single precision whatever
// the radio's gain is; 0 where nothing is known of a channel (H = 0).
float power_of_two_gain(double mean_power, int num_rx) {
    if (!(mean_power * num_rx > least_power))
        return 0;
    // the exponent of its root
    const int exponent = static_cast<int>(std::bit_cast<std::int64_t>(mean_power) >> 52) - 1023;
    const int of_gain = -std::clamp(exponent >> 1, -max_gain_exponent, max_gain_exponent);
    return std::bit_cast<float>(static_cast<std::uint32_t>(of_gain + 127) << 23);
}

double from_db(double db) { return std::pow(10.0, db / 10); }

// The SNR of noise of this variance.
double to_snr_db(double power, double noise_var) {
    if (!(power > 0))
        return -std::numeric_limits<double>::infinity();
    return 10 * std::log10(power) - 10 * std::log10(noise_var);
}

} // namespace

void find_levels(const Noise &noise, int num_rx, int num_tx, const SnrRange &range, std::span<ChannelLevels> levels) {
    KAQ_ASSERT(noise.values.size() == 1 || noise.values.size() == levels.size());
    const bool per_channel = noise.values.size() > 1;
    double mean_power = 0;
    for (const ChannelLevels &of : levels)
        mean_power += of.power / static_cast<double>(levels.size());
    expect(std::isfinite(mean_power), "h holds NaN or Inf");
    double inverse_root_snr = 0, noise_var = 0;
    for (std::size_t c = 0; c < levels.size(); ++c) {
        ChannelLevels &of = levels[c];
        of.gain = power_of_two_gain(of.power / num_tx, num_rx);
        if (c == 0 || per_channel) {
            const double power = per_channel ? of.power : mean_power, given = noise.values[c];
            const bool is_snr_db = noise.kind == Noise::Kind::snr_db;
            const double snr_db = is_snr_db ? given : to_snr_db(power, given);
            noise_var = is_snr_db ? power / from_db(given) : given;
            const double clipped = std::max(std::min(snr_db, range.high_db), range.low_db);
            inverse_root_snr = 1 / std::sqrt(from_db(clipped));
        }
        of.noise_var = std::min(noise_var * of.gain * of.gain, max_noise_var);
        of.inverse_root_snr = inverse_root_snr;
    }
}

} // namespace kaq
