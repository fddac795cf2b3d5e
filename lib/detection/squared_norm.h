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

double squared_norm(std::span<const std::complex<float>> h) {
    const std::size_t count = h.size();
    constexpr int num_sums = 32, registers = num_sums / native_lanes; // as many on every instruction set
    const float *parts = reinterpret_cast<const float *>(h.data());
    alignas(64) float sums[num_sums] = {};
    std::size_t i = 0;
    for (; i + num_sums <= 2 * count; i += num_sums)
        for (int r = 0; r < registers; ++r) {
            const Lanes x = *reinterpret_cast<const LooseLanes *>(parts + i + r * native_lanes);
            at(sums, r) = plus_product(at(sums, r), x, x);
        }
    // pairwise, as registers of doubles do it; products of two floats are exact in double: there is nothing to fuse
    double halves[num_sums / 2];
    for (int j = 0; j < num_sums / 2; ++j)
        halves[j] = double{sums[j]} + double{sums[j + num_sums / 2]};
    for (int width = num_sums / 4; width; width /= 2)
        for (int j = 0; j < width; ++j)
            halves[j] += halves[j + width];
    double sum = halves[0];
    for (; i < 2 * count; ++i)
        sum += double{parts[i]} * parts[i];
    if (sum > least_exact && sum < largest_exact)
        return sum;
    sum = exact_squared_norm(h);
    return sum <= std::numeric_limits<double>::max() ? sum : std::numeric_limits<double>::quiet_NaN();
}

} // namespace
} // namespace kaq
