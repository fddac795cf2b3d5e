// SPDX-License-Identifier: GPL-3.0-or-later
#include "channels.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace kaq {
namespace {

constexpr float soft_limit = 0.27f, search_limit = 0.45f; // as in preparation.py
constexpr int vectors_at_once = 32; // what the stages hand to each other stays in the first-level cache

std::int32_t to_integer(double x, double low, double high) {
    return static_cast<std::int32_t>(std::lrint(std::clamp(x, low, high)));
}

std::int16_t q15(double x) { return static_cast<std::int16_t>(to_integer(32768 * x, -32767, 32767)); }

} // namespace

Channels::Channels(Network network, const Kernel &kernel, int num_channels, int num_rx, int num_tx)
    : network_(std::move(network)), kernel_(kernel), num_channels_(num_channels), num_rx_(num_rx), num_tx_(num_tx) {
    if (num_channels < 1 || num_rx < 1 || num_tx < 1 || 2 * num_tx > max_rows)
        throw std::invalid_argument("at least one channel and antenna, and at most 64 streams expected");
    const std::size_t c = num_channels, k = network_.num_layers(), s = stride();
    integers_.matrix.resize(c * rows() * s);
    integers_.diagonal.resize(c * k * s);
    integers_.rescale.resize(c * k * s);
    integers_.slope.resize(c * k * s);
    integers_.inverse_step.resize(c * k * s);
    integers_.threshold.resize(c * k);
    integers_.first_gain.resize(c * k);
    integers_.second_gain.resize(c * k * s);
    integers_.llr_scale.resize(c * s);
    filter_.resize(c * num_rx * 2 * s);
    packed_bytes_ = kernel_.packed_bytes(network_.num_layers(), stride());
    packed_.resize(c * packed_bytes_);
    metric_packed_bytes_ = kernel_.packed_bytes(1, stride());
    if (network_.candidates) {
        integers_.metric_matrix.resize(c * rows() * s);
        integers_.metric_rescale.resize(c * s);
        integers_.metric_diagonal.resize(c * s);
        integers_.metric_soft_first.resize(c);
        integers_.metric_searched.resize(c);
        matched_filter_.resize(filter_.size());
        metric_packed_.resize(c * metric_packed_bytes_);
    }
}

IntegerChannel Channels::channel(int c) const {
    const std::size_t k = network_.num_layers(), per_layer = c * k * stride();
    return {rows(),
            stride(),
            integers_.matrix.data() + static_cast<std::size_t>(c) * rows() * stride(),
            integers_.diagonal.data() + per_layer,
            integers_.rescale.data() + per_layer,
            integers_.slope.data() + per_layer,
            integers_.inverse_step.data() + per_layer,
            integers_.threshold.data() + c * k,
            integers_.first_gain.data() + c * k,
            integers_.second_gain.data() + per_layer};
}

IntegerMetric Channels::metric(int c) const {
    const std::size_t first = static_cast<std::size_t>(c) * stride();
    return {rows(), stride(), integers_.metric_matrix.data() + first * rows(), integers_.metric_rescale.data() + first,
            integers_.metric_diagonal.data() + first};
}

void Channels::pack() {
    for (int c = 0; c < num_channels_; ++c) {
        const IntegerChannel from = channel(c);
        kernel_.pack({from.rows, from.stride, from.matrix, from.rescale, network_.num_layers()},
                     packed_.data() + c * packed_bytes_);
        if (network_.candidates) {
            const IntegerMetric of = metric(c);
            kernel_.pack({of.rows, of.stride, of.matrix, of.rescale, 1},
                         metric_packed_.data() + c * metric_packed_bytes_);
        }
    }
}

struct Channels::Rows {
    float diagonal[max_rows], step[max_rows], precision[max_rows], stream_scale[max_rows], metric_diagonal[max_rows],
        metric_step[max_rows];
};

namespace {

// The complex filter of lane l, [num_tx][num_rx][lane], as what each antenna's real and imaginary part adds to a row.
void scatter_filter(const LinearStage &s, float *const (&from)[2], int l, float per_unit, int stride, float *to) {
    for (int i = 0; i < s.num_tx; ++i)
        for (int r = 0; r < s.num_rx; ++r) {
            const std::size_t place = (static_cast<std::size_t>(i) * s.num_rx + r) * lanes + l;
            const float re = from[0][place] * per_unit, im = from[1][place] * per_unit;
            float *of_real = to + (2 * r) * stride, *of_imaginary = of_real + stride;
            of_real[i] = re;
            of_real[s.num_tx + i] = im;
            of_imaginary[i] = -im;
            of_imaginary[s.num_tx + i] = re;
        }
}

// The complex matrix of lane l as the rows of the real-valued model.
void scatter_matrix(const QuantizedRows &from, int num_tx, int l, int stride, std::int8_t *to) {
    // of their own, as bytes that are written could lie anywhere
    const std::int8_t *const real = from.off_diagonal[0] + l, *const imaginary = from.off_diagonal[1] + l;
    for (int i = 0; i < num_tx; ++i) {
        std::int8_t *upper = to + i * stride, *lower = to + (num_tx + i) * stride;
        for (int j = 0; j < num_tx; ++j) {
            const std::size_t place = (static_cast<std::size_t>(i) * num_tx + j) * lanes;
            const std::int8_t re = real[place], im = imaginary[place];
            upper[j] = lower[num_tx + j] = re;
            upper[num_tx + j] = static_cast<std::int8_t>(-im);
            lower[j] = im;
        }
    }
}

void scatter_rows(const float *from, int num_tx, int l, float *to) {
    for (int i = 0; i < num_tx; ++i)
        to[i] = to[num_tx + i] = from[i * lanes + l];
}

} // namespace

void Channels::prepare(const std::complex<float> *h, const double *noise_var, int noise_stride,
                       const LayerValues *values, int values_stride) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx_) * num_tx_, n = num_tx_;
    const std::size_t metric_size = network_.candidates ? lanes : 0;
    AlignedVector<float> h_re(antennas * lanes), h_im(antennas * lanes), filter_re(antennas * lanes),
        filter_im(antennas * lanes), diagonal(n * lanes), row_step(n * lanes), precision(n * lanes),
        stream_scale(n * lanes, 1.0f), noise(lanes), regularization(lanes), scratch(linear_stage_scratch(num_tx_)),
        matched_re(antennas * metric_size), matched_im(antennas * metric_size), metric_diagonal(n * metric_size),
        metric_step(n * metric_size);
    AlignedVector<std::int8_t> off_re(n * n * lanes), off_im(n * n * lanes), metric_re(n * n * metric_size),
        metric_im(n * n * metric_size);
    const LinearStage stage{num_rx_,
                            num_tx_,
                            {h_re.data(), h_im.data()},
                            noise.data(),
                            regularization.data(),
                            {filter_re.data(), filter_im.data()},
                            {diagonal.data(), row_step.data(), {off_re.data(), off_im.data()}},
                            precision.data(),
                            stream_scale.data(),
                            {matched_re.data(), matched_im.data()},
                            {metric_diagonal.data(), metric_step.data(), {metric_re.data(), metric_im.data()}},
                            scratch.data()};
    const float per_unit = static_cast<float>(state_half_distance) / network_.half_distance;

    for (int first = 0; first < num_channels_; first += lanes) {
        const int used = std::min(lanes, num_channels_ - first);
        for (int l = 0; l < lanes; ++l) {
            const int c = first + std::min(l, used - 1); // unused lanes repeat the last channel
            for (std::size_t i = 0; i < antennas; ++i) {
                h_re[i * lanes + l] = h[c * antennas + i].real();
                h_im[i * lanes + l] = h[c * antennas + i].imag();
            }
            noise[l] = static_cast<float>(noise_var[c * noise_stride]);
            regularization[l] = static_cast<float>(values[c * values_stride].regularization);
        }
        kernel_.linear_stage(network_, stage);

        for (int l = 0; l < used; ++l) {
            const int c = first + l;
            const std::size_t filter = static_cast<std::size_t>(c) * num_rx_ * 2 * stride();
            const std::size_t matrix = static_cast<std::size_t>(c) * rows() * stride();
            Rows of;
            scatter_filter(stage, stage.filter, l, per_unit, stride(), filter_.data() + filter);
            scatter_matrix(stage.matrix, num_tx_, l, stride(), integers_.matrix.data() + matrix);
            scatter_rows(stage.matrix.diagonal, num_tx_, l, of.diagonal);
            scatter_rows(stage.matrix.row_step, num_tx_, l, of.step);
            scatter_rows(stage.precision, num_tx_, l, of.precision);
            scatter_rows(stage.stream_scale, num_tx_, l, of.stream_scale);
            if (network_.candidates) {
                const float per_metric_unit = static_cast<float>(metric_half_distance) / network_.half_distance;
                scatter_filter(stage, stage.matched_filter, l, per_metric_unit, stride(),
                               matched_filter_.data() + filter);
                scatter_matrix(stage.metric, num_tx_, l, stride(), integers_.metric_matrix.data() + matrix);
                scatter_rows(stage.metric.diagonal, num_tx_, l, of.metric_diagonal);
                scatter_rows(stage.metric.row_step, num_tx_, l, of.metric_step);
            }
            quantize(c, values[c * values_stride], of);
        }
    }
    pack();
}

void Channels::quantize(int c, const LayerValues &values, const Rows &of) {
    const bool admm = network_.type == NetworkType::admm;
    const double distance = network_.half_distance, unit = distance / state_half_distance;
    const auto rescale_max = [&](int largest_activation, int largest_entry) {
        return (0x7fffffff - (1 << (rescale_shift - 1))) / (largest_activation * largest_entry * (rows() - 1));
    };
    const std::int32_t limit = rescale_max(network_.activation_max, network_.matrix_max);
    for (int k = 0; k < network_.num_layers(); ++k) {
        const std::size_t layer = static_cast<std::size_t>(c) * network_.num_layers() + k;
        const std::int32_t inverse_step = to_integer(32768 * unit / values.step[k], 1, 32767);
        const double gradient_step = admm ? 0 : values.gradient_step[k];
        integers_.first_gain[layer] = q15(admm ? values.relaxation[k] - 1 : gradient_step - 1);
        integers_.threshold[layer] = network_.prox[k] == Prox::soft_threshold
                                         ? static_cast<std::int16_t>(to_integer(values.threshold[k] / unit, 0, 32767))
                                         : std::int16_t{0};
        const bool ramp = network_.prox[k] == Prox::ramp;
        const double to_state = 4096 * (admm ? 1 : -gradient_step) * (32768.0 / inverse_step);
        const double to_slope = ramp ? 512 * distance * distance / values.variance[k] : 0;
        for (int i = 0; i < rows(); ++i) {
            const std::size_t place = layer * stride() + i;
            integers_.inverse_step[place] = static_cast<std::int16_t>(
                network_.stream_steps ? to_integer(inverse_step * double{of.stream_scale[i]}, 1, 32767) : inverse_step);
            integers_.rescale[place] = to_integer(to_state * of.step[i], -limit, limit);
            if (admm)
                integers_.second_gain[place] = q15(std::min(values.dual_step[k] * of.diagonal[i], 2.0) - 1);
            integers_.diagonal[place] = q15(admm ? of.diagonal[i] : 1 - gradient_step * of.diagonal[i]);
            integers_.slope[place] =
                ramp ? static_cast<std::int16_t>(to_integer(to_slope * of.precision[i], 512, 32767)) : std::int16_t{0};
        }
    }
    const float to_llr = static_cast<float>(distance * distance / (256 * values.output_variance));
    const std::size_t first = static_cast<std::size_t>(c) * stride();
    for (int i = 0; i < rows(); ++i)
        integers_.llr_scale[first + i] =
            to_llr * of.precision[i] / (1 + network_.output_spread * of.diagonal[i] * of.diagonal[i]);
    if (!network_.candidates)
        return;
    float error = 0;
    for (int i = 0; i < rows(); ++i)
        error += 1 / (static_cast<float>(distance * distance) * of.precision[i]);
    integers_.metric_soft_first[c] = error > soft_limit * static_cast<float>(rows());
    integers_.metric_searched[c] = error <= search_limit * static_cast<float>(rows());
    const std::int32_t metric_limit = rescale_max(network_.num_levels() - 1, metric_matrix_max);
    for (int i = 0; i < rows(); ++i) {
        integers_.metric_rescale[first + i] =
            to_integer(4096 * metric_half_distance * of.metric_step[i], 0, metric_limit);
        integers_.metric_diagonal[first + i] =
            static_cast<std::int16_t>(to_integer(metric_half_distance * of.metric_diagonal[i], 0, 32767));
    }
}

void Channels::filter(int c, const ReceivedView &received, int num_vectors, std::int16_t *b, std::int16_t *matched,
                      bool *finite) const {
    const std::size_t place = static_cast<std::size_t>(c) * num_rx_ * 2 * stride();
    if (network_.candidates) // first, so that `finite` is what b's filter says
        kernel_.filter(matched_filter_.data() + place, num_rx_, stride(), received, num_vectors, matched, finite);
    kernel_.filter(filter_.data() + place, num_rx_, stride(), received, num_vectors, b, finite);
}

const std::int16_t *Channels::layers(int c, const std::int16_t *b, const std::int16_t *matched, std::int16_t *t,
                                     std::int16_t *first, int num_vectors) const {
    const IntegerChannel integers = channel(c);
    const std::byte *packed = packed_.data() + c * packed_bytes_;
    kernel_.layers(network_, integers, packed, b, stride(), nullptr, t, num_vectors);
    if (!network_.candidates || !integers_.metric_searched[c])
        return t;
    const std::int16_t *soft = integers_.metric_soft_first[c] ? first : t;
    if (soft == first)
        std::copy_n(t, static_cast<std::size_t>(num_vectors) * stride(), first);
    alignas(64) std::int16_t candidates[max_candidates * max_rows];
    std::int32_t metrics[max_candidates];
    Pin pins[max_candidates];
    const IntegerMetric of = metric(c);
    const std::byte *metric_packed = metric_packed_.data() + c * metric_packed_bytes_;
    for (int v = 0; v < num_vectors; ++v, b += stride(), matched += stride(), t += stride()) {
        std::int32_t best;
        kernel_.metric(network_, of, metric_packed, t, matched, 0, &best, 1);
        const int count = kernel_.second_guesses(network_, integers, t, pins);
        kernel_.layers(network_, integers, packed, b, 0, pins, candidates, count);
        kernel_.metric(network_, of, metric_packed, candidates, matched, 0, metrics, count);
        for (int m = 0; m < count; ++m)
            if (metrics[m] < best) {
                best = metrics[m];
                std::copy_n(candidates + m * stride(), stride(), t);
            }
    }
    return soft;
}

void Channels::filter(const InputView &input, int num_vectors, std::int16_t *b, std::int16_t *matched,
                      bool *finite) const {
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t first = static_cast<std::size_t>(c) * num_vectors, place = first * stride();
        filter(c, {input.antennas, c * input.channel_stride, input.vector_stride}, num_vectors, b + place,
               matched ? matched + place : nullptr, finite + first);
    }
}

void Channels::layers(const std::int16_t *b, const std::int16_t *matched, std::int16_t *t, std::int16_t *soft,
                      int num_vectors) const {
    const std::size_t size = static_cast<std::size_t>(num_vectors) * stride();
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t place = c * size;
        const std::int16_t *from =
            layers(c, b + place, matched ? matched + place : nullptr, t + place, soft + place, num_vectors);
        if (from != soft + place)
            std::copy_n(from, size, soft + place);
    }
}

std::size_t Channels::detect(const InputView &input, const OutputView &output, int num_vectors) const {
    alignas(64) std::int16_t b[vectors_at_once * max_rows];
    alignas(64) std::int16_t matched[vectors_at_once * max_rows];
    alignas(64) std::int16_t t[vectors_at_once * max_rows];
    alignas(64) std::int16_t first_run[vectors_at_once * max_rows];
    alignas(64) std::int32_t llr[4 * max_rows];
    bool finite[vectors_at_once];
    const int bits = network_.bits_per_dimension, n = num_tx_;
    const float unit = network_.half_distance / static_cast<float>(state_half_distance);
    std::size_t num_invalid = 0;

    for (int c = 0; c < num_channels_; ++c) {
        const float *llr_scale = integers_.llr_scale.data() + static_cast<std::size_t>(c) * stride();
        const ReceivedView received{input.antennas, c * input.channel_stride, input.vector_stride};
        for (int first = 0; first < num_vectors; first += vectors_at_once) {
            const int count = std::min(vectors_at_once, num_vectors - first);
            filter(c, received.from(first), count, b, matched, finite);
            const std::int16_t *soft = layers(c, b, matched, t, first_run, count);
            for (int v = 0; v < count; ++v) {
                const std::int16_t *estimate = t + v * stride();
                const float scale = finite[v] ? 1.0f : 0.0f;
                num_invalid += !finite[v];
                const std::ptrdiff_t place = c * output.channel_stride + (first + v) * output.vector_stride;
                for (int j = 0; j < n; ++j)
                    output.symbols[j][place] = {estimate[j] * unit * scale, estimate[n + j] * unit * scale};
                if (!output.llrs)
                    continue;
                kernel_.llrs(network_, stride(), soft + v * stride(), llr);
                const std::ptrdiff_t llr_place = c * output.llr_channel_stride + (first + v) * output.llr_vector_stride;
                for (int j = 0; j < n; ++j)
                    for (int bit = 0; bit < bits; ++bit) {
                        float *out = output.llrs[j] + llr_place + 2 * bit;
                        out[0] = llr[bit * stride() + j] * llr_scale[j] * scale;
                        out[1] = llr[bit * stride() + n + j] * llr_scale[n + j] * scale;
                    }
            }
        }
    }
    return num_invalid;
}

} // namespace kaq
