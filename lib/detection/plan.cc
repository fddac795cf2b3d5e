// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/plan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace kaq {
namespace {

constexpr int vectors_at_once = 28; // what the stages hand to each other stays in the first-level cache

// The power of two that takes entries of this mean power next to 1, so that no square leaves single precision whatever
// the radio's gain is; 0 where nothing is known of a channel (H = 0).
float power_of_two_gain(double mean_power, int num_rx) {
    if (!(mean_power * num_rx > 1e-30))
        return 0;
    return std::ldexp(1.0f, -std::clamp(std::ilogb(std::sqrt(mean_power)), -120, 120));
}

} // namespace

Plan::Plan(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx, int num_threads)
    : network_(std::move(network)), kernel_(kernel), num_channels_(num_channels), size_{num_rx, num_tx} {
    if (num_channels < 1 || num_rx < 1 || num_tx < 1 || 2 * num_tx > max_rows)
        throw std::invalid_argument("at least one channel and antenna, and at most 64 streams expected");
    if (num_threads < 1 || num_threads > 1024)
        throw std::invalid_argument("1 to 1024 threads expected");
    if (network_.layers.empty() || network_.num_layers() > max_layers || network_.candidates > max_candidates)
        throw std::invalid_argument("not a network that the kernels know");
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
    packed_bytes_ = kernel_.packed_bytes(network_.num_layers(), size_);
    packed_.resize(c * packed_bytes_);
    metric_packed_bytes_ = kernel_.packed_bytes(1, size_);
    if (network_.candidates) {
        integers_.metric_diagonal.resize(c * s);
        integers_.metric_soft_first.resize(c);
        integers_.metric_searched.resize(c);
        matched_scale_.resize(c);
        metric_packed_.resize(c * metric_packed_bytes_);
    }
    noise_var_.resize(c);
    gain_.resize(c);
    inverse_root_snr_.resize(c);
    scratch_.resize(num_threads);
    for (AlignedVector<float> &scratch : scratch_)
        scratch.resize(kernel_.scratch_floats(size_));
    threads_ = std::make_unique<ThreadPool>(num_threads);
}

std::byte *Plan::packed(bool metric, int c) const {
    return metric ? metric_packed_.data() + c * metric_packed_bytes_ : packed_.data() + c * packed_bytes_;
}

PreparedChannel Plan::channel(int c) const {
    const std::size_t k = network_.num_layers(), per_layer = c * k * positions(), place = c, n = size_.stream_stride();
    PreparedChannel out{};
    out.filter.first = filter_.data() + place * num_rx() * n;
    out.filter.inverse = inverse_.empty() || direct_ ? nullptr : inverse_.data() + place * num_tx() * n;
    out.filter.scale = scale_.empty() ? nullptr : scale_.data() + c;
    out.integers = {packed(false, c),
                    integers_.diagonal.data() + per_layer,
                    integers_.slope.data() + per_layer,
                    integers_.inverse_step.data() + per_layer,
                    integers_.threshold.data() + place * k,
                    integers_.first_gain.data() + place * k,
                    integers_.second_gain.data() + per_layer,
                    integers_.llr_scale.data() + place * positions()};
    if (network_.candidates) {
        out.filter.matched_scale = matched_scale_.data() + c;
        out.metric = {packed(true, c), integers_.metric_diagonal.data() + place * positions(),
                      integers_.metric_soft_first.data() + c, integers_.metric_searched.data() + c};
    }
    return out;
}

PlainMatrix Plan::plain(bool metric, PlainMatrices &of, int c) const {
    const int num_rescales = metric ? 1 : network_.num_layers();
    const std::size_t s = positions();
    return {size_, of.matrix.data() + c * rows() * s, of.rescale.data() + c * num_rescales * s, num_rescales};
}

PlainMatrices Plan::matrices(bool metric) const {
    PlainMatrices out;
    const std::size_t c = num_channels_, s = positions();
    out.matrix.resize(c * rows() * s);
    out.rescale.resize(c * (metric ? 1 : network_.num_layers()) * s);
    for (int i = 0; i < num_channels_; ++i)
        kernel_.unpack(packed(metric, i), plain(metric, out, i));
    return out;
}

void Plan::set_matrices(bool metric, const PlainMatrices &from) {
    for (int i = 0; i < num_channels_; ++i)
        kernel_.pack(plain(metric, const_cast<PlainMatrices &>(from), i), packed(metric, i));
}

void Plan::repeat_rows() {
    for (AlignedVector<std::int16_t> *array : {&integers_.diagonal, &integers_.slope, &integers_.inverse_step,
                                               &integers_.second_gain, &integers_.metric_diagonal})
        for (std::size_t i = 0; i < array->size(); ++i)
            if (i % positions() >= static_cast<std::size_t>(stride()))
                (*array)[i] = (*array)[i - stride()];
}

void Plan::find_noise_var(const std::complex<float> *h, const Noise &noise) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    double mean_power = 0;
    for (int c = 0; c < num_channels_; ++c) {
        noise_var_[c] = kernel_.squared_norm(h + c * antennas, antennas) / num_rx();
        mean_power += noise_var_[c] / num_channels_;
    }
    if (!std::isfinite(mean_power))
        throw std::invalid_argument("h holds NaN or Inf");
    double inverse_root = 0, noise_var = 0;
    for (int c = 0; c < num_channels_; ++c) {
        gain_[c] = power_of_two_gain(noise_var_[c] / num_tx(), num_rx());
        if (c == 0 || noise.per_channel) {
            const double power = noise.per_channel ? noise_var_[c] : mean_power, given = noise.values[c];
            const double no_power = -std::numeric_limits<double>::infinity();
            const double snr_db = noise.is_snr_db ? given
                                  : power > 0     ? 10 * std::log10(power) - 10 * std::log10(given)
                                                  : no_power;
            noise_var = noise.is_snr_db ? power / std::pow(10.0, given / 10) : given;
            const double clipped = std::max(std::min(snr_db, network_.snr_high_db), network_.snr_low_db);
            inverse_root = 1 / std::sqrt(std::pow(10.0, clipped / 10));
        }
        // above that, nothing at all is known of the symbols
        noise_var_[c] = std::min(noise_var * gain_[c] * gain_[c], 1e10);
        inverse_root_snr_[c] = inverse_root;
    }
}

void Plan::prepare(const std::complex<float> *h, const Noise &noise, int vectors_per_estimate) {
    find_noise_var(h, noise);
    // One matrix costs num_rx num_tx^2 products for each estimate, two cost num_tx^2 for each vector.
    direct_ = network_.type == NetworkType::admm && !network_.candidates && vectors_per_estimate > num_rx();
    const std::size_t antennas = static_cast<std::size_t>(num_rx()) * num_tx();
    const int num_batches = (num_channels_ + kernel_.lanes - 1) / kernel_.lanes;
    std::atomic<int> next{0};
    threads_->run([&](int thread) {
        Estimate estimates[max_lanes];
        PreparedChannel channels[max_lanes];
        for (int batch; (batch = next++) < num_batches;) {
            const int first = batch * kernel_.lanes, count = std::min(kernel_.lanes, num_channels_ - first);
            for (int l = 0; l < count; ++l) {
                const int c = first + l;
                estimates[l] = {h + c * antennas, gain_[c], static_cast<float>(noise_var_[c]), inverse_root_snr_[c]};
                channels[l] = channel(c);
            }
            kernel_.prepare(network_, size_, estimates, channels, count, scratch_[thread].data());
        }
    });
}

const std::int16_t *Plan::layers(const PreparedChannel &channel, const std::int16_t *b, const std::int16_t *matched,
                                 std::int16_t *t, std::int16_t *first, int num_vectors) const {
    kernel_.layers(network_, size_, channel.integers, b, stride(), nullptr, t, num_vectors);
    if (!network_.candidates || !*channel.metric.searched)
        return t;
    const std::int16_t *soft = *channel.metric.soft_first ? first : t;
    if (soft == first)
        std::copy_n(t, static_cast<std::size_t>(num_vectors) * stride(), first);
    alignas(64) std::int16_t candidates[max_candidates * max_rows];
    std::int32_t metrics[max_candidates];
    Pin pins[max_candidates];
    for (int v = 0; v < num_vectors; ++v, b += stride(), matched += stride(), t += stride()) {
        std::int32_t best;
        kernel_.metric(network_, size_, channel.metric, t, matched, 0, &best, 1);
        const int count = kernel_.second_guesses(network_, size_, channel.integers, t, pins);
        kernel_.layers(network_, size_, channel.integers, b, 0, pins, candidates, count);
        kernel_.metric(network_, size_, channel.metric, candidates, matched, 0, metrics, count);
        for (int m = 0; m < count; ++m)
            if (metrics[m] < best) {
                best = metrics[m];
                std::copy_n(candidates + m * stride(), stride(), t);
            }
    }
    return soft;
}

void Plan::filter(const InputView &input, int num_vectors, std::int16_t *b, std::int16_t *matched, bool *finite) const {
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t first = static_cast<std::size_t>(c) * num_vectors, place = first * stride();
        kernel_.filter(size_, channel(c).filter, {input.antennas, c * input.channel_stride, input.vector_stride},
                       num_vectors, b + place, matched ? matched + place : nullptr, finite + first);
    }
}

void Plan::layers(const std::int16_t *b, const std::int16_t *matched, std::int16_t *t, std::int16_t *soft,
                  int num_vectors) const {
    const std::size_t size = static_cast<std::size_t>(num_vectors) * stride();
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t place = c * size;
        const std::int16_t *from =
            layers(channel(c), b + place, matched ? matched + place : nullptr, t + place, soft + place, num_vectors);
        if (from != soft + place)
            std::copy_n(from, size, soft + place);
    }
}

std::size_t Plan::detect(int c, int first, int count, const InputView &input, const OutputView &output) const {
    alignas(64) std::int16_t b[vectors_at_once * max_rows];
    alignas(64) std::int16_t matched[vectors_at_once * max_rows];
    alignas(64) std::int16_t t[vectors_at_once * max_rows];
    alignas(64) std::int16_t first_run[vectors_at_once * max_rows];
    bool finite[vectors_at_once];
    const PreparedChannel of = channel(c);
    const ReceivedView received{input.antennas, c * input.channel_stride, input.vector_stride};
    const DetectedView detected{output.symbols, c * output.channel_stride,     output.vector_stride,
                                output.llrs,    c * output.llr_channel_stride, output.llr_vector_stride};
    kernel_.filter(size_, of.filter, received.from(first), count, b, matched, finite);
    const std::int16_t *soft = layers(of, b, matched, t, first_run, count);
    kernel_.output(network_, size_, of.integers, t, soft, finite, count, detected.from(first));
    return count - std::count(finite, finite + count, true);
}

std::size_t Plan::detect(const InputView &input, const OutputView &output, int num_vectors) {
    const std::size_t num_blocks = (num_vectors + vectors_at_once - 1) / vectors_at_once, num_channels = num_channels_;
    const std::size_t num_parts = num_channels * num_blocks;
    // Neighbouring channels share cache lines where samples of channels lie next to each other: they come before the
    // next vectors.
    const bool channels_first = input.channel_stride < input.vector_stride;
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
                detect(static_cast<int>(c), first, std::min(vectors_at_once, num_vectors - first), input, output);
        }
        num_invalid += invalid;
    });
    return num_invalid;
}

} // namespace kaq
