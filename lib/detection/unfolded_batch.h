// SPDX-License-Identifier: GPL-3.0-or-later
// Where the values of a batch of prepared channels lie, one channel in each lane. Compiled for the instruction set of
// each kernel.
#pragma once

#include <cstddef>

#include "detection/batch_lanes.h"
#include "detection/network.h"
#include "detection/size.h"

namespace kaq {
namespace {

// Values of each stream in each layer; what layers or streams have in common is there once.
struct StreamValues {
    std::size_t begin = 0;
    int per_layer = 0, per_stream = 0;

    std::size_t operator()(int k, int stream) const {
        return begin + static_cast<std::size_t>(k) * per_layer + static_cast<std::size_t>(stream) * per_stream;
    }
};

// Offsets are in vectors of lanes. A batch is one array of floats; integers share it. A register of int16 state holds
// both rows of a stream: its first four lanes' real parts, then their imaginary parts, and so on.
struct UnfoldedLayout {
    int num_rx, n;
    int streams;                                               // n, padded with a stream of zeros to an even number
    int words;                                                 // in which a row of the int8 matrix lies
    std::size_t first, inverse, scale;                         // the filter: m = M^H y, then b = A m, or b = scale m
    std::size_t matrix;                                        // [streams][2][words]; fp32: complex [n][n]
    StreamValues rescale, diagonal, slope, inverse_step, dual; // `dual` is second_gain
    std::size_t threshold, first_gain;                         // [K]
    std::size_t llr_scale;                                     // [streams][2]
    std::size_t size;

    UnfoldedLayout(const Network &network, const Size &of, int streams_per_word)
        : num_rx(of.num_rx), n(of.num_tx), streams((n + 1) / 2 * 2), words(streams / streams_per_word) {
        const bool admm = network.type == NetworkType::admm, integers = network.precision == Precision::int8;
        const int layers = network.num_layers();
        std::size_t end = 0;
        const auto room = [&end](int count) {
            const std::size_t begin = end;
            end += static_cast<std::size_t>(count);
            return begin;
        };
        first = room(2 * num_rx * n);
        inverse = room(admm ? 2 * n * n : 0);
        scale = room(1);
        matrix = room(integers ? 2 * streams * words : 2 * n * n);
        const auto of_streams = [&](bool by_layer = true, bool by_stream = true) {
            const int count = by_stream ? streams : 1;
            return StreamValues{room(by_layer ? layers * count : count), by_layer ? count : 0, by_stream ? 1 : 0};
        };
        if (integers) {
            rescale = of_streams();
            diagonal = of_streams(!admm);
            inverse_step = of_streams(true, network.stream_steps);
        }
        slope = of_streams();
        dual = of_streams();
        threshold = room(layers);
        first_gain = room(layers);
        llr_scale = room(2 * streams);
        size = end;
    }
};

struct UnfoldedBatch : BatchLanes {
    const UnfoldedLayout &layout;

    UnfoldedBatch(const UnfoldedLayout &of, float *data) : BatchLanes{data}, layout(of) {}

    Matrix filter() const { return matrix(layout.first, layout.num_rx, layout.n); }
    Matrix inverse() const { return matrix(layout.inverse, layout.n, layout.n); }
    Matrix float_matrix() const { return matrix(layout.matrix, layout.n, layout.n); }
};

} // namespace
} // namespace kaq
