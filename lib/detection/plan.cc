// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/plan.h"

#include <algorithm>
#include <utility>

#include "support/assert.h"
#include "support/expect.h"

namespace kaq {
namespace {

Size checked_size(int num_rx, int num_tx) {
    expect(num_rx >= 1, "num_rx is ", num_rx, "; at least 1 expected");
    expect(num_tx >= 1 && num_tx <= max_streams, "num_tx is ", num_tx, "; 1 to ", max_streams, " expected");
    return {num_rx, num_tx};
}

} // namespace

Plan::Plan(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads)
    : network_(checked(std::move(network))), kernel_(kernel), size_(checked_size(num_rx, num_tx)),
      batches_(num_channels, kernel.lanes, kernel.batch_floats(network_, size_), kernel.scratch_floats(network_, size_),
               num_threads),
      levels_(num_channels) {}

void Plan::prepare(std::span<const std::complex<float>> h, const Noise &noise, int vectors_per_estimate) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    KAQ_ASSERT(h.size() == num_channels() * antennas);
    batches_.prepare([&](int batch, int) {
        double norms[max_lanes];
        const std::size_t first = batches_.first_channel(batch), count = batches_.channels_of(batch);
        kernel_.squared_norms(h.subspan(first * antennas, count * antennas), {norms, count});
        for (std::size_t c = 0; c < count; ++c)
            levels_[first + c].power = norms[c] / num_rx();
    });
    find_levels(noise, num_rx(), num_tx(), {network_.snr_low_db, network_.snr_high_db}, levels_);
    // One matrix costs num_rx num_tx^2 products for each estimate, two cost num_tx^2 for each vector.
    direct_ = network_.type == NetworkType::admm && vectors_per_estimate > num_rx();
    const LawValues common(network_, levels_[0].inverse_root_snr);
    batches_.prepare([&](int batch, int thread) {
        Estimate lanes[max_lanes];
        batches_.for_each_lane(batch, [&](int lane, int channel) {
            const ChannelLevels &of = levels_[channel];
            lanes[lane] = {h.data() + channel * antennas, of.gain, static_cast<float>(of.noise_var),
                           of.inverse_root_snr};
        });
        kernel_.prepare(form(), {lanes, static_cast<std::size_t>(kernel_.lanes)}, common, batches_[batch],
                        batches_.scratch(thread));
    });
}

std::size_t Plan::detect(const ReceivedView &received, const DetectedView &detected) {
    return batches_.detect(received, detected, [&](int batch, const LaneVectors &vectors, int thread) {
        return kernel_.detect(form(), batches_[batch], vectors, received, detected, batches_.scratch(thread));
    });
}

void Plan::filter(const ReceivedView &received, std::span<std::int16_t> b, std::span<bool> finite) {
    const int num_vectors = received.num_vectors;
    KAQ_ASSERT(received.num_channels == num_channels() && b.size() == finite.size() * rows());
    batches_.prepare([&](int batch, int thread) {
        kernel_.filter(form(), batches_[batch],
                       {batches_.first_channel(batch), batches_.channels_of(batch), 0, num_vectors}, received,
                       {b.data(), num_channels(), num_vectors}, finite, batches_.scratch(thread));
    });
}

void Plan::layers(std::span<const std::int16_t> b, std::span<std::int16_t> t) {
    const int num_vectors = static_cast<int>(t.size() / (static_cast<std::size_t>(num_channels()) * rows()));
    KAQ_ASSERT(b.size() == t.size());
    std::copy(b.begin(), b.end(), t.begin());
    batches_.prepare([&](int batch, int thread) {
        kernel_.layers(form(), batches_[batch],
                       {batches_.first_channel(batch), batches_.channels_of(batch), 0, num_vectors},
                       {t.data(), num_channels(), num_vectors}, batches_.scratch(thread));
    });
}

void Plan::llrs(std::span<const std::int16_t> t, std::span<std::int32_t> llrs) const {
    kernel_.llrs(network_, t, llrs);
}

Integers Plan::integers() const {
    Integers out(network_, num_channels(), rows());
    for (int c = 0; c < num_channels(); ++c)
        kernel_.get_integers(form(), batches_[c / kernel_.lanes], c % kernel_.lanes,
                             {out, static_cast<std::size_t>(c), static_cast<std::size_t>(num_channels())});
    return out;
}

void Plan::set_integers(const Integers &from) {
    for (int batch = 0; batch < batches_.size(); ++batch)
        batches_.for_each_lane(batch, [&](int lane, int channel) {
            kernel_.set_integers(form(), batches_[batch], lane,
                                 {from, static_cast<std::size_t>(channel), static_cast<std::size_t>(num_channels())});
        });
}

} // namespace kaq
