// SPDX-License-Identifier: GPL-3.0-or-later
// The integers of channels in plain order: what tests read and write. docs/internals/integer-model.md states widths and
// scales.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "detection/network.h"

namespace kaq {

// Those of C channels; n rows, K layers.
struct Integers {
    std::vector<std::int8_t> matrix;                 // [C][n][n]
    std::vector<std::int16_t> diagonal;              // [C][K][n], Q15
    std::vector<std::int32_t> rescale;               // [C][K][n], Q12
    std::vector<std::int16_t> slope, inverse_step;   // [C][K][n], Q9 and Q15
    std::vector<std::int16_t> threshold, first_gain; // [C][K], state units and Q15
    std::vector<std::int16_t> second_gain;           // [C][K][n], Q15
    std::vector<float> llr_scale;                    // [C][n]

    Integers(const Network &network, std::size_t channels, std::size_t rows)
        : matrix(channels * rows * rows), diagonal(channels * network.num_layers() * rows), rescale(diagonal.size()),
          slope(diagonal.size()), inverse_step(diagonal.size()), threshold(channels * network.num_layers()),
          first_gain(threshold.size()), second_gain(diagonal.size()), llr_scale(channels * rows) {}

    bool operator==(const Integers &) const = default;
};

// Those of one channel.
template <bool Const>
struct ChannelIntegersOf {
    template <typename T>
    using Array = std::span<std::conditional_t<Const, const T, T>>;

    Array<std::int8_t> matrix;
    Array<std::int16_t> diagonal;
    Array<std::int32_t> rescale;
    Array<std::int16_t> slope, inverse_step, threshold, first_gain, second_gain;
    Array<float> llr_scale;

    // Channel c of `all`.
    template <typename AnyIntegers>
    ChannelIntegersOf(AnyIntegers &all, std::size_t c, std::size_t num_channels)
        : matrix(part(all.matrix, c, num_channels)), diagonal(part(all.diagonal, c, num_channels)),
          rescale(part(all.rescale, c, num_channels)), slope(part(all.slope, c, num_channels)),
          inverse_step(part(all.inverse_step, c, num_channels)), threshold(part(all.threshold, c, num_channels)),
          first_gain(part(all.first_gain, c, num_channels)), second_gain(part(all.second_gain, c, num_channels)),
          llr_scale(part(all.llr_scale, c, num_channels)) {}

private:
    template <typename Vector>
    static auto part(Vector &of, std::size_t c, std::size_t num_channels) {
        const std::size_t size = of.size() / num_channels;
        return std::span(of.data() + c * size, size);
    }
};

using ChannelIntegers = ChannelIntegersOf<true>;
using ChannelIntegersToFill = ChannelIntegersOf<false>;

} // namespace kaq
