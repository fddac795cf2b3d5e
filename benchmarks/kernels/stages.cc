// SPDX-License-Identifier: GPL-3.0-or-later
#include "stages.h"

#include <algorithm>
#include <stdexcept>

#include "preparation.h"

namespace speed {
namespace {

constexpr int vectors_at_once = 28; // as in plan.cc

} // namespace

const std::vector<std::string> &preparation_steps(const kaq::Kernel &kernel, kaq::NetworkType type) {
    static const std::vector<std::string> none;
    static const std::vector<std::string> of_admm{"channels to lanes", "Gram matrix", "Cholesky factor",
                                                  "inverse factor",    "inverse",     "quantization",
                                                  "filter matrix",     "packing",     "values of the layers"};
    static const std::vector<std::string> of_pgd{"channels to lanes", "Gram matrix", "quantization",
                                                 "filter matrix",     "packing",     "values of the layers"};
    if (!preparation_of(kernel))
        return none;
    return type == kaq::NetworkType::admm ? of_admm : of_pgd;
}

void prepare_until(const kaq::Kernel &kernel, int steps, const kaq::Network &network, const kaq::Size &size,
                   std::span<const kaq::Estimate> estimates, std::span<const kaq::ChannelToPrepare> channels,
                   std::span<float> scratch) {
    const Preparation preparation = preparation_of(kernel);
    if (!preparation)
        throw std::invalid_argument("the steps of this kernel cannot be told apart");
    preparation(steps, network, size, estimates, channels, scratch);
}

Stages::Stages(const kaq::Network &network, const kaq::Kernel &kernel, int num_channels, int num_rx, int num_tx)
    : network_(network), kernel_(kernel), num_channels_(num_channels), size_{num_rx, num_tx} {
    const std::size_t c = num_channels, k = network_.num_layers(), s = size_.positions(), n = size_.stream_stride();
    for (auto *array : {&integers_.diagonal, &integers_.slope, &integers_.inverse_step, &integers_.second_gain})
        array->resize(c * k * s);
    integers_.threshold.resize(c * k);
    integers_.first_gain.resize(c * k);
    integers_.llr_scale.resize(c * s);
    first_.resize(c * num_rx * n);
    inverse_.resize(c * num_tx * n);
    scale_.resize(c);
    const std::size_t bytes = kernel_.packed_bytes(network_.num_layers(), size_);
    packed_.resize(c * bytes);
    scratch_.resize(kernel_.scratch_floats(size_));
    estimates_.resize(c);
    to_prepare_.resize(c);
    channels_.resize(c);
    for (std::size_t i = 0; i < c; ++i) {
        const auto part = [&](auto &of, std::size_t count) { return std::span(of.data() + i * count, count); };
        const auto fill = [&](auto &to) {
            to.filter.first = part(first_, num_rx * n);
            if (network.type == kaq::NetworkType::pgd)
                to.filter.scale = part(scale_, 1);
            to.integers = {part(packed_, bytes),
                           part(integers_.diagonal, k * s),
                           part(integers_.slope, k * s),
                           part(integers_.inverse_step, k * s),
                           part(integers_.threshold, k),
                           part(integers_.first_gain, k),
                           part(integers_.second_gain, k * s),
                           part(integers_.llr_scale, s)};
        };
        fill(to_prepare_[i]);
        fill(channels_[i]);
    }
}

void Stages::set(std::span<const std::complex<float>> h, float noise_var, double inverse_root_snr,
                 int vectors_per_estimate) {
    const bool two = network_.type == kaq::NetworkType::admm && vectors_per_estimate <= size_.num_rx;
    const std::size_t antennas = static_cast<std::size_t>(size_.num_rx) * size_.num_tx;
    const std::size_t square = static_cast<std::size_t>(size_.num_tx) * size_.stream_stride();
    for (int c = 0; c < num_channels_; ++c) {
        estimates_[c] = {h.subspan(c * antennas, antennas), 1, noise_var, inverse_root_snr};
        const std::span<std::complex<float>> inverse(inverse_.data() + c * square, two ? square : 0);
        to_prepare_[c].filter.inverse = inverse;
        channels_[c].filter.inverse = inverse;
    }
}

void Stages::prepare(int steps) {
    for (int first = 0; first < num_channels_; first += kernel_.lanes) {
        const std::size_t count = std::min(kernel_.lanes, num_channels_ - first);
        const std::span<const kaq::Estimate> estimates(estimates_.data() + first, count);
        const std::span<const kaq::ChannelToPrepare> channels(to_prepare_.data() + first, count);
        if (steps)
            prepare_until(kernel_, steps, network_, size_, estimates, channels, scratch_);
        else
            kernel_.prepare(network_, size_, estimates, channels, scratch_);
    }
}

void Stages::detect(DetectionStep last, const kaq::ReceivedView &received, const kaq::DetectedView &detected) {
    alignas(64) std::int16_t b[vectors_at_once * kaq::max_rows];
    alignas(64) std::int16_t t[vectors_at_once * kaq::max_rows];
    bool are_finite[vectors_at_once];
    kaq::DetectedView wanted = detected;
    if (last != DetectionStep::llrs)
        wanted.llrs = {};
    const int num_vectors = received.num_vectors;
    const bool channels_first = received.channel_stride < received.vector_stride;
    const int num_blocks = (num_vectors + vectors_at_once - 1) / vectors_at_once;
    for (int part = 0; part < num_channels_ * num_blocks; ++part) {
        const int c = channels_first ? part % num_channels_ : part / num_blocks;
        const int first = (channels_first ? part / num_channels_ : part % num_blocks) * vectors_at_once;
        const int count = std::min(vectors_at_once, num_vectors - first);
        const kaq::PreparedChannel &of = channels_[c];
        const kaq::Rows b_rows(b, count, size_.stride()), t_rows(t, count, size_.stride());
        const std::span<bool> finite(are_finite, count);
        kernel_.filter(size_, of.filter, received.part(c, first, count), b_rows, finite);
        if (last == DetectionStep::filter)
            continue;
        kernel_.layers(network_, size_, of.integers, b_rows, t_rows);
        if (last == DetectionStep::layers)
            continue;
        kernel_.output(network_, size_, of.integers, t_rows, finite, wanted.part(c, first, count));
    }
}

} // namespace speed
