// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers in plain C++: what runs where no faster kernel does, one vector at a time.

#include "kernel_portable.h"

#include <algorithm>
#include <cstring>

#include "generic_linear_stage.h"

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

// out = rescaled product of the matrix and the quantized v
void matrix_product(const Network &network, const IntegerChannel &channel, int k, const Row &v, Row &out) {
    std::int8_t activations[max_rows];
    for (int i = 0; i < channel.rows; ++i)
        activations[i] =
            static_cast<std::int8_t>(std::clamp(multiply_q15(v[i], channel.inverse_step[k * channel.stride + i]),
                                                -network.activation_max, network.activation_max));
    for (int i = 0; i < channel.rows; ++i) {
        const std::int8_t *row = channel.matrix + i * channel.stride;
        std::int32_t sum = 0;
        for (int j = 0; j < channel.rows; ++j)
            sum += std::int32_t{row[j]} * activations[j];
        out[i] = (sum * channel.rescale[k * channel.stride + i] + (1 << (rescale_shift - 1))) >> rescale_shift;
    }
}

void admm(const Network &network, const IntegerChannel &channel, const std::int16_t *b, const Pin *pin,
          std::int16_t *t) {
    Row x, z = {}, u = {}, v, product;
    const int rows = channel.rows;
    std::copy_n(b, rows, x);
    for (int k = 0; k < network.num_layers(); ++k) {
        const std::int16_t *slope = channel.slope + k * channel.stride;
        const std::int16_t *diagonal = channel.diagonal + k * channel.stride;
        const std::int16_t *second_gain = channel.second_gain + k * channel.stride;
        for (int i = 0; i < rows; ++i) {
            const std::int32_t relaxed = saturate(x[i] + multiply_q15(saturate(x[i] - z[i]), channel.first_gain[k]));
            z[i] = pin && pin->row == i ? pin->value : ramp(saturate(relaxed + u[i]), slope[i], network.num_levels());
            u[i] = saturate(u[i] + multiply_q15_plus_1(saturate(relaxed - z[i]), second_gain[i]));
            v[i] = saturate(z[i] - u[i]);
        }
        matrix_product(network, channel, k, v, product);
        for (int i = 0; i < rows; ++i)
            x[i] = saturate(b[i] + multiply_q15(v[i], diagonal[i]) + product[i]);
    }
    for (int i = 0; i < rows; ++i)
        t[i] = static_cast<std::int16_t>(x[i]);
}

void pgd(const Network &network, const IntegerChannel &channel, const std::int16_t *b, const Pin *, std::int16_t *t) {
    Row x = {}, product;
    const int rows = channel.rows;
    for (int k = 0; k < network.num_layers(); ++k) {
        const std::int16_t *slope = channel.slope + k * channel.stride;
        const std::int16_t *diagonal = channel.diagonal + k * channel.stride;
        matrix_product(network, channel, k, x, product);
        for (int i = 0; i < rows; ++i) {
            x[i] = saturate(multiply_q15_plus_1(b[i], channel.first_gain[k]) + multiply_q15(x[i], diagonal[i]) +
                            product[i]);
            if (network.prox[k] == Prox::soft_threshold)
                x[i] = std::max(x[i] - channel.threshold[k], 0) + std::min(x[i] + channel.threshold[k], 0);
            else if (network.prox[k] == Prox::ramp)
                x[i] = ramp(x[i], slope[i], network.num_levels());
        }
    }
    for (int i = 0; i < rows; ++i)
        t[i] = static_cast<std::int16_t>(x[i]);
}

std::size_t packed_bytes(int, int) { return 0; }

void pack(const RescaledMatrix &, std::byte *) {}

void layers(const Network &network, const IntegerChannel &channel, const std::byte *, const std::int16_t *b, int b_step,
            const Pin *pins, std::int16_t *t, int num_vectors) {
    const auto run = network.type == NetworkType::admm ? admm : pgd;
    for (int v = 0; v < num_vectors; ++v)
        run(network, channel, b + v * b_step, pins ? pins + v : nullptr, t + v * channel.stride);
}

void metric(const Network &network, const IntegerMetric &channel, const std::byte *, const std::int16_t *t,
            const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
    for (int v = 0; v < num_vectors; ++v, t += channel.stride, matched += matched_step) {
        std::int32_t level[max_rows], total = 0;
        for (int i = 0; i < channel.rows; ++i)
            level[i] = nearest_level(t[i], network.num_levels());
        for (int i = 0; i < channel.rows; ++i) {
            const std::int8_t *row = channel.matrix + i * channel.stride;
            std::int32_t sum = 0;
            for (int j = 0; j < channel.rows; ++j)
                sum += row[j] * level[j];
            const std::int32_t product = (sum * channel.rescale[i] + (1 << (rescale_shift - 1))) >> rescale_shift;
            total += level[i] * saturate(product + channel.diagonal[i] * level[i] - 2 * matched[i]);
        }
        metric[v] = total;
    }
}

} // namespace

const Kernel portable_kernel{"portable", generic_linear_stage,   packed_bytes, pack,        generic_filter,
                             layers,     generic_second_guesses, metric,       generic_llrs};

} // namespace kaq
