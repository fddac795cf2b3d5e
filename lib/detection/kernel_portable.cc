// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers in plain C++: what runs where no faster kernel does, one vector at a time.

#include "detection/kernels.h"

#include <algorithm>
#include <cstring>

#define KAQ_SEPARATE_PRODUCTS // see support/lanes.h

#include "detection/fixed_point.h"
#include "detection/kernel_arguments.h"
#include "detection/packed_matrix.h"
#include "detection/prepare_channels.h"
#include "detection/squared_norm.h"
#include "detection/vector_stages.h"

namespace kaq {
namespace {

using Row = std::int32_t[max_rows]; // int16 values, computed in int32 so that nothing wraps before it saturates

inline std::int32_t saturate(std::int32_t x) { return std::clamp(x, -32768, 32767); }
inline std::int32_t multiply_q15(std::int32_t x, std::int32_t gain) { return (x * gain + (1 << 14)) >> 15; }
inline std::int32_t multiply_q15_plus_1(std::int32_t x, std::int32_t gain) {
    return saturate(x + multiply_q15(x, gain));
}

inline std::int32_t ramp(std::int32_t t, std::int32_t slope, int num_levels) {
    constexpr int half = state_half_distance;
    const std::int32_t outermost = (num_levels - 2) * half;
    const std::int32_t threshold = std::clamp(saturate(t + half) & -(2 * half), -outermost, outermost);
    const std::int32_t distance = std::clamp(saturate(t - threshold), -half + 1, half - 1);
    return threshold + std::clamp(multiply_q15(distance * 64, slope), -half, half);
}

// Four columns of a row lie next to each other, rows in their own order.
using Layout = PackedLayout<4, 4, 0>;

// sum = matrix times activations, both int8
void accumulate(std::span<const std::byte> packed, int num_rescales, const Size &size, const std::int8_t *activations,
                std::int32_t *sum) {
    const int positions = size.positions();
    const std::int8_t *matrix =
        reinterpret_cast<const std::int8_t *>(packed.data()) + 4 * Layout::matrix(num_rescales, positions);
    std::fill_n(sum, size.rows(), 0);
    for (int column = 0; column < size.rows(); column += 4, matrix += 4 * positions)
        for (int i = 0; i < size.rows(); ++i)
            for (int e = 0; e < 4; ++e)
                sum[i] += std::int32_t{matrix[4 * i + e]} * activations[column + e];
}

std::int32_t rescaled(std::int32_t sum, std::int32_t rescale) {
    return (sum * rescale + (1 << (rescale_shift - 1))) >> rescale_shift;
}

// out = rescaled product of the matrix and the quantized v
void matrix_product(const Network &network, const Size &size, const IntegerChannel &channel, int k, const Row &v,
                    Row &out) {
    const int positions = size.positions();
    const std::int32_t *rescale = reinterpret_cast<const std::int32_t *>(channel.packed.data()) +
                                  Layout::rescale(positions) + static_cast<std::size_t>(k) * positions;
    std::int8_t activations[max_rows] = {};
    for (int i = 0; i < size.rows(); ++i)
        activations[i] =
            static_cast<std::int8_t>(std::clamp(multiply_q15(v[i], channel.inverse_step[k * positions + i]),
                                                -network.activation_max, network.activation_max));
    accumulate(channel.packed, network.num_layers(), size, activations, out);
    for (int i = 0; i < size.rows(); ++i)
        out[i] = rescaled(out[i], rescale[i]);
}

void admm(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
          std::int16_t *t) {
    Row x, z = {}, u = {}, v, product;
    const int rows = size.rows(), positions = size.positions();
    std::copy_n(b, rows, x);
    for (int k = 0; k < network.num_layers(); ++k) {
        const std::int16_t *slope = channel.slope.data() + k * positions;
        const std::int16_t *diagonal = channel.diagonal.data() + k * positions;
        const std::int16_t *second_gain = channel.second_gain.data() + k * positions;
        for (int i = 0; i < rows; ++i) {
            const std::int32_t relaxed = saturate(x[i] + multiply_q15(saturate(x[i] - z[i]), channel.first_gain[k]));
            z[i] = ramp(saturate(relaxed + u[i]), slope[i], network.num_levels());
            u[i] = saturate(u[i] + multiply_q15_plus_1(saturate(relaxed - z[i]), second_gain[i]));
            v[i] = saturate(z[i] - u[i]);
        }
        matrix_product(network, size, channel, k, v, product);
        for (int i = 0; i < rows; ++i)
            x[i] = saturate(b[i] + multiply_q15(v[i], diagonal[i]) + product[i]);
    }
    for (int i = 0; i < rows; ++i)
        t[i] = static_cast<std::int16_t>(x[i]);
}

void pgd(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
         std::int16_t *t) {
    Row x = {}, product;
    const int rows = size.rows(), positions = size.positions();
    for (int k = 0; k < network.num_layers(); ++k) {
        const std::int16_t *slope = channel.slope.data() + k * positions;
        const std::int16_t *diagonal = channel.diagonal.data() + k * positions;
        matrix_product(network, size, channel, k, x, product);
        for (int i = 0; i < rows; ++i) {
            x[i] = saturate(multiply_q15_plus_1(b[i], channel.first_gain[k]) + multiply_q15(x[i], diagonal[i]) +
                            product[i]);
            if (network.layers[k].prox == Prox::soft_threshold)
                x[i] = std::max(x[i] - channel.threshold[k], 0) + std::min(x[i] + channel.threshold[k], 0);
            else if (network.layers[k].prox == Prox::ramp)
                x[i] = ramp(x[i], slope[i], network.num_levels());
        }
    }
    for (int i = 0; i < rows; ++i)
        t[i] = static_cast<std::int16_t>(x[i]);
}

void layers(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &b,
            const Rows &t) {
    assert_layers<Layout>(network, size, channel, b, t);
    const auto run = network.type == NetworkType::admm ? admm : pgd;
    for (std::size_t v = 0; v < t.extent(0); ++v)
        run(network, size, channel, b.row(v).data(), t.row(v).data());
}

} // namespace

const Kernel portable_kernel{
    "portable",   native_lanes,   scratch_floats, Layout::bytes, squared_norm, prepare_channels<Layout>,
    Layout::pack, Layout::unpack, filter,         layers,        llrs,         output};

} // namespace kaq
