// SPDX-License-Identifier: GPL-3.0-or-later
#include "frames/antenna_faults.h"

#include <algorithm>
#include <cstddef>

#include "frames/four_lanes.h"

namespace kaq {
namespace {

constexpr double dead_ratio = 1e-3;     // of the other antennas' mean power
constexpr float peak_tolerance = 1e-3f; // amplitudes this close to the greatest are the same: gains and rotations round
constexpr double peak_share = 0.005;    // of all samples
constexpr double coarse_share = 0.02;   // where there are few amplitudes: a preamble repeats its greatest one ten times
constexpr float below_peak = 0.9f;      // amplitudes from here to the greatest are fewer than those at it

struct Levels {
    double power;
    bool saturated;
};

// What a sample counts by: the squares of its real part, its imaginary part and its magnitude.
float square(const AntennaView &samples, int kind, int n) {
    const float x = samples.re[n], y = samples.im[n];
    return kind == 0 ? x * x : kind == 1 ? y * y : x * x + y * y;
}

// Whether amplitudes pile up at the greatest one, which so many have. A few integers, of a gain that is too low, often
// have the same greatest one, too; but more have the next.
bool piles_up(const AntennaView &samples, int kind, float least, int num_greatest) {
    float second = 0;
    for (int n = 0; n < samples.size(); ++n)
        if (const float value = square(samples, kind, n); value < least)
            second = std::max(second, value);
    const bool coarse = second < below_peak * below_peak * least;
    if (coarse && (kind == 2 || num_greatest < coarse_share * samples.size())) // magnitudes of integers have no order
        return false;
    const float low = coarse ? (1 - peak_tolerance) * (1 - peak_tolerance) * second : below_peak * below_peak * least;
    int num_below = 0;
    for (int n = 0; n < samples.size(); ++n)
        if (const float value = square(samples, kind, n); value < least)
            num_below += value >= low;
    return num_greatest > num_below;
}

Levels levels_of(const AntennaView &samples) {
    const int length = samples.size();
    KAQ_ASSERT(length > 0 && length % 4 == 0);
    // squares of real part, imaginary part and magnitude
    const auto visit = [&](auto visitor) {
        for (int n = 0; n < length; n += 4) {
            const Four x = four(samples.re.data() + n), y = four(samples.im.data() + n);
            visitor(Four{x * x}, Four{y * y}, Four{x * x + y * y});
        }
    };
    Four sum{}, greatest[3] = {};
    visit([&](Four re, Four im, Four both) {
        sum += both;
        const Four squares[] = {re, im, both};
        for (int k = 0; k < 3; ++k)
            greatest[k] = squares[k] > greatest[k] ? squares[k] : greatest[k];
    });
    float least[3];
    for (int k = 0; k < 3; ++k)
        least[k] = (1 - peak_tolerance) * (1 - peak_tolerance) *
                   std::max({greatest[k][0], greatest[k][1], greatest[k][2], greatest[k][3]});
    FourCounts counts[3] = {};
    visit([&](Four re, Four im, Four both) {
        const Four squares[] = {re, im, both};
        for (int k = 0; k < 3; ++k)
            counts[k] -= squares[k] >= least[k];
    });
    bool saturated = false;
    for (int k = 0; k < 3; ++k) {
        const int count = counts[k][0] + counts[k][1] + counts[k][2] + counts[k][3];
        saturated |= count >= peak_share * length && piles_up(samples, k, least[k], count);
    }
    return {(double(sum[0]) + sum[1] + sum[2] + sum[3]) / length, saturated};
}

} // namespace

void find_faults(std::span<const AntennaView> antennas, std::span<std::uint8_t> dead, std::span<std::uint8_t> saturated,
                 std::span<double> power) {
    const std::size_t num_rx = antennas.size();
    KAQ_ASSERT(dead.size() == num_rx && saturated.size() == num_rx && power.size() == num_rx);
    double all = 0;
    for (std::size_t a = 0; a < num_rx; ++a) {
        const Levels levels = levels_of(antennas[a]);
        power[a] = levels.power;
        saturated[a] = levels.saturated;
        all += levels.power;
    }
    for (std::size_t a = 0; a < num_rx; ++a) {
        const double others = (all - power[a]) / std::max(1, static_cast<int>(num_rx) - 1);
        dead[a] = power[a] == 0 || power[a] < dead_ratio * others;
        saturated[a] &= !dead[a];
    }
}

} // namespace kaq
