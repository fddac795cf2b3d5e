// SPDX-License-Identifier: GPL-3.0-or-later
// Four numbers at once, as every processor has them.
#pragma once

#include <cstdint>

namespace kaq {
namespace {

typedef float Four __attribute__((vector_size(16)));
typedef float LooseFour __attribute__((vector_size(16), aligned(4), may_alias));
typedef std::int32_t FourCounts __attribute__((vector_size(16)));

inline Four four(const float *from) { return *reinterpret_cast<const LooseFour *>(from); }
inline void set_four(float *to, const Four &values) { *reinterpret_cast<LooseFour *>(to) = values; }
inline float total(const Four &of) { return (of[0] + of[1]) + (of[2] + of[3]); }

// Of each, in the order of total().
inline Four totals(const Four &a, const Four &b, const Four &c, const Four &d) {
    const Four ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7),
               cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

} // namespace
} // namespace kaq
