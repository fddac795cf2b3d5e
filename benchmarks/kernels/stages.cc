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
                   const kaq::Estimate *estimates, const kaq::PreparedChannel *channels, int count, float *scratch) {
    const Preparation preparation = preparation_of(kernel);
    if (!preparation)
        throw std::invalid_argument("the steps of this kernel cannot be told apart");
    preparation(steps, network, size, estimates, channels, count, scratch);
}

Stages::Stages(const kaq::Network &network, const kaq::Kernel &kernel, int num_channels, int num_rx, int num_tx)
    : network_(network), kernel_(kernel), num_channels_(num_channels), size_{num_rx, num_tx} {
    if (network.candidates)
        throw std::invalid_argument("a network without candidates expected");
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
    for (std::size_t i = 0; i < c; ++i) {
        kaq::PreparedChannel of{};
        of.filter.first = first_.data() + i * num_rx * n;
        of.filter.scale = network.type == kaq::NetworkType::pgd ? scale_.data() + i : nullptr;
        of.integers = {packed_.data() + i * bytes,
                       integers_.diagonal.data() + i * k * s,
                       integers_.slope.data() + i * k * s,
                       integers_.inverse_step.data() + i * k * s,
                       integers_.threshold.data() + i * k,
                       integers_.first_gain.data() + i * k,
                       integers_.second_gain.data() + i * k * s,
                       integers_.llr_scale.data() + i * s};
        channels_.push_back(of);
    }
}

void Stages::set(const std::complex<float> *h, float noise_var, double inverse_root_snr, int vectors_per_estimate) {
    const bool two = network_.type == kaq::NetworkType::admm && vectors_per_estimate <= size_.num_rx;
    const std::size_t antennas = static_cast<std::size_t>(size_.num_rx) * size_.num_tx;
    for (int c = 0; c < num_channels_; ++c) {
        estimates_[c] = {h + c * antennas, 1, noise_var, inverse_root_snr};
        channels_[c].filter.inverse =
            two ? inverse_.data() + static_cast<std::size_t>(c) * size_.num_tx * size_.stream_stride() : nullptr;
    }
}

void Stages::prepare(int steps) {
    for (int first = 0; first < num_channels_; first += kernel_.lanes) {
        const int count = std::min(kernel_.lanes, num_channels_ - first);
        const kaq::Estimate *estimates = estimates_.data() + first;
        const kaq::PreparedChannel *channels = channels_.data() + first;
        if (steps)
            prepare_until(kernel_, steps, network_, size_, estimates, channels, count, scratch_.data());
        else
            kernel_.prepare(network_, size_, estimates, channels, count, scratch_.data());
    }
}

void Stages::detect(DetectionStep last, const kaq::InputView &input, const kaq::OutputView &output, int num_vectors) {
    alignas(64) std::int16_t b[vectors_at_once * kaq::max_rows];
    alignas(64) std::int16_t t[vectors_at_once * kaq::max_rows];
    bool finite[vectors_at_once];
    const bool with_llrs = last == DetectionStep::llrs;
    const bool channels_first = input.channel_stride < input.vector_stride;
    const int num_blocks = (num_vectors + vectors_at_once - 1) / vectors_at_once;
    for (int part = 0; part < num_channels_ * num_blocks; ++part) {
        const int c = channels_first ? part % num_channels_ : part / num_blocks;
        const int first = (channels_first ? part / num_channels_ : part % num_blocks) * vectors_at_once;
        const int count = std::min(vectors_at_once, num_vectors - first);
        const kaq::PreparedChannel &of = channels_[c];
        const kaq::ReceivedView received{input.antennas, c * input.channel_stride, input.vector_stride};
        const kaq::DetectedView detected{output.symbols,
                                         c * output.channel_stride,
                                         output.vector_stride,
                                         with_llrs ? output.llrs : nullptr,
                                         c * output.llr_channel_stride,
                                         output.llr_vector_stride};
        kernel_.filter(size_, of.filter, received.from(first), count, b, nullptr, finite);
        if (last == DetectionStep::filter)
            continue;
        kernel_.layers(network_, size_, of.integers, b, size_.stride(), nullptr, t, count);
        if (last == DetectionStep::layers)
            continue;
        kernel_.output(network_, size_, of.integers, t, t, finite, count, detected.from(first));
    }
}

} // namespace speed
