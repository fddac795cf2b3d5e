// SPDX-License-Identifier: GPL-3.0-or-later
// What an instruction set has to supply to the integer layers (integer_layers.h).
// kernel_avx512vnni.cc is an example; make_kernel.h makes a Kernel of one.
//
// A register of int16 holds both rows of a stream, for one vector in each lane: four lanes' real parts, the same lanes'
// imaginary parts, the next four lanes' real parts, and so on. That is the order in which saturating packs leave two
// registers of int32. Below, x and y are registers of int16, s and e are registers of int32. All functions are static
// members.
//
//   types
//     I16                      register of int16: the state of a layer
//     I32                      register of int32, of the same size: accumulators, and words of a matrix
//
//   constants
//     vectors_at_once          vectors of each lane that are computed together, so that the matrix is loaded once for
//                              all and their accumulators hide each other's latency: 1 to 4
//     streams_per_word         streams whose columns a word of the matrix has: two, of bytes; or one, of int16
//     matrix_offset            what is added to the bytes of the matrix, so that they are not negative
//
//   memory, 64-byte aligned
//     load(p), store(p, x)     int16
//     load32(p), store32(p, s)
//
//   rows one by one
//     set(value)               the value in every row
//     add, subtract (x, y)     wrapping
//     adds, subs (x, y)        saturating
//     min, max, bit_and (x, y)
//     shift_left<n>(x)
//     multiply_q15(x, y)       (x y + 2^14) >> 15
//     multiply_high(x, y)      (x y) >> 16
//     pack(s, e)               int32 of real and of imaginary parts, saturated, to rows
//     real(x), imaginary(x)    and back
//
//   products
//     columns(x, y)            the columns of two streams (of x, where a word has one) in a word, saturated
//     clamp_columns(s, largest)
//                              clamped to +-largest
//     set32(value)
//     dot(s, matrix, columns)  s + the products of the columns in each word
//     subtract32(s, e)
//     combine(linear, diagonal, s, e, rescale)
//                              saturate(linear + diagonal + ((accumulators rescale + 2^11) >> 12)); s accumulates the
//                              real part, e the imaginary part
#pragma once

#include <cstdint>
#include <type_traits>

namespace kaq {
namespace {

// Results are checked by assignment: registers as template arguments would lose their attributes.
template <typename Isa>
concept HasState = requires(typename Isa::I16 x, typename Isa::I32 s, std::int16_t *to, const std::int16_t *from,
                            int value) {
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
    x = Isa::multiply_high(x, x);
    x = Isa::pack(s, s);
    s = Isa::real(x);
    s = Isa::imaginary(x);
};

template <typename Isa>
concept HasProducts = requires(typename Isa::I16 x, typename Isa::I32 s, const std::int32_t *words, std::int32_t *to,
                               int value) {
    requires sizeof(typename Isa::I32) == sizeof(typename Isa::I16);
    s = Isa::load32(words);
    Isa::store32(to, s);
    s = Isa::set32(value);
    s = Isa::columns(x, x);
    s = Isa::clamp_columns(s, value);
    s = Isa::dot(s, s, s);
    s = Isa::subtract32(s, s);
    x = Isa::combine(x, x, s, s, s);
};

// Known when the layers are compiled.
template <typename Isa>
concept HasConstants = std::integral_constant<bool, (Isa::vectors_at_once >= 1 && Isa::vectors_at_once <= 4)>::value &&
    std::integral_constant<bool, (Isa::streams_per_word == 1 || Isa::streams_per_word == 2)>::value &&
    std::integral_constant<bool, (Isa::matrix_offset >= 0)>::value;

template <typename Isa>
concept InstructionSet = HasState<Isa> && HasProducts<Isa> && HasConstants<Isa>;

} // namespace
} // namespace kaq
