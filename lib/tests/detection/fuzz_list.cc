// SPDX-License-Identifier: GPL-3.0-or-later
// Any list detector that ListNetwork::check admits: as fuzz_plan.cc, and all kernels give the same bits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/detection/fuzz_inputs.h"

namespace {

using namespace kaq_test;

// A positive number, of an ordinary size or any.
float positive(Random &random, bool any, double low, double high) {
    if (!any)
        return static_cast<float>(std::exp(random.uniform(std::log(low), std::log(high))));
    const float bits = std::abs(random.bits());
    return std::isfinite(bits) && bits > 0 ? bits : std::numeric_limits<float>::denorm_min();
}

std::vector<kaq::ListNetwork::Curve> random_curves(Random &random, bool any, int bits, std::size_t knots) {
    std::vector<kaq::ListNetwork::Curve> curves(bits, kaq::ListNetwork::Curve(knots));
    for (kaq::ListNetwork::Curve &curve : curves)
        for (float &weight : curve)
            weight = any ? random_value(random, Values::any_bits) : random.normal();
    return curves;
}

enum class Numbers { of_a_file, any, any_constellation };

// `any`: numbers that no model file holds, but that nothing refuses.
kaq::ListNetwork random_list_network(Choices &choices, Random &random, Numbers numbers) {
    const bool any = numbers != Numbers::of_a_file;
    kaq::ListNetwork net;
    net.bits_per_dimension = choices.between(1, 4);
    net.half_distance = half_distance(net.bits_per_dimension);
    if (numbers == Numbers::any_constellation)
        net.half_distance = std::min(positive(random, choices.yes(), 1e-3, 1e3), 1e37f);
    net.survivors = choices.yes() ? 16 : 8;
    const int entries[] = {kaq::max_list_entry, 127, 1, random.between(1, kaq::max_list_entry)};
    net.largest_entry = entries[choices.between(0, 3)];
    net.step_alpha = choices.seldom() ? 0 : positive(random, any && choices.yes(), 1e-6, 100);
    net.step_gamma = choices.seldom() ? 0 : positive(random, any && choices.yes(), 1e-6, 1);
    if (!std::isfinite(net.step_alpha + net.step_gamma))
        net.step_alpha = 1;
    net.layers.resize(choices.between(0, kaq::max_list_layers));
    for (kaq::ListNetwork::Layer &layer : net.layers) {
        const float dampings[] = {0, 1, static_cast<float>(random.uniform(0, 1))};
        layer = {dampings[choices.between(0, 2)], positive(random, any && choices.yes(), 1e-6, 1)};
    }
    net.knots.resize(choices.between(1, any ? kaq::max_list_knots : 8));
    for (float &knot : net.knots)
        knot = positive(random, any && choices.yes(), 1e-3, 1e4);
    std::sort(net.knots.begin(), net.knots.end());
    net.knots.erase(std::unique(net.knots.begin(), net.knots.end()), net.knots.end());
    int max_num_tx = 0;
    for (int i = choices.between(1, 3); i > 0; --i) {
        max_num_tx += choices.between(1, 8);
        const auto curves = [&] { return random_curves(random, any, net.bits_per_dimension, net.knots.size()); };
        net.fusion.push_back({max_num_tx, curves(), curves(), curves(), curves()});
    }
    net.check();
    return net;
}

Shape random_shape(Choices &choices, const kaq::ListNetwork &net) {
    Shape shape;
    shape.num_tx = choices.between(1, choices.byte() % 4 ? 5 : kaq::max_list_streams);
    shape.num_rx = choices.seldom() ? choices.between(1, kaq::max_list_rx)
                                    : std::min(kaq::max_list_rx, shape.num_tx + choices.between(0, shape.num_tx));
    shape.channels = choices.between(1, 40);
    shape.vectors = choices.between(0, 70);
    // what takes long finds no more
    const double n = shape.num_tx, of_search = n * n * net.survivors * (1 << net.bits_per_dimension);
    shape.vectors =
        std::clamp(static_cast<int>(2e5 / of_search / shape.channels), std::min(shape.vectors, 5), shape.vectors);
    return shape;
}

} // namespace

void kaq_test::fuzz_list(Choices &choices, Random &random) {
    const int kind = choices.byte() % 8;
    const Numbers numbers = kind == 7 ? Numbers::any_constellation : kind >= 5 ? Numbers::any : Numbers::of_a_file;
    const kaq::ListNetwork net = random_list_network(choices, random, numbers);
    const Shape shape = random_shape(choices, net);
    Output expected;
    check_detection<kaq::ListPlan>(choices, random, net, shape, list_kernels(),
                                   [&](const kaq::ListPlan &plan, const Output &out) {
                                       if (!all_finite(out))
                                           fail("an output that is not finite", plan);
                                       if (&plan.kernel() == list_kernels().front())
                                           expected = out;
                                       else if (!same_bits(out, expected))
                                           fail("another kernel gives other bits", plan);
                                   });
}
