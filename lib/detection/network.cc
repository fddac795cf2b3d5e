// SPDX-License-Identifier: GPL-3.0-or-later
#include "detection/network.h"

#include <cstddef>
#include <string>

#include "support/expect.h"

namespace kaq {
namespace {

void expect_within(const std::string &name, int value, int low, int high) {
    expect(value >= low && value <= high, name, " is ", value, "; ", low, " to ", high, " expected");
}

// `name` is of a law whose values divide, or scale what must not vanish. A law that is missing has zeros only.
void expect_positive(const std::string &name, const Law &law) {
    expect(law.low > 0, name, " may be as low as ", law.low, "; a law whose lower bound is above 0 expected");
}

// Of activations or the matrix.
void expect_largest(const std::string &name, int value, bool midrise) {
    expect_within(name, value, 1, max_int8);
    expect(!midrise || value % 2 == 1, name, " is ", value, "; an odd number expected, as midrise is true");
}

void check(const Layer &layer, bool admm, bool integers, bool midrise, std::size_t index) {
    const std::string name = "layer " + std::to_string(index);
    expect(!admm || layer.prox == Prox::ramp, name, " has no ramp; every layer of an ADMM-Net has one");
    expect_largest(name + ": activation_max", layer.activation_max, midrise);
    if (integers)
        expect_positive(name + ": step", layer.step);
    if (layer.prox == Prox::ramp)
        expect_positive(name + ": variance", layer.variance);
}

} // namespace

void Network::check() const {
    const bool admm = type == NetworkType::admm;
    expect_within("bits_per_dimension", bits_per_dimension, 1, max_bits_per_dimension);
    expect(half_distance > 0, "half_distance is ", half_distance, "; above 0 expected");
    expect_largest("matrix_max", matrix_max, midrise);
    expect(matrix_clip > 0 && matrix_clip <= 1, "matrix_clip is ", matrix_clip, "; above 0, and at most 1 expected");
    expect(output_spread >= 0, "output_spread is ", output_spread, "; at least 0 expected");
    expect(admm || !stream_steps, "stream_steps is true; a PGD-Net has one step for all streams");
    expect(admm || !midrise, "midrise is true; a PGD-Net starts from 0, which is no level then");
    expect(!layers.empty() && layers.size() <= max_layers, "the network has ", layers.size(), " layers; 1 to ",
           max_layers, " expected");
    expect(snr_low_db <= snr_high_db, "snr_low_db is ", snr_low_db, "; at most snr_high_db, ", snr_high_db,
           ", expected");
    for (std::size_t k = 0; k < layers.size(); ++k)
        kaq::check(layers[k], admm, precision == Precision::int8, midrise, k);
    expect_positive("output_variance", output_variance);
    expect_positive("regularization", regularization);
}

} // namespace kaq
