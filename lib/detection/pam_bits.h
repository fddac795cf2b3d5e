// SPDX-License-Identifier: GPL-3.0-or-later
// What distances to the levels of a PAM constellation say of its bits. Compiled for the instruction set of each kernel.
#pragma once

#include "support/lanes.h"

namespace kaq {
namespace {

// Bit `bit` of the level at `index` from below, after TS 38.211 section 5.1 (see constellation.py).
template <int Bits>
constexpr int level_bit(int index, int bit) {
    return 1 - ((index ^ (index >> 1)) >> (Bits - 1 - bit) & 1);
}

// For each bit, the least distance of the levels where it is 0, minus that of those where it is 1.
template <int Bits, typename Values>
[[gnu::always_inline]] inline void bit_differences(const Values (&distance)[1 << Bits], Values (&difference)[Bits]) {
#pragma GCC unroll 4
    for (int bit = 0; bit < Bits; ++bit) {
        Values nearest[2];
        bool found[2] = {false, false};
#pragma GCC unroll 16
        for (int index = 0; index < 1 << Bits; ++index) {
            const int value = level_bit<Bits>(index, bit);
            nearest[value] = found[value] ? minimum(distance[index], nearest[value]) : distance[index];
            found[value] = true;
        }
        difference[bit] = nearest[0] - nearest[1];
    }
}

} // namespace
} // namespace kaq
