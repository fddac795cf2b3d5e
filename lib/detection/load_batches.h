// SPDX-License-Identifier: GPL-3.0-or-later
// The channels of an estimate to their batches, and how strong each is.
#pragma once

#include <complex>
#include <cstddef>
#include <span>

#include "detection/batches.h"
#include "detection/exact_norm.h"
#include "detection/kernel.h" // max_lanes
#include "detection/noise.h"
#include "support/assert.h"

namespace kaq {

// h: [num_channels][num_rx][num_tx]. load(batch, lanes, squared_norms) is to take the channel that each lane points to
// into a batch, and to say what the squares of its entries sum up to in single precision. The power of all levels
// follows; it is not finite if h is not.
template <typename Load>
void load_batches(Batches &batches, std::span<const std::complex<float>> h, int num_rx, std::span<ChannelLevels> levels,
                  const Load &load) {
    const std::size_t antennas = h.size() / batches.num_channels(), num_lanes = batches.lanes();
    KAQ_ASSERT(h.size() == antennas * batches.num_channels() && levels.size() * antennas == h.size());
    batches.prepare([&](int batch, int) {
        const std::complex<float> *lanes[max_lanes];
        float squared_norms[max_lanes];
        batches.for_each_lane(batch, [&](int lane, int channel) { lanes[lane] = h.data() + channel * antennas; });
        load(batch, std::span<const std::complex<float> *const>(lanes, num_lanes),
             std::span<float>(squared_norms, num_lanes));
        for (int l = 0; l < batches.channels_of(batch); ++l) {
            double norm = squared_norms[l];
            if (!(norm > least_exact && norm < largest_exact))
                norm = exact_squared_norm({lanes[l], antennas});
            levels[batches.first_channel(batch) + l].power = norm / num_rx;
        }
    });
}

} // namespace kaq
