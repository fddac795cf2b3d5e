// SPDX-License-Identifier: GPL-3.0-or-later
// Any network, shape, layout and values that a caller may pass: nothing is read or written outside of the views, all
// kernels give the same integers, and nothing depends on threads, on the other vectors or on what was there before.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tests/detection/fuzz_inputs.h"

namespace {

using namespace kaq_test;

kaq::Law random_law(Choices &choices, Random &random, double low, double high) {
    const double ends[] = {low, high, random.uniform(low, high), std::clamp(0.02, low, high)};
    kaq::Law law{0, ends[choices.between(0, 3)], low, high};
    if (choices.yes())
        law.alpha = random.uniform(-1, 1) * high;
    return law;
}

// Within what model files and the bindings admit.
kaq::Network random_network(Choices &choices, Random &random) {
    kaq::Network net;
    net.type = choices.yes() ? kaq::NetworkType::admm : kaq::NetworkType::pgd;
    net.precision = choices.byte() % 4 ? kaq::Precision::int8 : kaq::Precision::fp32;
    const bool admm = net.type == kaq::NetworkType::admm;
    net.bits_per_dimension = choices.between(1, 4);
    net.half_distance = half_distance(net.bits_per_dimension);
    const int widths[] = {127, 1, 7, random.between(0, 63) * 2 + 1};
    net.matrix_max = widths[choices.between(0, 3)];
    net.matrix_clip = choices.yes() ? static_cast<float>(random.uniform(0.05, 1)) : 1;
    net.stream_steps = admm && choices.yes();
    net.midrise = admm && choices.yes();
    net.output_spread = admm && choices.yes() ? static_cast<float>(random.uniform(0, 10)) : 0;
    const double d = net.half_distance;
    net.layers.resize(choices.between(1, 6));
    for (kaq::Layer &layer : net.layers) {
        layer.step = random_law(choices, random, d / 256, 16 * d);
        layer.activation_max = widths[choices.between(0, 3)];
        layer.prox = admm ? kaq::Prox::ramp : static_cast<kaq::Prox>(choices.between(0, 2));
        if (layer.prox == kaq::Prox::ramp)
            layer.variance = random_law(choices, random, 1e-3, 1e3);
        if (layer.prox == kaq::Prox::soft_threshold)
            layer.threshold = random_law(choices, random, 0, 16 * d);
        if (admm) {
            layer.dual_step = random_law(choices, random, 0, 64);
            layer.relaxation = random_law(choices, random, 0, 2);
        } else {
            layer.gradient_step = random_law(choices, random, 0, 2);
        }
    }
    net.output_variance = random_law(choices, random, 1e-3, 1e3);
    net.regularization = admm ? random_law(choices, random, 0.05, 100) : kaq::Law{0, 1, 0.05, 100};
    net.snr_low_db = choices.between(-20, 20);
    net.snr_high_db = net.snr_low_db + choices.between(1, 60);
    return net;
}

Shape random_shape(Choices &choices, const kaq::Network &net) {
    Shape shape;
    shape.num_tx = choices.between(1, choices.byte() % 4 ? 12 : 64);
    shape.num_rx = choices.seldom() ? choices.between(1, 100) : shape.num_tx + choices.between(0, shape.num_tx);
    shape.channels = choices.between(1, 40);
    shape.vectors = choices.between(0, 70);
    // what takes long finds no more
    const double n = shape.num_tx, prepare = n * n * (shape.num_rx + n),
                 detect = n * (shape.num_rx + 4.0 * n * net.num_layers());
    shape.channels = std::clamp(static_cast<int>(2e5 / prepare), std::min(shape.channels, 3), shape.channels);
    shape.vectors =
        std::clamp(static_cast<int>(4e5 / detect / shape.channels), std::min(shape.vectors, 5), shape.vectors);
    return shape;
}

// All kernels make the same of the same integers.
void check_layers(Random &random, const kaq::Plan &plan, const kaq::Integers &integers) {
    constexpr int vectors = 5;
    std::vector<std::int16_t> b(static_cast<std::size_t>(plan.num_channels()) * vectors * plan.rows());
    const int range = 1 << random.between(8, 16); // from what is usual to what saturates
    for (std::int16_t &value : b)
        value = static_cast<std::int16_t>(std::clamp(random.between(-range, range), -32768, 32767));
    Layers expected;
    for (const kaq::Kernel *kernel : kernels()) {
        kaq::Plan other(plan.network(), *kernel, plan.num_channels(), plan.num_rx(), plan.num_tx());
        other.set_integers(integers);
        if (!(other.integers() == integers))
            fail("the integers are not those that were set", other);
        const Layers out = run_layers(other, b);
        if (kernel == kernels().front())
            expected = out;
        else if (!(out == expected))
            fail("another kernel gives other integers", other);
    }
}

// Integers anywhere in their ranges, or at their ends: what no channel gives, but the types allow.
kaq::Integers random_integers(Choices &choices, Random &random, const kaq::Network &net, int channels, int rows) {
    const bool extreme = choices.yes();
    const auto draw = [&](auto &values, int low, int high) {
        for (auto &value : values)
            value = static_cast<std::decay_t<decltype(value)>>(extreme ? (random.one_in(2) ? low : high)
                                                                       : random.between(low, high));
    };
    kaq::Integers integers(net, channels, rows);
    draw(integers.matrix, -net.matrix_max, net.matrix_max);
    for (std::size_t i = 0; i < integers.matrix.size(); ++i)
        if (i % (static_cast<std::size_t>(rows) * rows) % (rows + 1) == 0)
            integers.matrix[i] = 0;
    // The same for both rows of a stream; what all layers or all streams have in common is drawn once.
    const auto draw_of_streams = [&](auto &values, int low, int high, bool by_layer, bool by_stream) {
        draw(values, low, high);
        const std::size_t num_tx = rows / 2, layers = net.num_layers();
        for (std::size_t i = 0; i < values.size(); ++i) {
            const std::size_t row = i % rows, layer = i / rows % layers, channel = i / rows / layers;
            values[i] = values[(channel * layers + (by_layer ? layer : 0)) * rows + (by_stream ? row % num_tx : 0)];
        }
    };
    const bool admm = net.type == kaq::NetworkType::admm;
    draw_of_streams(integers.diagonal, -32767, 32767, !admm, true);
    int activation_max = 1;
    for (const kaq::Layer &layer : net.layers)
        activation_max = std::max(activation_max, layer.activation_max);
    const int rescale = (0x7fffffff - (1 << 11)) / (activation_max * net.matrix_max * (rows - 1));
    draw_of_streams(integers.rescale, -rescale, rescale, true, true);
    draw(integers.slope, 512, 32767);
    draw_of_streams(integers.inverse_step, 1, 32767, true, net.stream_steps);
    draw(integers.threshold, 0, 32767);
    draw(integers.first_gain, -32767, 32767);
    draw(integers.second_gain, -32767, 32767);
    return integers;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Choices choices(data, size);
    Random random(choices.byte() | choices.byte() << 8);
    const int kind = choices.byte() % 4;
    if (kind == 3)
        return fuzz_linear(choices, random), 0;
    if (kind == 1)
        return fuzz_list(choices, random), 0;
    const kaq::Network net = random_network(choices, random);
    const Shape shape = random_shape(choices, net);
    const bool integers = net.precision == kaq::Precision::int8;
    if (choices.byte() % 4 || !integers)
        check_detection<kaq::Plan>(choices, random, net, shape, kernels(),
                                   [&](const kaq::Plan &plan, const Output &out) {
                                       if (!all_finite(out))
                                           fail("an output that is not finite", plan);
                                       if (integers && &plan.kernel() == kernels().front())
                                           check_layers(random, plan, plan.integers());
                                   });
    else {
        const kaq::Plan plan(net, *kernels().front(), shape.channels, 1, shape.num_tx);
        check_layers(random, plan, random_integers(choices, random, net, shape.channels, 2 * shape.num_tx));
    }
    return 0;
}
