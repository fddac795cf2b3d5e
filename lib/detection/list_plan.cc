// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/list_plan.h"

#include <algorithm>
#include <utility>

#include "detection/instruction_sets.h"
#include "detection/load_batches.h"
#include "support/assert.h"
#include "support/expect.h"

namespace kaq {
namespace {

// Noise is at least this times the mean power of a stream at all antennas; channel_levels.py.
constexpr double least_noise = 1e-9;

Size checked_size(int num_rx, int num_tx) {
    expect(num_rx >= 1 && num_rx <= max_list_rx, "num_rx is ", num_rx, "; 1 to ", max_list_rx, " expected");
    expect(num_tx >= 1 && num_tx <= max_list_streams, "num_tx is ", num_tx, "; 1 to ", max_list_streams, " expected");
    return {num_rx, num_tx};
}

} // namespace

ListPlan::ListPlan(ListNetwork network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads)
    : network_(checked(std::move(network))), kernel_(kernel), list_(list_kernel_of(kernel)),
      size_(checked_size(num_rx, num_tx)),
      batches_(num_channels, list_.lanes, list_.batch_floats(size_), list_.scratch_floats(size_), num_threads),
      levels_(num_channels) {}

void ListPlan::prepare(std::span<const std::complex<float>> h, const Noise &noise, int /*vectors_per_estimate*/) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    KAQ_ASSERT(h.size() == num_channels() * antennas);
    load_batches(batches_, h, num_rx(), levels_, [&](int batch, const auto &lanes, const auto &squared_norms) {
        list_.load(size_, lanes, batches_[batch], squared_norms);
    });
    find_levels(noise, num_rx(), num_tx(), any_snr, levels_);
    batches_.prepare([&](int batch, int thread) {
        ListLevel lanes[max_lanes];
        batches_.for_each_lane(batch, [&](int lane, int channel) {
            const ChannelLevels &of = levels_[channel];
            const double gain = of.gain, least = least_noise * (of.power / num_tx() * num_rx() * (gain * gain));
            lanes[lane] = {of.gain, static_cast<float>(of.gain > 0 ? std::max(of.noise_var, least) : 1.0)};
        });
        list_.prepare(network_, size_, {lanes, static_cast<std::size_t>(list_.lanes)}, batches_[batch],
                      batches_.scratch(thread));
    });
}

std::size_t ListPlan::detect(const ReceivedView &received, const DetectedView &detected) {
    return batches_.detect(received, detected, [&](int batch, const LaneVectors &vectors, int thread) {
        return list_.detect(network_, size_, batches_[batch], vectors, received, detected, batches_.scratch(thread));
    });
}

} // namespace kaq
