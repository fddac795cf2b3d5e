// SPDX-License-Identifier: GPL-3.0-or-later
// The K integer layers over an instruction set (instruction_set.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "detection/fixed_point.h"
#include "detection/integer_product.h"
#include "detection/kernel.h"
#include "detection/kernel_arguments.h"

namespace kaq {
namespace {

template <InstructionSet Isa, int Registers, int Segment>
struct IntegerLayers : IntegerProduct<Isa, Registers, Segment> {
    using Base = IntegerProduct<Isa, Registers, Segment>;
    using Base::block;
    using Base::clamp;
    using Base::lanes;
    using Base::stride;
    using Base::vectors_in_registers;
    using typename Base::I16;
    using typename Base::I32;
    using typename Base::Layout;
    template <int Vectors>
    using Activations = typename Base::template Activations<Vectors>;

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
        I16 x[Vectors][Registers], z[Vectors][Registers], u[Vectors][Registers];

        explicit Admm(const std::int16_t *from) : b(from) {
            for (int i = 0; i < Vectors; ++i)
                for (int r = 0; r < Registers; ++r) {
                    x[i][r] = Isa::load(b + i * stride + r * lanes);
                    z[i][r] = u[i][r] = Isa::set(0);
                }
        }
        I16 linear(const Call &, int, int i, int r) const { return Isa::load(b + i * stride + r * lanes); }
        I16 operand(const Call &call, int k, int i, int r) {
            const I16 first_gain = Isa::set(call.channel.first_gain[k]);
            const I16 slope = Isa::load(call.channel.slope.data() + k * stride + r * lanes);
            const I16 second_gain = Isa::load(call.channel.second_gain.data() + k * stride + r * lanes);
            const I16 difference = Isa::subs(x[i][r], z[i][r]);
            const I16 relaxed = Isa::adds(x[i][r], Isa::multiply_q15(difference, first_gain));
            z[i][r] = ramp(Isa::adds(relaxed, u[i][r]), slope, call.network.num_levels());
            u[i][r] = Isa::adds(u[i][r], multiply_q15_plus_1(Isa::subs(relaxed, z[i][r]), second_gain));
            return Isa::subs(z[i][r], u[i][r]);
        }
        void finish(const Call &, int, int i, int r, I16 sum) { x[i][r] = sum; }
    };

    // The state of PGD-Net: x = prox(saturate(gain b + (1 - step G) x)), x being the operand, too.
    template <int Vectors>
    struct Pgd {
        const std::int16_t *b;
        I16 x[Vectors][Registers];

        explicit Pgd(const std::int16_t *from) : b(from) {
            for (int i = 0; i < Vectors; ++i)
                for (int r = 0; r < Registers; ++r)
                    x[i][r] = Isa::set(0);
        }
        I16 linear(const Call &call, int k, int i, int r) const {
            return multiply_q15_plus_1(Isa::load(b + i * stride + r * lanes), Isa::set(call.channel.first_gain[k]));
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
    static void run(const Call &call, const std::int16_t *b, std::int16_t *t) {
        State<Vectors> state(b);
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
                Base::template multiply<Vectors>(call.channel.packed.data(), call.network.num_layers(),
                                                 call.size.rows(), first, activations, sum);
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
    static void layers_of(const Call &call, const std::int16_t *b, std::int16_t *t, int num_vectors) {
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        int v = 0;
        const auto repeat = [&](auto function, int count) {
            for (; v + count <= num_vectors; v += count)
                function(call, b + v * stride, t + v * stride);
        };
        repeat(run<State, together>, together);
        if constexpr (together > 4)
            repeat(run<State, 4>, 4);
        repeat(run<State, 2>, 2);
        repeat(run<State, 1>, 1);
    }

    // The same with registers full of vectors, the last of which may be missing.
    template <template <int> typename State>
    static void segments_of(const Call &call, const std::int16_t *b, std::int16_t *t, int num_vectors) {
        constexpr int together = Isa::interleave(Registers, Segment != 0);
        alignas(64) std::int16_t rows[together * stride];
        for (int v = 0; v < num_vectors;) {
            const bool several = num_vectors - v > vectors_in_registers;
            const int count = (several ? together : 1) * vectors_in_registers,
                      present = std::min(count, num_vectors - v);
            std::memcpy(rows, b + v * Segment, 2 * present * Segment);
            std::memset(rows + present * Segment, 0, 2 * (count - present) * Segment);
            const auto function = several ? run<State, together> : run<State, 1>;
            function(call, rows, rows);
            std::memcpy(t + v * Segment, rows, 2 * present * Segment);
            v += present;
        }
    }

    static void layers(const Network &network, const Size &size, const IntegerChannel &channel, const std::int16_t *b,
                       std::int16_t *t, int num_vectors) {
        const Call call{network, size, channel};
        const bool admm = network.type == NetworkType::admm;
        if constexpr (Segment == 0)
            (admm ? layers_of<Admm> : layers_of<Pgd>)(call, b, t, num_vectors);
        else
            (admm ? segments_of<Admm> : segments_of<Pgd>)(call, b, t, num_vectors);
    }
};

template <InstructionSet Isa>
void layers(const Network &network, const Size &size, const IntegerChannel &channel, const ConstRows &b,
            const Rows &t) {
    assert_layers<typename Isa::Layout>(network, size, channel, b, t);
    const int num_vectors = static_cast<int>(t.extent(0));
    with_registers<Isa>(size.stride(), [&](auto of) {
        IntegerLayers<Isa, of.registers, of.segment>::layers(network, size, channel, b.data(), t.data(), num_vectors);
    });
}

} // namespace
} // namespace kaq
