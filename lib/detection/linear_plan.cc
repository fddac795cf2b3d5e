// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/linear_plan.h"

#include "detection/instruction_sets.h"
#include "detection/linear_batch.h"
#include "detection/load_batches.h"
#include "support/assert.h"
#include "support/complex_product.h"
#include "support/expect.h"

namespace kaq {
namespace {

Size checked_size(int num_rx, int num_tx) {
    expect(num_rx >= 1, "num_rx is ", num_rx, "; at least 1 expected");
    expect(num_tx >= 1, "num_tx is ", num_tx, "; at least 1 expected");
    return {num_rx, num_tx};
}

} // namespace

LinearPlan::LinearPlan(const LinearNetwork &network, const Kernel &kernel, int num_channels, int num_rx, int num_tx,
                       int num_threads)
    : network_(checked(network)), kernel_(kernel), linear_(linear_kernel_of(kernel)),
      size_(checked_size(num_rx, num_tx)),
      batches_(num_channels, linear_.lanes, LinearLayout(size_).size * linear_.lanes, linear_.scratch_floats(size_),
               num_threads),
      levels_(num_channels), precise_(num_threads, PreciseFilter(size_)) {}

void LinearPlan::prepare(std::span<const std::complex<float>> h, const Noise &noise, int vectors_per_estimate) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    KAQ_ASSERT(h.size() == num_channels() * antennas);
    load_batches(batches_, h, num_rx(), levels_, [&](int batch, const auto &lanes, const auto &squared_norms) {
        linear_.load(size_, lanes, batches_[batch], squared_norms);
    });
    find_levels(noise, num_rx(), num_tx(), any_snr, levels_);
    // One matrix costs num_rx num_tx^2 products for each estimate, two cost num_tx^2 for each vector.
    one_matrix_ = vectors_per_estimate > num_rx();
    batches_.prepare([&](int batch, int thread) {
        ChannelLevels lanes[max_lanes];
        batches_.for_each_lane(batch, [&](int lane, int channel) { lanes[lane] = levels_[channel]; });
        const std::uint32_t imprecise =
            linear_.prepare(network_, size_, one_matrix_, {lanes, static_cast<std::size_t>(linear_.lanes)},
                            batches_[batch], batches_.scratch(thread));
        for (int l = 0; l < batches_.channels_of(batch); ++l)
            if (imprecise >> l & 1) {
                const int channel = batches_.first_channel(batch) + l;
                precise_[thread].prepare(network_, h.subspan(channel * antennas, antennas), levels_[channel]);
                set_precise(batch, l, precise_[thread]);
            }
    });
}

// A channel's filter, to all lanes that have it.
void LinearPlan::set_precise(int batch, int channel_lane, const PreciseFilter &filter) {
    const LinearLayout layout(size_);
    const auto set = [&](std::size_t place, double value) {
        float *lanes = batches_[batch].data() + place * linear_.lanes;
        for (int l = channel_lane; l < linear_.lanes; l += batches_.channels_of(batch))
            lanes[l] = static_cast<float>(value);
    };
    const auto set_complex = [&](std::size_t begin, std::size_t rows, std::size_t i, std::complex<double> value) {
        set(begin + i, value.real());
        set(begin + rows * layout.n + i, value.imag());
    };
    for (std::size_t r = 0; r < layout.num_rx; ++r)
        for (std::size_t i = 0; i < layout.n; ++i) {
            std::complex<double> entry = filter.first[r * layout.n + i];
            if (one_matrix_) {
                entry = 0;
                for (std::size_t k = 0; k < layout.n; ++k)
                    entry += product(filter.first[r * layout.n + k], filter.second[k * layout.n + i]);
            }
            set_complex(layout.first, layout.num_rx, r * layout.n + i, entry);
        }
    for (std::size_t i = 0; i < layout.n * layout.n; ++i)
        set_complex(layout.second, layout.n, i, filter.second[i]);
    for (std::size_t i = 0; i < layout.n; ++i)
        set(layout.llr_scale + i, filter.llr_scale[i]);
}

std::size_t LinearPlan::detect(const ReceivedView &received, const DetectedView &detected) {
    return batches_.detect(received, detected, [&](int batch, const LaneVectors &vectors, int thread) {
        return linear_.detect(network_, size_, one_matrix_, batches_[batch], vectors, received, detected,
                              batches_.scratch(thread));
    });
}

} // namespace kaq
