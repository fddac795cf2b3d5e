// SPDX-License-Identifier: GPL-3.0-or-later
// The product of an int8 matrix and int8 vectors over an instruction set (instruction_set.h). Several vectors are
// interleaved, so that the matrix is loaded once for all and their accumulator chains hide each other's latency.
#pragma once

#include <cstddef>
#include <cstdint>

#include "detection/instruction_set.h"
#include "detection/size.h"

namespace kaq {
namespace {

// Registers hold one vector, or several of Segment rows each: 4, 8 or 16.
template <InstructionSet Isa, int Registers, int Segment = 0>
struct IntegerProduct {
    using I16 = typename Isa::I16;
    using I32 = typename Isa::I32;
    using Layout = typename Isa::Layout;
    static constexpr int lanes = rows_in_register<Isa>;
    static constexpr int stride = lanes * Registers;
    static constexpr int vectors_in_registers = Segment ? stride / Segment : 1;
    // rows whose accumulators are kept in registers at once
    static constexpr int block = Registers % Isa::registers_at_once ? 1 : Isa::registers_at_once;

    static I16 clamp(I16 x, int low, int high) { return Isa::min(Isa::max(x, Isa::set(low)), Isa::set(high)); }

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
};

// How many registers, and how many rows of each vector where they hold several.
template <int Registers, int Segment = 0>
struct RegisterShape {
    static constexpr int registers = Registers, segment = Segment;
};

// call(the RegisterShape for vectors that are `stride` apart)
template <InstructionSet Isa, typename Call>
void with_registers(int stride, Call call) {
    constexpr int per_group = row_multiple / rows_in_register<Isa>;
    switch (stride) {
    case 4:
        return call(RegisterShape<per_group, 4>());
    case 8:
        return call(RegisterShape<per_group, 8>());
    case 16:
        return call(RegisterShape<per_group, 16>());
    case 32:
        return call(RegisterShape<per_group>());
    case 64:
        return call(RegisterShape<2 * per_group>());
    case 96:
        return call(RegisterShape<3 * per_group>());
    default:
        return call(RegisterShape<4 * per_group>());
    }
}

} // namespace
} // namespace kaq
