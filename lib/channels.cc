// SPDX-License-Identifier: GPL-3.0-or-later
#include "channels.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace kaq {
namespace {

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
    integers_.inverse_step.resize(c * k);
    integers_.threshold.resize(c * k);
    integers_.first_gain.resize(c * k);
    integers_.second_gain.resize(c * k * s);
    integers_.llr_scale.resize(c * s);
    filter_.resize(c * num_rx * 2 * s);
    packed_bytes_ = kernel_.packed_bytes(network_, stride());
    packed_.resize(c * packed_bytes_);
}

IntegerChannel Channels::channel(int c) const {
    const std::size_t k = network_.num_layers(), per_layer = c * k * stride();
    return {rows(),
            stride(),
            integers_.matrix.data() + static_cast<std::size_t>(c) * rows() * stride(),
            integers_.diagonal.data() + per_layer,
            integers_.rescale.data() + per_layer,
            integers_.slope.data() + per_layer,
            integers_.inverse_step.data() + c * k,
            integers_.threshold.data() + c * k,
            integers_.first_gain.data() + c * k,
            integers_.second_gain.data() + per_layer};
}

void Channels::pack() {
    for (int c = 0; c < num_channels_; ++c)
        kernel_.pack(network_, channel(c), packed_.data() + c * packed_bytes_);
}

void Channels::prepare(const std::complex<float> *h, const double *noise_var, int noise_stride,
                       const LayerValues *values, int values_stride) {
    const std::size_t antennas = static_cast<std::size_t>(num_rx_) * num_tx_, n = num_tx_;
    AlignedVector<float> h_re(antennas * lanes), h_im(antennas * lanes), filter_re(antennas * lanes),
        filter_im(antennas * lanes), diagonal(n * lanes), row_step(n * lanes), precision(n * lanes), noise(lanes),
        regularization(lanes), scratch(linear_stage_scratch(num_tx_));
    AlignedVector<std::int8_t> off_re(n * n * lanes), off_im(n * n * lanes);
    const LinearStage stage{num_rx_,
                            num_tx_,
                            {h_re.data(), h_im.data()},
                            noise.data(),
                            regularization.data(),
                            {filter_re.data(), filter_im.data()},
                            diagonal.data(),
                            row_step.data(),
                            precision.data(),
                            {off_re.data(), off_im.data()},
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
            float *filter = filter_.data() + static_cast<std::size_t>(c) * num_rx_ * 2 * stride();
            std::int8_t *matrix = integers_.matrix.data() + static_cast<std::size_t>(c) * rows() * stride();
            for (std::size_t i = 0; i < n; ++i) {
                for (int r = 0; r < num_rx_; ++r) {
                    const float re = filter_re[(i * num_rx_ + r) * lanes + l] * per_unit;
                    const float im = filter_im[(i * num_rx_ + r) * lanes + l] * per_unit;
                    float *of_real = filter + (2 * r) * stride(), *of_imaginary = of_real + stride();
                    of_real[i] = re;
                    of_real[n + i] = im;
                    of_imaginary[i] = -im;
                    of_imaginary[n + i] = re;
                }
                std::int8_t *upper = matrix + i * stride(), *lower = matrix + (n + i) * stride();
                for (std::size_t j = 0; j < n; ++j) {
                    const std::int8_t re = off_re[(i * n + j) * lanes + l], im = off_im[(i * n + j) * lanes + l];
                    upper[j] = lower[n + j] = re;
                    upper[n + j] = static_cast<std::int8_t>(-im);
                    lower[j] = im;
                }
            }
            float rows_diagonal[max_rows], rows_step[max_rows], rows_precision[max_rows];
            for (std::size_t i = 0; i < n; ++i) {
                rows_diagonal[i] = rows_diagonal[n + i] = diagonal[i * lanes + l];
                rows_step[i] = rows_step[n + i] = row_step[i * lanes + l];
                rows_precision[i] = rows_precision[n + i] = precision[i * lanes + l];
            }
            quantize(c, values[c * values_stride], rows_diagonal, rows_step, rows_precision);
        }
    }
    pack();
}

void Channels::quantize(int c, const LayerValues &values, const float *diagonal, const float *row_step,
                        const float *precision) {
    const bool admm = network_.type == NetworkType::admm;
    const double distance = network_.half_distance, unit = distance / state_half_distance;
    const std::int32_t rescale_max =
        (0x7fffffff - (1 << (rescale_shift - 1))) / (network_.activation_max * network_.matrix_max * (rows() - 1));
    for (int k = 0; k < network_.num_layers(); ++k) {
        const std::size_t layer = static_cast<std::size_t>(c) * network_.num_layers() + k;
        const std::int32_t inverse_step = to_integer(32768 * unit / values.step[k], 1, 32767);
        integers_.inverse_step[layer] = static_cast<std::int16_t>(inverse_step);
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
            integers_.rescale[place] = to_integer(to_state * row_step[i], -rescale_max, rescale_max);
            if (admm)
                integers_.second_gain[place] = q15(std::min(values.dual_step[k] * diagonal[i], 2.0) - 1);
            integers_.diagonal[place] = q15(admm ? diagonal[i] : 1 - gradient_step * diagonal[i]);
            integers_.slope[place] =
                ramp ? static_cast<std::int16_t>(to_integer(to_slope * precision[i], 512, 32767)) : std::int16_t{0};
        }
    }
    const float to_llr = static_cast<float>(distance * distance / (256 * values.output_variance));
    for (int i = 0; i < rows(); ++i)
        integers_.llr_scale[static_cast<std::size_t>(c) * stride() + i] = to_llr * precision[i];
}

void Channels::filter(const InputView &input, int num_vectors, std::int16_t *b, bool *finite) const {
    for (int c = 0; c < num_channels_; ++c) {
        const ReceivedView received{input.antennas, c * input.channel_stride, input.vector_stride};
        const std::size_t first = static_cast<std::size_t>(c) * num_vectors;
        kernel_.filter(filter_.data() + static_cast<std::size_t>(c) * num_rx_ * 2 * stride(), num_rx_, stride(),
                       received, num_vectors, b + first * stride(), finite + first);
    }
}

void Channels::layers(const std::int16_t *b, std::int16_t *t, int num_vectors) const {
    for (int c = 0; c < num_channels_; ++c) {
        const std::size_t first = static_cast<std::size_t>(c) * num_vectors * stride();
        kernel_.layers(network_, channel(c), packed_.data() + c * packed_bytes_, b + first, t + first, num_vectors);
    }
}

std::size_t Channels::detect(const InputView &input, const OutputView &output, int num_vectors) const {
    alignas(64) std::int16_t b[vectors_at_once * max_rows];
    alignas(64) std::int16_t t[vectors_at_once * max_rows];
    alignas(64) std::int32_t llr[4 * max_rows];
    bool finite[vectors_at_once];
    const int bits = network_.bits_per_dimension, n = num_tx_;
    const float unit = network_.half_distance / static_cast<float>(state_half_distance);
    std::size_t num_invalid = 0;

    for (int c = 0; c < num_channels_; ++c) {
        const IntegerChannel integers = channel(c);
        const float *filter = filter_.data() + static_cast<std::size_t>(c) * num_rx_ * 2 * stride();
        const float *llr_scale = integers_.llr_scale.data() + static_cast<std::size_t>(c) * stride();
        const ReceivedView received{input.antennas, c * input.channel_stride, input.vector_stride};
        for (int first = 0; first < num_vectors; first += vectors_at_once) {
            const int count = std::min(vectors_at_once, num_vectors - first);
            kernel_.filter(filter, num_rx_, stride(), received.from(first), count, b, finite);
            kernel_.layers(network_, integers, packed_.data() + c * packed_bytes_, b, t, count);
            for (int v = 0; v < count; ++v) {
                std::int16_t *estimate = t + v * stride();
                const float scale = finite[v] ? 1.0f : 0.0f;
                num_invalid += !finite[v];
                const std::ptrdiff_t place = c * output.channel_stride + (first + v) * output.vector_stride;
                for (int j = 0; j < n; ++j)
                    output.symbols[j][place] = {estimate[j] * unit * scale, estimate[n + j] * unit * scale};
                if (!output.llrs)
                    continue;
                kernel_.llrs(network_, stride(), estimate, llr);
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
