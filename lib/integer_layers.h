// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers and the metric over an instruction set. Several vectors are interleaved, so that the matrix is
// loaded once for all and their accumulator chains hide each other's latency.
//
// An instruction set `Isa` has:
//   I16, I32                       registers of int16 state, and of int32 accumulators
//   Layout                         of packed matrices (packed_matrix.h)
//   interleave                     how many vectors
//   load, store, set               of int16, aligned; load32
//   add, subtract, adds, subs      wrapping and saturating
//   min, max, bit_and, bit_or, shift_left<n>, shift_right<n>
//   multiply_q15                   (a b + 2^14) >> 15
//   hold<row>(x, row, value)       x with one lane replaced
//   Activations<Vectors, Registers>
//                                  what the columns are broadcast from: fill(x, largest), columns(v, block, within),
//                                  which is block + within of vector v; block is a multiple of 8
//   dot                            accumulator + columns * matrix
//   combine                        saturate(linear + diagonal + ((accumulators rescale + 2^11) >> 12))
//   metric_part                    sum over lanes of level saturate(product + level diagonal - 2 matched)
#pragma once

#include "kernel.h"
#include "packed_matrix.h"

namespace kaq {
namespace {

template <typename Isa, int Registers>
struct IntegerLayers {
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    using Layout = typename Isa::Layout;
    static constexpr int lanes = sizeof(I16) / 2; // rows in a register
    static constexpr int stride = lanes * Registers;
    // rows whose accumulators are kept in registers at once
    static constexpr int block = Registers < Isa::registers_at_once ? Registers : Isa::registers_at_once;

    static I16 clamp(I16 x, int low, int high) { return Isa::min(Isa::max(x, Isa::set(low)), Isa::set(high)); }

    static I16 ramp(I16 t, I16 slope, int num_levels) {
        constexpr int half = state_half_distance;
        const int outermost = (num_levels - 2) * half;
        const I16 near = clamp(t, -outermost - half + 1, outermost + half - 1);
        const I16 threshold = Isa::bit_and(Isa::add(near, Isa::set(half)), Isa::set(-2 * half));
        const I16 distance = Isa::max(Isa::subtract(near, threshold), Isa::set(-half + 1));
        const I16 rise = Isa::multiply_q15(Isa::template shift_left<6>(distance), slope);
        return Isa::add(threshold, clamp(rise, -half, half));
    }

    static I16 multiply_q15_plus_1(I16 x, I16 gain) { return Isa::adds(x, Isa::multiply_q15(x, gain)); }

    // visit(v, reg, accumulator of the first rows, of the second) for all accumulators of the matrix and activations
    template <int Vectors, typename Visit>
    static void multiply(const PackedMatrix *packed, int num_rescales, int rows,
                         const typename Isa::template Activations<Vectors, Registers> &activations, Visit visit) {
        const std::int32_t *bias = reinterpret_cast<const std::int32_t *>(packed);
        const std::int32_t *matrix = bias + Layout::matrix(num_rescales, stride);
        const int num_blocks = (rows + Layout::columns - 1) / Layout::columns;
        constexpr int wide = sizeof(I32) / 4;
#pragma GCC unroll 1
        for (int first = 0; first < Registers; first += block) {
            I32 sum[Vectors][2 * block];
            for (int v = 0; v < Vectors; ++v)
                for (int h = 0; h < 2 * block; ++h)
                    sum[v][h] = Layout::offset ? Isa::load32(bias + (2 * first + h) * wide) : I32{};
            const std::int32_t *words = matrix + 2 * first * wide;
            const auto add_block = [&](int b, int within) __attribute__((always_inline)) {
                I32 entries[2 * block];
                for (int h = 0; h < 2 * block; ++h)
                    entries[h] = Isa::load32(words + within * stride + h * wide);
                for (int v = 0; v < Vectors; ++v) {
                    const I32 columns = activations.columns(v, b, within);
                    for (int h = 0; h < 2 * block; ++h)
                        sum[v][h] = Isa::dot(sum[v][h], columns, entries[h]);
                }
            };
            // unrolled, so that nothing has to compute where the columns are
            constexpr int unrolled = 8;
            int b = 0;
            for (; b + unrolled <= num_blocks; b += unrolled, words += unrolled * stride)
#pragma GCC unroll 8
                for (int within = 0; within < unrolled; ++within)
                    add_block(b, within);
            for (int within = 0; b + within < num_blocks; ++within)
                add_block(b, within);
            for (int v = 0; v < Vectors; ++v)
                for (int r = 0; r < block; ++r)
                    if (first + r < Registers)
                        visit(v, first + r, sum[v][2 * r], sum[v][2 * r + 1]);
        }
    }

    // result = saturate(linear + multiply_q15(state, diagonal) + rescale (matrix quantize(state)))
    template <int Vectors, typename Linear>
    static void linear_part(const Network &network, const Size &size, const IntegerChannel &channel, int k,
                            Linear linear, const I16 (&state)[Vectors][Registers], I16 (&result)[Vectors][Registers]) {
        typename Isa::template Activations<Vectors, Registers> activations;
        const std::int16_t *inverse_step = channel.inverse_step + k * stride;
        I16 quantized[Vectors * Registers];
        for (int v = 0; v < Vectors; ++v)
            for (int r = 0; r < Registers; ++r)
                quantized[v * Registers + r] = Isa::multiply_q15(state[v][r], Isa::load(inverse_step + r * lanes));
        activations.fill(quantized, network.activation_max);
        const std::int32_t *rescale = reinterpret_cast<const std::int32_t *>(channel.packed) + Layout::rescale(stride) +
                                      static_cast<std::size_t>(k) * stride;
        const std::int16_t *diagonal = channel.diagonal + k * stride;
        multiply<Vectors>(
            channel.packed, network.num_layers(), size.rows(), activations, [&](int v, int r, I32 first, I32 second) {
                result[v][r] = Isa::combine(
                    linear(v, r), Isa::multiply_q15(state[v][r], Isa::load(diagonal + r * lanes)), first, second,
                    Isa::load32(rescale + r * lanes), Isa::load32(rescale + r * lanes + lanes / 2));
            });
    }

    template <int Vectors>
    static void admm(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
                     int b_step, const Pin *pins, std::int16_t *t) {
        I16 x[Vectors][Registers], z[Vectors][Registers], u[Vectors][Registers], v[Vectors][Registers];
        const auto load_b = [&](int i, int r) { return Isa::load(b + i * b_step + r * lanes); };
        for (int i = 0; i < Vectors; ++i)
            for (int r = 0; r < Registers; ++r) {
                x[i][r] = load_b(i, r);
                z[i][r] = u[i][r] = Isa::set(0);
            }
        for (int k = 0; k < network.num_layers(); ++k) {
            const I16 first_gain = Isa::set(channel.first_gain[k]);
            for (int r = 0; r < Registers; ++r) {
                const I16 slope = Isa::load(channel.slope + k * stride + r * lanes);
                const I16 second_gain = Isa::load(channel.second_gain + k * stride + r * lanes);
                for (int i = 0; i < Vectors; ++i) {
                    const I16 difference = Isa::subs(x[i][r], z[i][r]);
                    const I16 relaxed = Isa::adds(x[i][r], Isa::multiply_q15(difference, first_gain));
                    z[i][r] = ramp(Isa::adds(relaxed, u[i][r]), slope, network.num_levels());
                    if (pins)
                        z[i][r] = Isa::hold(z[i][r], pins[i].row - r * lanes, pins[i].value);
                    u[i][r] = Isa::adds(u[i][r], multiply_q15_plus_1(Isa::subs(relaxed, z[i][r]), second_gain));
                    v[i][r] = Isa::subs(z[i][r], u[i][r]);
                }
            }
            linear_part<Vectors>(network, size, channel, k, load_b, v, x);
        }
        for (int i = 0; i < Vectors; ++i)
            for (int r = 0; r < Registers; ++r)
                Isa::store(t + i * stride + r * lanes, x[i][r]);
    }

    template <int Vectors>
    static void pgd(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
                    int b_step, const Pin *, std::int16_t *t) {
        I16 x[Vectors][Registers], next[Vectors][Registers];
        for (int i = 0; i < Vectors; ++i)
            for (int r = 0; r < Registers; ++r)
                x[i][r] = Isa::set(0);
        for (int k = 0; k < network.num_layers(); ++k) {
            const I16 first_gain = Isa::set(channel.first_gain[k]);
            const I16 threshold = Isa::set(channel.threshold[k]), zero = Isa::set(0);
            const auto gradient = [&](int i, int r) {
                return multiply_q15_plus_1(Isa::load(b + i * b_step + r * lanes), first_gain);
            };
            linear_part<Vectors>(network, size, channel, k, gradient, x, next);
            const Prox prox = network.layers[k].prox;
            for (int r = 0; r < Registers; ++r) {
                const I16 slope = Isa::load(channel.slope + k * stride + r * lanes);
                for (int i = 0; i < Vectors; ++i) {
                    x[i][r] = next[i][r];
                    if (prox == Prox::soft_threshold)
                        x[i][r] = Isa::add(Isa::max(Isa::subs(x[i][r], threshold), zero),
                                           Isa::min(Isa::adds(x[i][r], threshold), zero));
                    else if (prox == Prox::ramp)
                        x[i][r] = ramp(x[i][r], slope, network.num_levels());
                }
            }
        }
        for (int i = 0; i < Vectors; ++i)
            for (int r = 0; r < Registers; ++r)
                Isa::store(t + i * stride + r * lanes, x[i][r]);
    }

    static void layers(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
                       int b_step, const Pin *pins, std::int16_t *t, int num_vectors) {
        constexpr int together = Isa::interleave;
        const bool is_admm = network.type == NetworkType::admm;
        const auto several = is_admm ? admm<together> : pgd<together>;
        const auto single = is_admm ? admm<1> : pgd<1>;
        const auto pair = is_admm ? admm<2> : pgd<2>;
        int v = 0;
        const auto run = [&](auto function, int count) {
            for (; v + count <= num_vectors; v += count)
                function(network, size, channel, b + v * b_step, b_step, pins ? pins + v : nullptr, t + v * stride);
        };
        run(several, together);
        run(pair, 2);
        run(single, 1);
    }

    template <int Vectors>
    static void metric_of(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                          const std::int16_t *matched, int matched_step, std::int32_t *metric) {
        const int outermost = network.num_levels() - 1;
        typename Isa::template Activations<Vectors, Registers> activations;
        I16 level[Vectors * Registers];
        for (int v = 0; v < Vectors; ++v) {
            for (int r = 0; r < Registers; ++r) {
                const I16 odd =
                    Isa::bit_or(Isa::template shift_right<9>(Isa::load(t + v * stride + r * lanes)), Isa::set(1));
                level[v * Registers + r] = clamp(odd, -outermost, outermost);
            }
            metric[v] = 0;
        }
        activations.fill(level, 127);
        const std::int32_t *rescale = reinterpret_cast<const std::int32_t *>(channel.packed) + Layout::rescale(stride);
        multiply<Vectors>(channel.packed, 1, size.rows(), activations, [&](int v, int r, I32 first, I32 second) {
            metric[v] +=
                Isa::metric_part(level[v * Registers + r], Isa::load(channel.diagonal + r * lanes),
                                 Isa::load(matched + v * matched_step + r * lanes), first, second,
                                 Isa::load32(rescale + r * lanes), Isa::load32(rescale + r * lanes + lanes / 2));
        });
    }

    static void metric(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                       const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
        constexpr int together = Isa::interleave;
        int v = 0;
        for (; v + together <= num_vectors; v += together)
            metric_of<together>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step,
                                metric + v);
        for (; v < num_vectors; ++v)
            metric_of<1>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step, metric + v);
    }
};

// call(IntegerLayers<Isa, registers that hold `stride` rows>)
template <typename Isa, typename Call>
void with_registers(int stride, Call call) {
    constexpr int per_group = row_multiple / (sizeof(typename Isa::I16) / 2);
    switch (stride / row_multiple) {
    case 1:
        return call(IntegerLayers<Isa, per_group>());
    case 2:
        return call(IntegerLayers<Isa, 2 * per_group>());
    case 3:
        return call(IntegerLayers<Isa, 3 * per_group>());
    default:
        return call(IntegerLayers<Isa, 4 * per_group>());
    }
}

template <typename Isa>
void layers(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b, int b_step,
            const Pin *pins, std::int16_t *t, int num_vectors) {
    with_registers<Isa>(
        size.stride(), [&](auto of) { decltype(of)::layers(network, size, channel, b, b_step, pins, t, num_vectors); });
}

template <typename Isa>
void metric(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
            const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
    with_registers<Isa>(size.stride(), [&](auto of) {
        decltype(of)::metric(network, size, channel, t, matched, matched_step, metric, num_vectors);
    });
}

} // namespace
} // namespace kaq
