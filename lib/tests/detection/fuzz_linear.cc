// SPDX-License-Identifier: GPL-3.0-or-later
// LMMSE and zero forcing at any size: as fuzz_plan.cc, and all kernels that fuse products give the same bits.
#include <algorithm>

#include "tests/detection/fuzz_inputs.h"

void kaq_test::fuzz_linear(Choices &choices, Random &random) {
    using Type = kaq::LinearNetwork::Type;
    const kaq::LinearNetwork net =
        linear_network(choices.yes() ? Type::lmmse : Type::zero_forcing, choices.between(1, 4));
    Shape shape;
    shape.num_tx = choices.between(1, choices.byte() % 4 ? 5 : 20);
    shape.num_rx = choices.seldom() ? choices.between(1, 70) : shape.num_tx + choices.between(0, shape.num_tx);
    shape.channels = choices.between(1, 40);
    shape.vectors = choices.between(0, 70);
    // what takes long finds no more
    const int of_channel = shape.num_rx * shape.num_tx * shape.num_tx;
    shape.channels = std::clamp(100000 / of_channel, std::min(shape.channels, 3), shape.channels);
    Output expected;
    check_detection<kaq::LinearPlan>(choices, random, net, shape, linear_kernels(),
                                     [&](const kaq::LinearPlan &plan, const Output &out) {
                                         if (!all_finite(out))
                                             fail("an output that is not finite", plan);
                                         if (!has_fused_products(plan.kernel()))
                                             return;
                                         if (&plan.kernel() == linear_kernels().front())
                                             expected = out;
                                         else if (!same_bits(out, expected))
                                             fail("another kernel gives other bits", plan);
                                     });
}
