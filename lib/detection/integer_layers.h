// SPDX-License-Identifier: GPL-3.0-or-later
// The K integer layers over an instruction set (instruction_set.h), one vector in each lane.
#pragma once

#include <cstddef>
#include <cstdint>

#include "detection/fixed_point.h"
#include "detection/instruction_set.h"
#include "detection/unfolded_batch.h"

namespace kaq {
namespace {

// Vectors: those of each lane. Arrays of state are [stream][vector], of a register each.
template <InstructionSet Isa, int Vectors>
class IntegerLayers {
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    static constexpr int rows = 2 * native_lanes; // in a register of int16

public:
    // What a run needs beside b, in registers: two sets of activations and the state of each stream.
    static std::size_t scratch_registers(const UnfoldedLayout &layout) {
        return static_cast<std::size_t>(Vectors) * (2 * layout.words + 3 * layout.streams);
    }

    IntegerLayers(const Network &network, const UnfoldedBatch &batch, float *scratch)
        : network_(network), batch_(batch), layout_(batch.layout) {
        const auto take = [&scratch](int count) {
            float *taken = scratch;
            scratch += static_cast<std::size_t>(count) * Vectors * native_lanes;
            return taken;
        };
        for (std::int32_t *&of : activations_)
            of = reinterpret_cast<std::int32_t *>(take(layout_.words));
        for (std::int16_t **of : {&operand_, &z_, &u_})
            *of = reinterpret_cast<std::int16_t *>(take(layout_.streams));
    }

    // t from b, in the same place.
    void run(std::int16_t *b, std::int16_t *t) {
        if (network_.type == NetworkType::pgd)
            run_layers<false, false>(b, t);
        else if (network_.midrise)
            run_layers<true, true>(b, t);
        else
            run_layers<true, false>(b, t);
    }

private:
    static I16 clamp(I16 x, int low, int high) { return Isa::min(Isa::max(x, Isa::set(low)), Isa::set(high)); }

    int outermost_threshold() const { return (network_.num_levels() - 2) * state_half_distance; }

    static I16 ramp(I16 t, I16 slope, int outermost) {
        constexpr int half = state_half_distance;
        const I16 near = clamp(t, -outermost - half + 1, outermost + half - 1);
        const I16 threshold = Isa::bit_and(Isa::add(near, Isa::set(half)), Isa::set(-2 * half));
        // shifted, what is left of the threshold is gone, and the distance has its sign: -half to half - 1
        const I16 distance = Isa::max(Isa::template shift_left<6>(near), Isa::set(64 * (-half + 1)));
        const I16 rise = Isa::multiply_q15(distance, slope);
        return Isa::add(threshold, clamp(rise, -half, half));
    }

    // The activation of an operand, before it is clamped: to the nearest integer, or midrise to the nearest odd one.
    template <bool Midrise>
    static I16 activation(I16 operand, I16 inverse_step) {
        if constexpr (Midrise)
            return Isa::add(Isa::template shift_left<1>(Isa::multiply_high(operand, inverse_step)), Isa::set(1));
        else
            return Isa::multiply_q15(operand, inverse_step);
    }

    static I16 multiply_q15_plus_1(I16 x, I16 gain) { return Isa::adds(x, Isa::multiply_q15(x, gain)); }

    // What lies at a place of the batch. Pointers are kept in variables: what is stored might change
    // members, for all that compilers know, which would load them again and again.
    const std::int16_t *values(std::size_t place) const {
        return reinterpret_cast<const std::int16_t *>(batch_.data) + place * rows;
    }
    const std::int32_t *words(std::size_t place) const {
        return reinterpret_cast<const std::int32_t *>(batch_.data) + place * native_lanes;
    }
    static std::int16_t *at(std::int16_t *state, int stream) { return state + stream * Vectors * rows; }

    // From x, the estimate of streams first.. , to the operands of layer k and their activations.
    template <bool Admm, bool Midrise, int Streams>
    [[gnu::always_inline]] void begin_layer(int k, int first, const I16 (&x)[Streams][Vectors]) {
        const std::int16_t *inverse_step = values(layout_.inverse_step(k, first)),
                           *slope = values(layout_.slope(k, first)), *dual = values(layout_.dual(k, first));
        const int step_stride = layout_.inverse_step.per_stream * rows;
        std::int16_t *of_operand = at(operand_, first), *of_z = at(z_, first), *of_u = at(u_, first);
        const I16 first_gain = Isa::load(values(layout_.first_gain + k));
        const int largest = network_.layers[k].activation_max, outermost = outermost_threshold();
        I16 quantized[Streams][Vectors];
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v) {
                const int here = (s * Vectors + v) * rows;
                I16 operand = x[s][v];
                if constexpr (Admm) {
                    I16 z = Isa::set(0), u = Isa::set(0);
                    if (k)
                        z = Isa::load(of_z + here), u = Isa::load(of_u + here);
                    const I16 relaxed = Isa::adds(operand, Isa::multiply_q15(Isa::subs(operand, z), first_gain));
                    const I16 next_z = ramp(Isa::adds(relaxed, u), Isa::load(slope + s * rows), outermost);
                    const I16 next_u =
                        Isa::adds(u, multiply_q15_plus_1(Isa::subs(relaxed, next_z), Isa::load(dual + s * rows)));
                    Isa::store(of_z + here, next_z);
                    Isa::store(of_u + here, next_u);
                    operand = Isa::subs(next_z, next_u);
                }
                Isa::store(of_operand + here, operand);
                quantized[s][v] = activation<Midrise>(operand, Isa::load(inverse_step + s * step_stride));
            }
        constexpr int per_word = Isa::streams_per_word;
        std::int32_t *to = activations_[k % 2] + first / per_word * Vectors * native_lanes;
        for (int s = 0; s < Streams; s += per_word)
            for (int v = 0; v < Vectors; ++v)
                Isa::store32(
                    to + (s / per_word * Vectors + v) * native_lanes,
                    Isa::clamp_columns(Isa::columns(quantized[s][v], quantized[s + per_word - 1][v]), largest));
    }

    // The accumulators' start: it takes the offset of the matrix back.
    [[gnu::always_inline]] void begin_sums(const std::int32_t *activations, I32 (&begin)[Vectors]) const {
        for (int v = 0; v < Vectors; ++v)
            begin[v] = Isa::set32(0);
        if constexpr (Isa::matrix_offset != 0) {
            const I32 offset = Isa::set32(static_cast<int>(Isa::matrix_offset * 0x01010101u));
            for (int w = 0; w < layout_.words; ++w)
                for (int v = 0; v < Vectors; ++v)
                    begin[v] = Isa::dot(begin[v], offset, Isa::load32(activations + (w * Vectors + v) * native_lanes));
            for (int v = 0; v < Vectors; ++v)
                begin[v] = Isa::subtract32(Isa::set32(0), begin[v]);
        }
    }

    // Layer k of streams first.. , and the beginning of the next one.
    template <bool Admm, bool Midrise, int Streams>
    [[gnu::always_inline]] void finish_layer(int k, int first, const I32 (&begin)[Vectors], std::int16_t *b,
                                             std::int16_t *t) {
        I32 sum[Streams][2][Vectors];
        for (int s = 0; s < Streams; ++s)
            for (int part = 0; part < 2; ++part)
                for (int v = 0; v < Vectors; ++v)
                    sum[s][part][v] = begin[v];
        const int num_words = layout_.words, row = num_words * native_lanes;
        const std::int32_t *matrix = words(layout_.matrix + 2 * static_cast<std::size_t>(first) * num_words);
        const std::int32_t *columns = activations_[k % 2];
        for (int w = 0; w < num_words; ++w, matrix += native_lanes, columns += Vectors * native_lanes)
            for (int s = 0; s < Streams; ++s)
                for (int part = 0; part < 2; ++part) {
                    const I32 entries = Isa::load32(matrix + (2 * s + part) * row);
                    for (int v = 0; v < Vectors; ++v)
                        sum[s][part][v] = Isa::dot(sum[s][part][v], entries, Isa::load32(columns + v * native_lanes));
                }
        const std::int16_t *diagonal = values(layout_.diagonal(k, first)), *slope = values(layout_.slope(k, first)),
                           *operand = at(operand_, first), *of_b = at(b, first);
        const std::int32_t *rescale = words(layout_.rescale(k, first));
        const I16 first_gain = Isa::load(values(layout_.first_gain + k)),
                  threshold = Isa::load(values(layout_.threshold + k));
        const Prox prox = network_.layers[k].prox;
        const int outermost = outermost_threshold();
        I16 x[Streams][Vectors];
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v) {
                const int here = (s * Vectors + v) * rows;
                I16 linear = Isa::load(of_b + here);
                if constexpr (!Admm)
                    linear = multiply_q15_plus_1(linear, first_gain);
                x[s][v] =
                    Isa::combine(linear, Isa::multiply_q15(Isa::load(operand + here), Isa::load(diagonal + s * rows)),
                                 sum[s][0][v], sum[s][1][v], Isa::load32(rescale + s * native_lanes));
                if constexpr (!Admm) {
                    if (prox == Prox::soft_threshold)
                        x[s][v] = Isa::add(Isa::max(Isa::subs(x[s][v], threshold), Isa::set(0)),
                                           Isa::min(Isa::adds(x[s][v], threshold), Isa::set(0)));
                    else if (prox == Prox::ramp)
                        x[s][v] = ramp(x[s][v], Isa::load(slope + s * rows), outermost);
                }
            }
        if (k + 1 < network_.num_layers()) {
            begin_layer<Admm, Midrise, Streams>(k + 1, first, x);
            return;
        }
        std::int16_t *to = at(t, first);
        for (int s = 0; s < Streams; ++s)
            for (int v = 0; v < Vectors; ++v)
                Isa::store(to + (s * Vectors + v) * rows, x[s][v]);
    }

    template <bool Admm, bool Midrise>
    void run_layers(std::int16_t *b, std::int16_t *t) {
        // streams whose accumulators are kept in registers at once
        constexpr int at_once = Vectors * 4 > Isa::vectors_at_once * 2 ? 2 : 4;
        for (int i = 0; i < layout_.streams; i += 2) {
            I16 x[2][Vectors];
            for (int s = 0; s < 2; ++s)
                for (int v = 0; v < Vectors; ++v)
                    x[s][v] = Admm ? Isa::load(at(b, i) + (s * Vectors + v) * rows) : Isa::set(0);
            begin_layer<Admm, Midrise, 2>(0, i, x);
        }
        for (int k = 0; k < network_.num_layers(); ++k) {
            I32 begin[Vectors];
            begin_sums(activations_[k % 2], begin);
            int i = 0;
            for (; i + at_once <= layout_.streams; i += at_once)
                finish_layer<Admm, Midrise, at_once>(k, i, begin, b, t);
            for (; i < layout_.streams; i += 2)
                finish_layer<Admm, Midrise, 2>(k, i, begin, b, t);
        }
    }

    const Network &network_;
    const UnfoldedBatch &batch_;
    const UnfoldedLayout &layout_;
    std::int32_t *activations_[2];
    std::int16_t *operand_, *z_, *u_;
};

} // namespace
} // namespace kaq
