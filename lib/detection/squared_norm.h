// SPDX-License-Identifier: GPL-3.0-or-later
// ||H||_F^2, the first thing that is asked of an estimate. Compiled for the instruction set of each kernel.
#pragma once

#include <complex>
#include <cstddef>
#include <limits>
#include <span>

#include "detection/exact_norm.h"
#include "support/lanes.h"

namespace kaq {
namespace {

constexpr int num_wide_sums = 32; // as many on every instruction set

// What fills a register, in double precision.
constexpr int doubles_at_once = native_lanes / 2;
typedef float Floats __attribute__((vector_size(4 * doubles_at_once), may_alias));
typedef double Doubles __attribute__((vector_size(8 * doubles_at_once)));

// The sum of all sums: of both halves, and so on.
inline double pairwise_sum(const float *sums) {
    constexpr int num_registers = num_wide_sums / doubles_at_once;
    Doubles registers[num_registers];
    for (int r = 0; r < num_registers; ++r)
        registers[r] = __builtin_convertvector(*reinterpret_cast<const Floats *>(sums + r * doubles_at_once), Doubles);
    for (int count = num_registers / 2; count; count /= 2)
        for (int r = 0; r < count; ++r)
            registers[r] += registers[r + count];
    double last[doubles_at_once];
    for (int j = 0; j < doubles_at_once; ++j)
        last[j] = registers[0][j];
    for (int width = doubles_at_once / 2; width; width /= 2)
        for (int j = 0; j < width; ++j)
            last[j] += last[j + width];
    return last[0];
}

inline double squared_norm(std::span<const std::complex<float>> h) {
    const std::size_t count = h.size();
    constexpr int registers = num_wide_sums / native_lanes;
    const float *parts = reinterpret_cast<const float *>(h.data());
    alignas(64) float sums[num_wide_sums] = {};
    std::size_t i = 0;
    for (; i + num_wide_sums <= 2 * count; i += num_wide_sums)
        for (int r = 0; r < registers; ++r) {
            const Lanes x = *reinterpret_cast<const LooseLanes *>(parts + i + r * native_lanes);
            at(sums, r) = plus_product(at(sums, r), x, x);
        }
    double sum = i ? pairwise_sum(sums) : 0;
    for (; i < 2 * count; ++i) // products of two floats are exact in double: there is nothing to fuse
        sum += double{parts[i]} * parts[i];
    if (sum > least_exact && sum < largest_exact)
        return sum;
    sum = exact_squared_norm(h);
    return sum <= std::numeric_limits<double>::max() ? sum : std::numeric_limits<double>::quiet_NaN();
}

// Of each channel [num_rx][num_tx] of h; NaN if it holds NaN or Inf.
void squared_norms(std::span<const std::complex<float>> h, std::span<double> norms) {
    const std::size_t entries = h.size() / norms.size();
    for (std::size_t c = 0; c < norms.size(); ++c)
        norms[c] = squared_norm(h.subspan(c * entries, entries));
}

} // namespace
} // namespace kaq
