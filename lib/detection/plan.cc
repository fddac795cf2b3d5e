// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/plan.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "support/assert.h"
#include "support/expect.h"

namespace kaq {
namespace {

constexpr int max_threads = 1024;

constexpr int vectors_at_once = 28; // what the stages hand to each other stays in the first-level cache

// Channel c's part of an array that has `size` elements for each channel; nothing of an array that is not used.
template <typename Array>
auto part(Array &of, int c, std::size_t size) {
    const std::size_t place = static_cast<std::size_t>(c) * size;
    KAQ_ASSERT(place + size <= of.size());
    return std::span(of.data() + place, size);
}

// The matrix of channel c in plain order.
template <Access access, typename Matrices>
PlainMatrixOf<access> plain_part(Matrices &of, int c, const Size &size, int num_layers) {
    const std::size_t rows = size.rows(), positions = size.positions(), layers = num_layers;
    return {size,
            {part(of.matrix, c, rows * positions).data(), rows, positions},
            {part(of.rescale, c, layers * positions).data(), layers, positions}};
}

} // namespace

Plan::Plan(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads)
    : network_(std::move(network)), kernel_(kernel), num_channels_(num_channels), size_{num_rx, num_tx} {
    network_.check();
    expect(num_channels >= 1, "num_channels is ", num_channels, "; at least 1 expected");
    expect(num_rx >= 1, "num_rx is ", num_rx, "; at least 1 expected");
    expect(num_tx >= 1 && num_tx <= max_streams, "num_tx is ", num_tx, "; 1 to ", max_streams, " expected");
    expect(num_threads >= 1 && num_threads <= max_threads, "num_threads is ", num_threads, "; 1 to ", max_threads,
           " expected");
    const std::size_t c = num_channels, k = network_.num_layers(), s = positions(), n = size_.stream_stride();
    integers_.diagonal.resize(c * k * s);
    integers_.slope.resize(c * k * s);
    integers_.inverse_step.resize(c * k * s);
    integers_.threshold.resize(c * k);
    integers_.first_gain.resize(c * k);
    integers_.second_gain.resize(c * k * s);
    integers_.llr_scale.resize(c * s);
    filter_.resize(c * num_rx * n);
    if (network_.type == NetworkType::admm)
        inverse_.resize(c * num_tx * n);
    else
        scale_.resize(c);
    packed_.resize(c * kernel_.packed_bytes(network_.num_layers(), size_));
    levels_.resize(c);
    for (int i = 0; i < num_channels; ++i) {
        channels_.push_back(channel<Access::read>(i));
        to_prepare_.push_back(channel<Access::write>(i));
    }
    scratch_.resize(num_threads);
    for (AlignedVector<float> &scratch : scratch_)
        scratch.resize(kernel_.scratch_floats(size_));
    threads_ = std::make_unique<ThreadPool>(num_threads);
}

template <Access access>
ChannelOf<access> Plan::channel(int c) {
    const std::size_t k = network_.num_layers(), s = positions(), n = size_.stream_stride();
    ChannelOf<access> out;
    out.filter.first = part(filter_, c, num_rx() * n);
    if (!inverse_.empty())
        out.filter.inverse = part(inverse_, c, num_tx() * n);
    if (!scale_.empty())
        out.filter.scale = part(scale_, c, 1);
    out.integers = {part(packed_, c, packed_.size() / num_channels_),
                    part(integers_.diagonal, c, k * s),
                    part(integers_.slope, c, k * s),
                    part(integers_.inverse_step, c, k * s),
                    part(integers_.threshold, c, k),
                    part(integers_.first_gain, c, k),
                    part(integers_.second_gain, c, k * s),
                    part(integers_.llr_scale, c, s)};
    return out;
}

void Plan::set_direct(bool direct) {
    if (direct == direct_)
        return;
    direct_ = direct;
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t size = direct ? 0 : inverse_.size() / num_channels_;
        channels_[c].filter.inverse = to_prepare_[c].filter.inverse = part(inverse_, c, size);
    }
}

PlainMatrices Plan::matrices() const {
    PlainMatrices out;
    const std::size_t c = num_channels_, s = positions();
    out.matrix.resize(c * rows() * s);
    out.rescale.resize(c * network_.num_layers() * s);
    for (int i = 0; i < num_channels_; ++i)
        kernel_.unpack(channels_[i].integers.packed, plain_part<Access::write>(out, i, size_, network_.num_layers()));
    return out;
}

void Plan::set_matrices(const PlainMatrices &from) {
    for (int i = 0; i < num_channels_; ++i)
        kernel_.pack(plain_part<Access::read>(from, i, size_, network_.num_layers()), to_prepare_[i].integers.packed);
}

void Plan::repeat_rows() {
    for (AlignedVector<std::int16_t> *array :
         {&integers_.diagonal, &integers_.slope, &integers_.inverse_step, &integers_.second_gain})
        for (std::size_t i = 0; i < array->size(); ++i)
            if (i % positions() >= static_cast<std::size_t>(stride()))
                (*array)[i] = (*array)[i - stride()];
}

void Plan::prepare(std::span<const std::complex<float>> h, const Noise &noise, int vectors_per_estimate) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    KAQ_ASSERT(h.size() == num_channels_ * antennas);
    for (int c = 0; c < num_channels_; ++c)
        levels_[c].power = kernel_.squared_norm(part(h, c, antennas)) / num_rx();
    find_levels(noise, num_rx(), num_tx(), {network_.snr_low_db, network_.snr_high_db}, levels_);
    // One matrix costs num_rx num_tx^2 products for each estimate, two cost num_tx^2 for each vector.
    set_direct(network_.type == NetworkType::admm && vectors_per_estimate > num_rx());
    const int num_batches = (num_channels_ + kernel_.lanes - 1) / kernel_.lanes;
    std::atomic<int> next{0};
    threads_->run([&](int thread) {
        Estimate estimates[max_lanes];
        for (int batch; (batch = next++) < num_batches;) {
            const int first = batch * kernel_.lanes, count = std::min(kernel_.lanes, num_channels_ - first);
            for (int l = 0; l < count; ++l) {
                const int c = first + l;
                const ChannelLevels &of = levels_[c];
                estimates[l] = {part(h, c, antennas), of.gain, static_cast<float>(of.noise_var), of.inverse_root_snr};
            }
            const std::size_t size = count;
            kernel_.prepare(network_, size_, {estimates, size}, {&to_prepare_[first], size}, scratch_[thread]);
        }
    });
}

void Plan::filter(const ReceivedView &received, std::span<std::int16_t> b, std::span<bool> finite) const {
    const std::size_t count = received.num_vectors, s = stride(), size = count * s;
    KAQ_ASSERT(received.num_channels == num_channels_ && finite.size() == num_channels_ * count);
    KAQ_ASSERT(b.size() == num_channels_ * size);
    for (int c = 0; c < num_channels_; ++c)
        kernel_.filter(size_, channels_[c].filter, received.part(c, 0, received.num_vectors),
                       Rows(part(b, c, size).data(), count, s), part(finite, c, count));
}

void Plan::layers(std::span<const std::int16_t> b, std::span<std::int16_t> t) const {
    const std::size_t s = stride(), size = t.size() / num_channels_, count = size / s;
    KAQ_ASSERT(t.size() == num_channels_ * count * s && b.size() == t.size());
    for (int c = 0; c < num_channels_; ++c)
        kernel_.layers(network_, size_, channels_[c].integers, ConstRows(part(b, c, size).data(), count, s),
                       Rows(part(t, c, size).data(), count, s));
}

std::size_t Plan::detect(int c, int first, int count, const ReceivedView &received,
                         const DetectedView &detected) const {
    alignas(64) std::int16_t memory[2][vectors_at_once * max_rows];
    bool are_finite[vectors_at_once];
    const Rows b(memory[0], count, stride()), t(memory[1], count, stride());
    const std::span<bool> finite(are_finite, count);
    const PreparedChannel &of = channels_[c];
    kernel_.filter(size_, of.filter, received.part(c, first, count), b, finite);
    kernel_.layers(network_, size_, of.integers, b, t);
    kernel_.output(network_, size_, of.integers, t, finite, detected.part(c, first, count));
    return count - std::count(finite.begin(), finite.end(), true);
}

std::size_t Plan::detect(const ReceivedView &received, const DetectedView &detected) {
    const int num_vectors = received.num_vectors;
    KAQ_ASSERT(received.num_channels == num_channels_ && detected.symbols.num_channels == num_channels_);
    KAQ_ASSERT(detected.symbols.num_vectors == num_vectors);
    KAQ_ASSERT(detected.llrs.ports.empty() ||
               (detected.llrs.num_channels == num_channels_ && detected.llrs.num_vectors == num_vectors));
    const std::size_t num_blocks = (num_vectors + vectors_at_once - 1) / vectors_at_once, num_channels = num_channels_;
    const std::size_t num_parts = num_channels * num_blocks;
    // Neighbouring channels share cache lines where samples of channels lie next to each other: they come before the
    // next vectors.
    const bool channels_first = received.channel_stride < received.vector_stride;
    std::atomic<std::size_t> num_invalid{0};
    threads_->run([&](int thread) {
        // each thread has one stretch
        const std::size_t begin = num_parts * thread / num_threads(), end = num_parts * (thread + 1) / num_threads();
        std::size_t invalid = 0;
        for (std::size_t part = begin; part < end; ++part) {
            const std::size_t c = channels_first ? part % num_channels : part / num_blocks;
            const int first =
                static_cast<int>(channels_first ? part / num_channels : part % num_blocks) * vectors_at_once;
            invalid +=
                detect(static_cast<int>(c), first, std::min(vectors_at_once, num_vectors - first), received, detected);
        }
        num_invalid += invalid;
    });
    return num_invalid;
}

} // namespace kaq
