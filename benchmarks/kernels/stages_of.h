// SPDX-License-Identifier: GPL-3.0-or-later
// lib/detection's prepare_batch of ADMM-Nets and its detect_batch, up to a stage. Included by files that are compiled
// for one instruction set.
#pragma once

#include <span>
#include <stdexcept>

#include "detection/unfolded_detection.h"
#include "detection/unfolded_preparation.h"

#include "stages.h"

namespace speed {
namespace {

using namespace kaq; // what is timed is all of it

enum Preparation { levels, channels, gram, inverse, layer_values, filter_matrix };
enum Detection { filter, layers, only_layers };

template <typename Isa, Preparation Last>
void prepare_until(const Form &form, std::span<const Estimate> lanes_of, const LawValues &common,
                   std::span<float> batch, std::span<float> scratch) {
    const Network &network = form.network;
    if (network.type != NetworkType::admm)
        throw std::invalid_argument("the stages of an ADMM-Net's preparation are known");
    const int n = form.size.num_tx, num_rx = form.size.num_rx;
    const UnfoldedLayout layout(network, form.size, Isa::streams_per_word);
    const UnfoldedBatch b{layout, batch.data()};
    const PreparationScratch s(form.size, scratch.data());
    const LaneLaws laws(network, lanes_of, common);
    const float per_unit = static_cast<float>(state_half_distance) / network.half_distance;
    if constexpr (Last == levels)
        return;
    const Matrix h = form.direct ? s.h : b.filter();
    load_estimates(lanes_of, num_rx, h);
    if constexpr (Last == channels)
        return;
    gram_matrix(h, num_rx, n, s.gram);
    if constexpr (Last == gram)
        return;
    const LaneValues lanes(lanes_of, n, s.gram);
    const Lanes factor = per_unit * lanes.gain;
    const Lanes rho = laws(&LawValues::regularization) * lanes.noise_var;
    const Matrix to = form.direct ? s.inverse : b.inverse();
    const Matrix &matrix = invert_gram(n, lanes, rho, s, to);
    if constexpr (Last == inverse)
        return;
    set_layers<Isa>(network, laws, b, matrix, lanes.known ? rho : Lanes{}, s);
    if constexpr (Last == layer_values)
        return;
    if (form.direct) {
        product(h, to, num_rx, n, b.filter());
        scale_matrix(b.filter(), num_rx, factor);
    } else {
        scale_matrix(to, n, factor);
    }
}

// Without a filter, the layers run on what the scratch holds of another run. What that is makes no difference to their
// time.
template <InstructionSet Isa, Detection Last>
std::size_t detect_until(const Form &form, std::span<const float> batch, const LaneVectors &vectors,
                         const ReceivedView &received, const DetectedView &, std::span<float> scratch) {
    const UnfoldedLayout layout(form.network, form.size, Isa::streams_per_word);
    const UnfoldedBatch b{layout, const_cast<float *>(batch.data())}; // only read
    const LanePlaces lanes(vectors);
    const StepPlaces places(lanes, received);
    const bool integers = form.network.precision == Precision::int8;
    for_each_step<Isa>(form.network, b, lanes, scratch.data(), [&](auto &steps) {
        if constexpr (Last != only_layers)
            steps.filter(received, places, form.direct);
        if constexpr (Last == layers)
            integers ? steps.quantize() : steps.zero_invalid();
        if constexpr (Last != filter)
            integers ? steps.run_integer_layers() : steps.run_float_layers();
    });
    return 0;
}

template <typename Isa>
StagedKernels stages_of(const Kernel &whole) {
    StagedKernels found;
    const auto prepares = [&](std::string_view stage, auto until) {
        found.push_back({stage, whole});
        found.back().kernel.prepare = until;
    };
    const auto detects = [&](std::string_view stage, auto until) {
        found.push_back({stage, whole});
        found.back().kernel.detect = until;
    };
    prepares("levels and laws", prepare_until<Isa, levels>);
    prepares("channels to lanes", prepare_until<Isa, channels>);
    prepares("Gram matrix", prepare_until<Isa, gram>);
    prepares("inverse", prepare_until<Isa, inverse>);
    prepares("values of the layers", prepare_until<Isa, layer_values>);
    prepares("filter matrix", prepare_until<Isa, filter_matrix>);
    detects("filter", detect_until<Isa, filter>);
    detects("layers", detect_until<Isa, layers>);
    detects("layers alone", detect_until<Isa, only_layers>);
    return found;
}

} // namespace
} // namespace speed
