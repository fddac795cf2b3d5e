// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set has to supply to the integer layers (integer_layers.h).
// kernel_avx512vnni.cc is an example; make_kernel.h makes a Kernel of one.
//
// A register holds rows of a vector, or of several vectors (size.h). Below, x and y are registers of int16, s and e are
// registers of int32. All functions are static members.
//
//   types
//     I16                      register of int16: the state of a layer
//     I32                      register of int32, of the same size: accumulators, and words of a packed matrix
//     Layout                   how a packed matrix is laid out: a PackedLayout (packed_matrix.h)
//     Activations<V, R>        what the columns of V vectors of R registers are broadcast from; see below
//
//   constants, chosen by measuring
//     registers_at_once        registers of rows whose accumulators are kept at once
//     interleave(R, several)   how many times R registers are computed together, R registers holding one vector, or
//                              several of few rows
//
//   memory, 64-byte aligned
//     load(p), store(p, x)     int16
//     load32(p)                int32
//
//   rows one by one
//     set(value)               the value in every row
//     add, subtract (x, y)     wrapping
//     adds, subs (x, y)        saturating
//     min, max, bit_and (x, y)
//     shift_left<n>(x)
//     multiply_q15(x, y)       (x y + 2^14) >> 15
//
//   products; `first` and `second` accumulate the rows of one I16 (packed_matrix.h says which), with a rescale each
//     dot(s, columns, e)       s + the products of the columns in each word
//     combine(linear, diagonal, first, second, first_rescale, second_rescale)
//                              saturate(linear + diagonal + ((accumulators rescale + 2^11) >> 12))
//
//   Activations<V, R>, in which register i of all is register i % R of vector i / R
//     fill(i, x, y, largest)   takes x and y, clamped to +-largest, as registers i and i + 1; i is even
//     columns(v, block, within)
//                              the columns of word block + within of vector v, in every row; block is a multiple of 8
//     segment_columns<S>(i, half, within)
//                              the same where registers hold several vectors of S rows: word `within` of the vectors
//                              whose rows accumulator `half` (0 or 1) of register i has
#pragma once

#include <cstdint>
#include <type_traits>

#include "detection/packed_matrix.h"
#include "detection/size.h"

namespace kaq {
namespace {

// Rows in a register of state.
template <typename Isa>
constexpr int rows_in_register = sizeof(typename Isa::I16) / sizeof(std::int16_t);

// Results are checked by assignment: registers as template arguments would lose their attributes.
template <typename Isa>
concept HasState = requires(typename Isa::I16 x, std::int16_t *to, const std::int16_t *from, int value) {
    requires row_multiple % rows_in_register<Isa> == 0;
    x = Isa::load(from);
    Isa::store(to, x);
    x = Isa::set(value);
    x = Isa::add(x, x);
    x = Isa::subtract(x, x);
    x = Isa::adds(x, x);
    x = Isa::subs(x, x);
    x = Isa::min(x, x);
    x = Isa::max(x, x);
    x = Isa::bit_and(x, x);
    x = Isa::template shift_left<6>(x);
    x = Isa::multiply_q15(x, x);
};

template <typename Isa>
concept HasProducts = requires(typename Isa::I16 x, typename Isa::I32 s, const std::int32_t *words) {
    requires sizeof(typename Isa::I32) == sizeof(typename Isa::I16);
    s = Isa::load32(words);
    s = Isa::dot(s, s, s);
    x = Isa::combine(x, x, s, s, s, s);
};

template <typename Isa>
concept HasLayout = is_packed_layout<typename Isa::Layout> &&
                    Isa::Layout::register_lanes == sizeof(typename Isa::I32) / sizeof(std::int32_t);

// Of one vector that fills as many registers as rows are padded to.
template <typename Isa>
using FewestActivations = typename Isa::template Activations<1, row_multiple / rows_in_register<Isa>>;

template <typename Isa>
concept HasActivations = requires(FewestActivations<Isa> activations, typename Isa::I16 x, typename Isa::I32 s, int i) {
    activations.fill(i, x, x, i);
    s = activations.columns(i, i, i);
    s = activations.template segment_columns<4>(i, i, i);
    s = activations.template segment_columns<8>(i, i, i);
    s = activations.template segment_columns<16>(i, i, i);
};

// What is tuned: known when the layers are compiled.
template <typename Isa>
concept HasConstants = std::integral_constant<bool, (Isa::registers_at_once >= 1)>::value &&
    std::integral_constant<bool, (Isa::interleave(1, false) >= 1)>::value &&
    std::integral_constant<bool, (Isa::interleave(1, true) >= 1)>::value;

template <typename Isa>
concept InstructionSet =
    HasState<Isa> && HasProducts<Isa> && HasLayout<Isa> && HasActivations<Isa> && HasConstants<Isa>;

} // namespace
} // namespace kaq
