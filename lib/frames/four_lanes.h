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
inline float total(const Four &of) { return (of[0] + of[1]) + (of[2] + of[3]); }

} // namespace
} // namespace kaq
