// SPDX-License-Identifier: GPL-3.0-or-later
// Channels as their owner has them to the lanes of vector registers. Compiled for the instruction set of each kernel.
#pragma once

#include <complex>
#include <span>

#include "support/assert.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// visit(i, re, im) for each of `total` complex numbers of every lane's channel.
template <typename Visit>
[[gnu::always_inline]] inline void for_each_entry(std::span<const std::complex<float> *const> h, int total,
                                                  const Visit &visit) {
    KAQ_ASSERT(h.size() == native_lanes);
    constexpr int per_vector = native_lanes / 2; // complex numbers
    int i = 0;
    for (; i + per_vector <= total; i += per_vector) {
        Lanes block[native_lanes];
        for (int l = 0; l < native_lanes; ++l)
            block[l] = *reinterpret_cast<const LooseLanes *>(h[l] + i);
        transpose(block);
        for (int e = 0; e < per_vector; ++e)
            visit(i + e, block[2 * e], block[2 * e + 1]);
    }
    for (; i < total; ++i) {
        Lanes re, im;
        for (int l = 0; l < native_lanes; ++l)
            re[l] = h[l][i].real(), im[l] = h[l][i].imag();
        visit(i, re, im);
    }
}

// Squares are summed as channel_levels.py says.
constexpr int num_norm_sums = 4;

// A channel's H [num_rx][num_tx] to each lane of `to`, and ||H||_F^2 of each in single precision, which is not finite
// if H is not.
inline void load_channels(std::span<const std::complex<float> *const> h, int num_rx, const Matrix &to,
                          std::span<float> squared_norms) {
    KAQ_ASSERT(squared_norms.size() == native_lanes);
    Lanes sums[num_norm_sums] = {};
    for_each_entry(h, num_rx * to.columns, [&](int i, const Lanes &re, const Lanes &im) {
        at(to.re, i) = re, at(to.im, i) = im;
        Lanes &sum = sums[i % num_norm_sums];
        sum = plus_product(sum, re, re);
        sum = plus_product(sum, im, im);
    });
    *reinterpret_cast<LooseLanes *>(squared_norms.data()) = (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

} // namespace
} // namespace kaq
