// SPDX-License-Identifier: GPL-3.0-or-later
// Unfolded expectation propagation, one vector in each lane; expectation_propagation.py specifies every operation.
// Compiled for the instruction set of each kernel.
#pragma once

#include "detection/list_preparation.h"
#include "detection/pam_bits.h"

namespace kaq {
namespace {

constexpr float least_weight = 1e-18f;    // of a level
constexpr float largest_exponent = 40.0f; // of a weight; positive only for levels beyond the outermost one

// Mean and variance of a PAM level, given that mean = level + noise of variance 1 / (2 precision).
template <int Bits>
[[gnu::always_inline]] inline void posterior(const Lanes &mean, const Lanes &precision, Lanes &out_mean,
                                             Lanes &out_variance) {
    constexpr int num_levels = 1 << Bits;
    constexpr float highest = num_levels - 1;
    const LanesInt index =
        truncated(clip(plus_product(all(highest * 0.5f + 0.5f), mean, all(0.5f)), 0, num_levels - 1));
    const Lanes centre = 2.0f * to_float(index) - highest, offset = mean - centre, slope = -4.0f * precision;
    // weights of the next level up, and down, over the nearest one's; and what they shrink by from level to level
    const Lanes up = exponential(minimum(slope * (1.0f - offset), all(largest_exponent)));
    const Lanes down = exponential(minimum(slope * (1.0f + offset), all(largest_exponent)));
    const Lanes shrink = maximum(up * down, all(least_weight));
    Lanes total = all(1), first{}, second{}, weight_up = up, ratio_up = up, weight_down = down, ratio_down = down;
#pragma GCC unroll 16
    for (int step = 1; step < num_levels; ++step) {
        if (step > 1) {
            ratio_up = maximum(ratio_up * shrink, all(least_weight));
            ratio_down = maximum(ratio_down * shrink, all(least_weight));
            weight_up = maximum(weight_up * ratio_up, all(least_weight));
            weight_down = maximum(weight_down * ratio_down, all(least_weight));
        }
        const Lanes above = index <= num_levels - 1 - step ? weight_up : Lanes{};
        const Lanes below = index >= step ? weight_down : Lanes{};
        const Lanes both = above + below;
        total = total + both;
        first = plus_product(first, all(2 * step), above - below);
        second = plus_product(second, all(4 * step * step), both);
    }
    const Lanes inverse = 1.0f / total, shift = first * inverse;
    out_mean = centre + shift;
    out_variance = minus_product(second * inverse, shift, shift);
}

// Max-log LLRs of a PAM level's bits.
template <int Bits>
[[gnu::always_inline]] inline void gaussian_llrs(const Lanes &mean, const Lanes &precision, Lanes *llrs) {
    constexpr int num_levels = 1 << Bits;
    Lanes distance[num_levels];
#pragma GCC unroll 16
    for (int u = 0; u < num_levels; ++u) {
        const Lanes difference = mean - static_cast<float>(2 * u - (num_levels - 1));
        distance[u] = difference * difference;
    }
    Lanes difference[Bits];
    bit_differences<Bits>(distance, difference);
    for (int bit = 0; bit < Bits; ++bit)
        llrs[bit] = precision * difference[bit];
}

// What the streams are known to be without their own constellation, by place. `work` has room for a complex matrix.
template <int Bits, int N>
inline void propagate(const ListNetwork &network, const ListBatch &b, const ComplexLanes *matched,
                      const ComplexLanes *rotated, const Matrix &work, ComplexLanes *mean, Lanes *precision) {
    const ListLayout &layout = b.layout;
    const int n = N ? N : layout.n;
    const Matrix factor = b.factor(), gram = b.gram();
    ComplexLanes x[max_list_streams];
    for (int i = n - 1; i >= 0; --i) {
        x[i] = rotated[i];
        for (int k = i + 1; k < n; ++k) { // minus conj(L_ki) x_k
            const Lanes re = factor.real(k, i), im = factor.imag(k, i);
            x[i].re = minus_product(x[i].re, re, x[k].re);
            x[i].im = minus_product(x[i].im, re, x[k].im);
            x[i].re = minus_product(x[i].re, im, x[k].im);
            x[i].im = plus_product(x[i].im, im, x[k].re);
        }
        const Lanes diagonal = factor.real(i, i);
        x[i].re *= diagonal, x[i].im *= diagonal;
    }
    const float prior = network.half_distance * network.half_distance;
    Lanes site[max_list_streams];
    ComplexLanes site_mean[max_list_streams];
    for (int i = 0; i < n; ++i) {
        const Lanes gain = b(layout.mean_gain, i);
        mean[i] = {x[i].re * gain, x[i].im * gain};
        precision[i] = b(layout.precision, i);
        site[i] = all(prior);
        site_mean[i] = {Lanes{}, Lanes{}};
    }
    for (const ListNetwork::Layer &layer : network.layers) {
        const Lanes damping = all(layer.damping), least_variance = all(layer.least_variance / prior);
        for (int i = 0; i < n; ++i) {
            Lanes re, im, variance_re, variance_im;
            posterior<Bits>(mean[i].re, precision[i], re, variance_re);
            posterior<Bits>(mean[i].im, precision[i], im, variance_im);
            const Lanes inverse = 1.0f / maximum(variance_re + variance_im, least_variance);
            const Lanes target = inverse - precision[i];
            const Choice usable = less(Lanes{}, target);
            const Lanes new_re = minus_product(re * inverse, mean[i].re, precision[i]);
            const Lanes new_im = minus_product(im * inverse, mean[i].im, precision[i]);
            site[i] = choose(usable, plus_product(site[i], damping, target - site[i]), site[i]);
            site_mean[i].re =
                choose(usable, plus_product(site_mean[i].re, damping, new_re - site_mean[i].re), site_mean[i].re);
            site_mean[i].im =
                choose(usable, plus_product(site_mean[i].im, damping, new_im - site_mean[i].im), site_mean[i].im);
            for (int j = 0; j < i; ++j)
                work.real(i, j) = gram.real(i, j), work.imag(i, j) = gram.imag(i, j);
            work.real(i, i) = gram.real(i, i) + site[i];
        }
        Lanes inverse_pivots[max_list_streams];
        inverse_unit_factor(work, n, inverse_pivots);
        for (int i = 0; i < n; ++i) { // E X right
            Lanes re = matched[i].re + site_mean[i].re, im = matched[i].im + site_mean[i].im;
            for (int k = 0; k < i; ++k) {
                const Lanes right_re = matched[k].re + site_mean[k].re, right_im = matched[k].im + site_mean[k].im;
                add_product(re, im, work.real(i, k), work.imag(i, k), right_re, right_im);
            }
            x[i] = {re * inverse_pivots[i], im * inverse_pivots[i]};
        }
        for (int i = 0; i < n; ++i) {
            Lanes re = x[i].re, im = x[i].im, variance = inverse_pivots[i];
            for (int k = i + 1; k < n; ++k) {
                const Lanes a = work.real(k, i), c = work.imag(k, i);
                add_conjugate_product(re, im, a, c, x[k].re, x[k].im);
                variance = plus_product(variance, plus_product(a * a, c, c), inverse_pivots[k]);
            }
            const Lanes inverse = 1.0f / variance;
            precision[i] = maximum(inverse - site[i], all(least_precision));
            const Lanes spread = 1.0f / precision[i];
            mean[i].re = spread * (re * inverse - site_mean[i].re);
            mean[i].im = spread * (im * inverse - site_mean[i].im);
        }
    }
}

} // namespace
} // namespace kaq
