// SPDX-License-Identifier: GPL-3.0-or-later
// From the samples of a batch to symbols and LLRs, one vector in each lane. Compiled for the instruction set of each
// kernel.
#pragma once

#include <algorithm>
#include <complex>

#include "detection/lane_places.h"
#include "detection/linear_preparation.h"
#include "detection/network.h" // max_bits_per_dimension
#include "detection/pam_bits.h"

namespace kaq {
namespace {

// Steps that are taken together, so that a matrix is loaded once for all: as many as there are registers for.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int linear_steps_at_once = 2;
#else
constexpr int linear_steps_at_once = 4;
#endif

constexpr float largest_estimate = 1e12f; // that LLRs follow; the scale is at most 5e11, and their product finite

// Entries j.. of m^H x for `Steps` vectors x in each lane; entry k of vector s is x[k * Steps + s].
template <int Steps, int Columns>
inline void conjugate_product_block(const Matrix &m, int num_inputs, int j, const ComplexLanes *x, ComplexLanes *out) {
    Lanes re[Columns][Steps] = {}, im[Columns][Steps] = {};
    for (int k = 0; k < num_inputs; ++k) {
        for (int q = 0; q < Columns; ++q) {
            const Lanes ar = m.real(k, j + q), ai = m.imag(k, j + q);
            for (int s = 0; s < Steps; ++s)
                add_conjugate_product(re[q][s], im[q][s], ar, ai, x[k * Steps + s].re, x[k * Steps + s].im);
        }
    }
    for (int q = 0; q < Columns; ++q)
        for (int s = 0; s < Steps; ++s)
            out[(j + q) * Steps + s] = {re[q][s], im[q][s]};
}

template <int Steps>
inline void conjugate_product(const Matrix &m, int num_inputs, int n, const ComplexLanes *x, ComplexLanes *out) {
    int j = 0;
    for (; j + 2 <= n; j += 2)
        conjugate_product_block<Steps, 2>(m, num_inputs, j, x, out);
    if (j < n)
        conjugate_product_block<Steps, 1>(m, num_inputs, j, x, out);
}

// Max-log LLRs of a PAM level's bits from its estimate t. The parabola t^2, common to all levels, is left out, which
// keeps the distances of large t exact.
template <int Bits>
[[gnu::always_inline]] inline void pam_llrs(const Lanes &estimate, float half_distance, const Lanes &scale,
                                            Lanes *llrs) {
    constexpr int num_levels = 1 << Bits;
    const Lanes t = clip(estimate, -largest_estimate, largest_estimate);
    Lanes distance[num_levels];
#pragma GCC unroll 16
    for (int u = 0; u < num_levels; ++u) {
        const float level = half_distance * static_cast<float>(2 * u - (num_levels - 1));
        distance[u] = plus_product(all(level * level), all(-2 * level), t);
    }
    Lanes difference[Bits];
    bit_differences<Bits>(distance, difference);
    for (int bit = 0; bit < Bits; ++bit)
        llrs[bit] = scale * difference[bit];
}

struct LinearWork {
    const LinearNetwork &network;
    const Size &size;
    bool one_matrix;
    LinearBatch batch;
    const LanePlaces &lanes;
    const ReceivedView &received;
    const DetectedView &to;
    DetectionPlaces places;
    ComplexLanes *samples, *matched, *estimates; // of some steps
    Lanes *room;                                 // for the values of one step
    LanesInt num_invalid;                        // of each lane, negative
};

// Steps first.. from samples to what is wanted.
template <int Bits, int Steps>
void detect_steps(LinearWork &work, int first) {
    const int n = work.size.num_tx, num_rx = work.size.num_rx;
    Places places[Steps];
    for (int s = 0; s < Steps; ++s)
        places[s] = work.places.received.at(first + s);
    load_vectors<Steps>(work.received, places, work.samples);
    ComplexLanes *estimates = work.matched;
    conjugate_product<Steps>(work.batch.first(), num_rx, n, work.samples, estimates);
    if (!work.one_matrix) {
        estimates = work.estimates;
        conjugate_product<Steps>(work.batch.second(), n, n, work.matched, estimates);
    }
    const float half_distance = work.network.half_distance;
    for (int s = 0; s < Steps; ++s) {
        const int step = first + s;
        Lanes finite{}; // 0, or NaN
        for (int i = 0; i < n; ++i) {
            finite = plus_product(finite, Lanes{}, estimates[i * Steps + s].re);
            finite = plus_product(finite, Lanes{}, estimates[i * Steps + s].im);
        }
        const LanesInt valid = finite == 0.0f;
        LanesInt invalid = ~valid;
        for (int l = work.lanes.count(step); l < native_lanes; ++l)
            invalid[l] = 0;
        work.num_invalid += invalid;

        store_streams<2>(n, work.to.symbols, work.places.symbols.at(step), work.room, [&](int i, Lanes *values) {
            const ComplexLanes &x = estimates[i * Steps + s];
            values[0] = valid ? x.re : Lanes{};
            values[1] = valid ? x.im : Lanes{};
        });
        if (work.to.llrs.ports.empty())
            continue;
        store_streams<2 * Bits>(n, work.to.llrs, work.places.llrs.at(step), work.room, [&](int i, Lanes *values) {
            const ComplexLanes &x = estimates[i * Steps + s];
            const Lanes scale = work.batch.llr_scale(i);
            Lanes of_re[Bits], of_im[Bits];
            pam_llrs<Bits>(x.re, half_distance, scale, of_re);
            pam_llrs<Bits>(x.im, half_distance, scale, of_im);
            for (int bit = 0; bit < Bits; ++bit) {
                values[2 * bit] = valid ? of_re[bit] : Lanes{};
                values[2 * bit + 1] = valid ? of_im[bit] : Lanes{};
            }
        });
    }
}

template <int Bits>
void detect_all_steps(LinearWork &work) {
    int step = 0;
    const auto repeat = [&](auto steps) {
        for (; step + steps <= work.lanes.num_steps(); step += steps)
            detect_steps<Bits, steps>(work, step);
    };
    repeat(std::integral_constant<int, linear_steps_at_once>());
    repeat(std::integral_constant<int, 2>());
    repeat(std::integral_constant<int, 1>());
}

std::size_t linear_detect_scratch(const Size &size) {
    const std::size_t num_rx = size.num_rx, n = size.num_tx;
    return ((num_rx + 2 * n) * linear_steps_at_once * 2 + 2 * max_bits_per_dimension * n) * native_lanes;
}

std::size_t detect_linear(const LinearNetwork &network, const Size &size, bool one_matrix, std::span<const float> batch,
                          const LaneVectors &vectors, const ReceivedView &received, const DetectedView &to,
                          std::span<float> scratch) {
    KAQ_ASSERT(batch.size() == linear_batch_floats(size) && scratch.size() >= linear_detect_scratch(size));
    KAQ_ASSERT(vectors.num_channels >= 1 && vectors.num_channels <= native_lanes);
    const LinearLayout layout(size);
    const LanePlaces lanes(vectors);
    ComplexLanes *const samples = reinterpret_cast<ComplexLanes *>(scratch.data());
    ComplexLanes *const matched = samples + layout.num_rx * linear_steps_at_once;
    ComplexLanes *const estimates = matched + layout.n * linear_steps_at_once;
    LinearWork work{
        network, size,     one_matrix, {layout, const_cast<float *>(batch.data())}, // only read
        lanes,   received, to,         {lanes, received, to},
        samples, matched,  estimates,  reinterpret_cast<Lanes *>(estimates + layout.n * linear_steps_at_once),
        {}};
    switch (network.bits_per_dimension) {
    case 1:
        detect_all_steps<1>(work);
        break;
    case 2:
        detect_all_steps<2>(work);
        break;
    case 3:
        detect_all_steps<3>(work);
        break;
    default:
        detect_all_steps<4>(work);
    }
    std::size_t num_invalid = 0;
    for (int l = 0; l < native_lanes; ++l)
        num_invalid += -work.num_invalid[l];
    return num_invalid;
}

std::size_t linear_scratch_floats(const Size &size) {
    return std::max(linear_prepare_scratch(size), linear_detect_scratch(size));
}

constexpr LinearKernel make_linear_kernel() {
    return {native_lanes, linear_scratch_floats, load_linear, prepare_linear, detect_linear};
}

} // namespace
} // namespace kaq
