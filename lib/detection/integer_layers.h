// SPDX-License-Identifier: GPL-3.0-or-later
// The integer layers and the metric over an instruction set (instruction_set.h). Several vectors are interleaved, so
// that the matrix is loaded once for all and their accumulator chains hide each other's latency.
#pragma once

#include <algorithm>

#include "detection/instruction_set.h"
#include "detection/kernel.h"
#include "detection/kernel_arguments.h"

namespace kaq {
namespace {

// Registers hold one vector, or several of Segment rows each: 4, 8 or 16.
template <InstructionSet Isa, int Registers, int Segment = 0>
struct IntegerLayers {
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    using Layout = typename Isa::Layout;
    static constexpr int lanes = rows_in_register<Isa>;
    static constexpr int stride = lanes * Registers;
    static constexpr int vectors_in_registers = Segment ? stride / Segment : 1;
    // rows whose accumulators are kept in registers at once
    static constexpr int block = Registers % Isa::registers_at_once ? 1 : Isa::registers_at_once;

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

    template <int Vectors>
    using Activations = typename Isa::template Activations<Vectors, Registers>;

    // sum[v][h] = rows of registers first.. of the matrix times the activations of vector v, in two accumulators for
    // each register of state.
    template <int Vectors>
    [[gnu::always_inline]] static inline void multiply(const std::byte *packed, int num_rescales, int rows, int first,
                                                       const Activations<Vectors> &activations,
                                                       I32 (&sum)[Vectors][2 * block]) {
        constexpr int wide = sizeof(I32) / 4, unrolled = 8;
        const std::int32_t *bias = reinterpret_cast<const std::int32_t *>(packed);
        const std::int32_t *words = bias + Layout::matrix(num_rescales, stride) + 2 * first * wide;
        const int num_blocks = (rows + Layout::columns - 1) / Layout::columns;
        for (int v = 0; v < Vectors; ++v)
            for (int h = 0; h < 2 * block; ++h)
                sum[v][h] = Layout::offset ? Isa::load32(bias + (2 * first + h) * wide) : I32{};
        if constexpr (Segment != 0) {
#pragma GCC unroll 8
            for (int b = 0; b < Segment / Layout::columns; ++b, words += stride)
                for (int v = 0; v < Vectors; ++v)
                    for (int h = 0; h < 2 * block; ++h)
                        sum[v][h] = Isa::dot(
                            sum[v][h],
                            activations.template segment_columns<Segment>(v * Registers + first + h / 2, h % 2, b),
                            Isa::load32(words + h * wide));
            return;
        }
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
        int b = 0;
        // unrolled, so that nothing has to compute where the columns are
        for (; b + unrolled <= num_blocks; b += unrolled, words += unrolled * stride)
#pragma GCC unroll 8
            for (int within = 0; within < unrolled; ++within)
                add_block(b, within);
        for (int within = 0; b + within < num_blocks; ++within)
            add_block(b, within);
    }

    // What is the same for all vectors of a call.
    struct Call {
        const Network &network;
        const Size &size;
        const IntegerChannel &channel;

        I16 quantized(int k, int r, I16 x) const {
            return Isa::multiply_q15(x, Isa::load(channel.inverse_step.data() + k * stride + r * lanes));
        }
        // saturate(linear + multiply_q15(operand, diagonal) + rescale accumulators)
        I16 combined(int k, int r, I16 linear, I16 operand, I32 first, I32 second) const {
            const std::int32_t *rescale = reinterpret_cast<const std::int32_t *>(channel.packed.data()) +
                                          Layout::rescale(stride) + static_cast<std::size_t>(k) * stride + r * lanes;
            const I16 diagonal = Isa::load(channel.diagonal.data() + k * stride + r * lanes);
            return Isa::combine(linear, Isa::multiply_q15(operand, diagonal), first, second, Isa::load32(rescale),
                                Isa::load32(rescale + lanes / 2));
        }
    };

    // The state of ADMM-Net: x = saturate(b + P v), v being the operand of a layer.
    template <int Vectors>
    struct Admm {
        const std::int16_t *b;
        int b_step;
        const Pin *pins;
        I16 x[Vectors][Registers], z[Vectors][Registers], u[Vectors][Registers];

        Admm(const std::int16_t *from, int step, const Pin *held) : b(from), b_step(step), pins(held) {
            for (int i = 0; i < Vectors; ++i)
                for (int r = 0; r < Registers; ++r) {
                    x[i][r] = Isa::load(b + i * b_step + r * lanes);
                    z[i][r] = u[i][r] = Isa::set(0);
                }
        }
        I16 linear(const Call &, int, int i, int r) const { return Isa::load(b + i * b_step + r * lanes); }
        I16 operand(const Call &call, int k, int i, int r) {
            const I16 first_gain = Isa::set(call.channel.first_gain[k]);
            const I16 slope = Isa::load(call.channel.slope.data() + k * stride + r * lanes);
            const I16 second_gain = Isa::load(call.channel.second_gain.data() + k * stride + r * lanes);
            const I16 difference = Isa::subs(x[i][r], z[i][r]);
            const I16 relaxed = Isa::adds(x[i][r], Isa::multiply_q15(difference, first_gain));
            z[i][r] = ramp(Isa::adds(relaxed, u[i][r]), slope, call.network.num_levels());
            if (pins)
                for (int s = 0; s < vectors_in_registers; ++s) {
                    const Pin &pin = pins[i * vectors_in_registers + s];
                    z[i][r] = Isa::hold(z[i][r], pin.row + s * Segment - r * lanes, pin.value);
                }
            u[i][r] = Isa::adds(u[i][r], multiply_q15_plus_1(Isa::subs(relaxed, z[i][r]), second_gain));
            return Isa::subs(z[i][r], u[i][r]);
        }
        void finish(const Call &, int, int i, int r, I16 sum) { x[i][r] = sum; }
    };

    // The state of PGD-Net: x = prox(saturate(gain b + (1 - step G) x)), x being the operand, too.
    template <int Vectors>
    struct Pgd {
        const std::int16_t *b;
        int b_step;
        I16 x[Vectors][Registers];

        Pgd(const std::int16_t *from, int step, const Pin *) : b(from), b_step(step) {
            for (int i = 0; i < Vectors; ++i)
                for (int r = 0; r < Registers; ++r)
                    x[i][r] = Isa::set(0);
        }
        I16 linear(const Call &call, int k, int i, int r) const {
            return multiply_q15_plus_1(Isa::load(b + i * b_step + r * lanes), Isa::set(call.channel.first_gain[k]));
        }
        I16 operand(const Call &, int, int i, int r) { return x[i][r]; }
        void finish(const Call &call, int k, int i, int r, I16 sum) {
            const Prox prox = call.network.layers[k].prox;
            const I16 threshold = Isa::set(call.channel.threshold[k]), zero = Isa::set(0);
            if (prox == Prox::soft_threshold)
                sum = Isa::add(Isa::max(Isa::subs(sum, threshold), zero), Isa::min(Isa::adds(sum, threshold), zero));
            else if (prox == Prox::ramp)
                sum =
                    ramp(sum, Isa::load(call.channel.slope.data() + k * stride + r * lanes), call.network.num_levels());
            x[i][r] = sum;
        }
    };

    // Some vectors at once: all of a layer's operands, then all products.
    template <template <int> typename State, int Vectors>
    static void run(const Call &call, const std::int16_t *b, int b_step, const Pin *pins, std::int16_t *t) {
        State<Vectors> state(b, b_step, pins);
        for (int k = 0; k < call.network.num_layers(); ++k) {
            I16 operand[Vectors][Registers], quantized[Vectors * Registers];
            for (int r = 0; r < Registers; ++r)
                for (int i = 0; i < Vectors; ++i) {
                    operand[i][r] = state.operand(call, k, i, r);
                    quantized[i * Registers + r] = call.quantized(k, r, operand[i][r]);
                }
            Activations<Vectors> activations;
            for (int i = 0; i < Vectors * Registers; i += 2)
                activations.fill(i, quantized[i], quantized[std::min(i + 1, Vectors * Registers - 1)],
                                 call.network.activation_max);
#pragma GCC unroll 1
            for (int first = 0; first < Registers; first += block) {
                I32 sum[Vectors][2 * block];
                multiply<Vectors>(call.channel.packed.data(), call.network.num_layers(), call.size.rows(), first,
                                  activations, sum);
                for (int i = 0; i < Vectors; ++i)
                    for (int r = first; r < first + block && r < Registers; ++r)
                        state.finish(call, k, i, r,
                                     call.combined(k, r, state.linear(call, k, i, r), operand[i][r],
                                                   sum[i][2 * (r - first)], sum[i][2 * (r - first) + 1]));
            }
        }
        for (int i = 0; i < Vectors; ++i)
            for (int r = 0; r < Registers; ++r)
                Isa::store(t + i * stride + r * lanes, state.x[i][r]);
    }

    template <template <int> typename State>
    static void layers_of(const Call &call, const std::int16_t *b, int b_step, const Pin *pins, std::int16_t *t,
                          int num_vectors) {
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        int v = 0;
        const auto repeat = [&](auto function, int count) {
            for (; v + count <= num_vectors; v += count)
                function(call, b + v * b_step, b_step, pins ? pins + v : nullptr, t + v * stride);
        };
        repeat(run<State, together>, together);
        if constexpr (together > 4)
            repeat(run<State, 4>, 4);
        repeat(run<State, 2>, 2);
        repeat(run<State, 1>, 1);
    }

    // The same with registers full of vectors, the last of which may be missing.
    template <template <int> typename State>
    static void segments_of(const Call &call, const std::int16_t *b, int b_step, const Pin *pins, std::int16_t *t,
                            int num_vectors) {
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        alignas(64) std::int16_t rows[together * stride];
        for (int v = 0; v < num_vectors;) {
            const bool several = num_vectors - v > vectors_in_registers;
            const int count = (several ? together : 1) * vectors_in_registers,
                      present = std::min(count, num_vectors - v);
            for (int i = 0; i < present; ++i)
                std::memcpy(rows + i * Segment, b + (v + i) * b_step, 2 * Segment);
            for (int i = present; i < count; ++i)
                std::memset(rows + i * Segment, 0, 2 * Segment);
            Pin held[together * vectors_in_registers] = {};
            if (pins)
                std::copy_n(pins + v, present, held);
            const auto function = several ? run<State, together> : run<State, 1>;
            function(call, rows, stride, pins ? held : nullptr, rows);
            std::memcpy(t + v * Segment, rows, 2 * present * Segment);
            v += present;
        }
    }

    static void layers(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
                       int b_step, const Pin *pins, std::int16_t *t, int num_vectors) {
        const Call call{network, size, channel};
        const bool admm = network.type == NetworkType::admm;
        if constexpr (Segment == 0)
            (admm ? layers_of<Admm> : layers_of<Pgd>)(call, b, b_step, pins, t, num_vectors);
        else
            (admm ? segments_of<Admm> : segments_of<Pgd>)(call, b, b_step, pins, t, num_vectors);
    }

    template <int Vectors>
    static void metric_of(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                          const std::int16_t *matched, int matched_step, std::int32_t *metric) {
        const int outermost = network.num_levels() - 1;
        I16 level[Vectors * Registers];
        for (int v = 0; v < Vectors * vectors_in_registers; ++v)
            metric[v] = 0;
        for (int v = 0; v < Vectors; ++v)
            for (int r = 0; r < Registers; ++r) {
                const I16 odd =
                    Isa::bit_or(Isa::template shift_right<9>(Isa::load(t + v * stride + r * lanes)), Isa::set(1));
                level[v * Registers + r] = clamp(odd, -outermost, outermost);
            }
        Activations<Vectors> activations;
        for (int i = 0; i < Vectors * Registers; i += 2)
            activations.fill(i, level[i], level[std::min(i + 1, Vectors * Registers - 1)], 127);
        const std::int32_t *rescale =
            reinterpret_cast<const std::int32_t *>(channel.packed.data()) + Layout::rescale(stride);
#pragma GCC unroll 1
        for (int first = 0; first < Registers; first += block) {
            I32 sum[Vectors][2 * block];
            multiply<Vectors>(channel.packed.data(), 1, size.rows(), first, activations, sum);
            for (int v = 0; v < Vectors; ++v)
                for (int r = first; r < first + block && r < Registers; ++r) {
                    const I16 &levels = level[v * Registers + r];
                    const I16 gradient =
                        Isa::gradient(levels, Isa::load(channel.diagonal.data() + r * lanes),
                                      Isa::load(matched + v * matched_step + r * lanes), sum[v][2 * (r - first)],
                                      sum[v][2 * (r - first) + 1], Isa::load32(rescale + r * lanes),
                                      Isa::load32(rescale + r * lanes + lanes / 2));
                    if constexpr (Segment == 0)
                        metric[v] += Isa::sum_of_products(levels, gradient);
                    else {
                        alignas(64) std::int16_t factors[2][lanes];
                        Isa::store(factors[0], levels);
                        Isa::store(factors[1], gradient);
                        for (int i = 0; i < lanes; ++i)
                            metric[v * vectors_in_registers + (r * lanes + i) / Segment] +=
                                std::int32_t{factors[0][i]} * factors[1][i];
                    }
                }
        }
    }

    static void metric(const Network &network, const Size &size, const IntegerMetric &channel, const std::int16_t *t,
                       const std::int16_t *matched, int matched_step, std::int32_t *metric, int num_vectors) {
        if constexpr (Segment != 0) {
            for (int v = 0; v < num_vectors; v += vectors_in_registers) {
                alignas(64) std::int16_t rows[2][stride] = {};
                std::int32_t metrics[vectors_in_registers];
                const int present = std::min(vectors_in_registers, num_vectors - v);
                for (int i = 0; i < present; ++i) {
                    std::memcpy(rows[0] + i * Segment, t + (v + i) * Segment, 2 * Segment);
                    std::memcpy(rows[1] + i * Segment, matched + (v + i) * matched_step, 2 * Segment);
                }
                metric_of<1>(network, size, channel, rows[0], rows[1], 0, metrics);
                std::copy_n(metrics, present, metric + v);
            }
            return;
        }
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        int v = 0;
        for (; v + together <= num_vectors; v += together)
            metric_of<together>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step,
                                metric + v);
        for (; v < num_vectors; ++v)
            metric_of<1>(network, size, channel, t + v * stride, matched + v * matched_step, matched_step, metric + v);
    }
};

// call(the IntegerLayers for vectors that are `stride` apart)
template <InstructionSet Isa, typename Call>
void with_registers(int stride, Call call) {
    constexpr int per_group = row_multiple / rows_in_register<Isa>;
    switch (stride) {
    case 4:
        return call(IntegerLayers<Isa, per_group, 4>());
    case 8:
        return call(IntegerLayers<Isa, per_group, 8>());
    case 16:
        return call(IntegerLayers<Isa, per_group, 16>());
    case 32:
        return call(IntegerLayers<Isa, per_group>());
    case 64:
        return call(IntegerLayers<Isa, 2 * per_group>());
    case 96:
        return call(IntegerLayers<Isa, 3 * per_group>());
    default:
        return call(IntegerLayers<Isa, 4 * per_group>());
    }
}

template <InstructionSet Isa>
void layers(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &b,
            std::span<const Pin> pins, const Rows &t) {
    assert_layers<typename Isa::Layout>(network, size, channel, b, pins, t);
    const int stride = size.stride(), num_vectors = static_cast<int>(t.extent(0));
    const int b_step = b.extent(0) == 1 ? 0 : stride;
    with_registers<Isa>(stride, [&](auto of) {
        decltype(of)::layers(network, size, channel, b.data(), b_step, pins.empty() ? nullptr : pins.data(), t.data(),
                             num_vectors);
    });
}

template <InstructionSet Isa>
void metric(const Network &network, const Size &size, const IntegerMetric &channel, const ConstRows &t,
            const ConstRows &matched, std::span<std::int32_t> metric) {
    assert_metric<typename Isa::Layout>(size, channel, t, matched, metric);
    const int stride = size.stride(), matched_step = matched.extent(0) == 1 ? 0 : stride;
    with_registers<Isa>(stride, [&](auto of) {
        decltype(of)::metric(network, size, channel, t.data(), matched.data(), matched_step, metric.data(),
                             static_cast<int>(metric.size()));
    });
}

} // namespace
} // namespace kaq
