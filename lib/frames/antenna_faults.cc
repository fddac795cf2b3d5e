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

struct Levels {
    double power;
    bool saturated;
};

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
    for (const FourCounts &count : counts)
        saturated |= count[0] + count[1] + count[2] + count[3] >= peak_share * length;
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
