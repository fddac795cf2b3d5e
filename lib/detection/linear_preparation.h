// SPDX-License-Identifier: GPL-3.0-or-later
// What a linear detector needs once per channel estimate, one channel in each lane. Compiled for the instruction set of
// each kernel.
#pragma once

#include <algorithm>
#include <span>

#include "detection/batch_lanes.h"
#include "detection/linear_batch.h"
#include "detection/linear_kernel.h"
#include "detection/linear_levels.h"
#include "detection/load_channels.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

// Single precision is enough where kappa, the largest of kappa_i = A_ii M_ii, A being the inverse of M, is small, or
// where noise hides what it costs. Rounding moves an estimate by up to 30 times 2^-24 sqrt(kappa tr(M) / noise_var) of
// its noise's standard deviation, and its variance by up to 8 times 2^-24 kappa of itself. The limits are a tenth of
// the deviation, and a hundredth of the variance. Up to 40 dB of SNR, LMMSE stays below them on Rayleigh channels.
constexpr float always_precise = 100, largest_precise_kappa = 2e4f;
constexpr float largest_precise_product = 2.5e9f; // kappa tr(M) / noise_var

// A gain is a sum whose terms are up to kappa_i: it is precise where kappa_i - 1 is less than this times the gain.
constexpr float largest_precise_ratio = 1e5f;

// What the squares of two singular values are apart. For zero forcing, it has to be far less than where one is left
// out; for LMMSE, a number at all.
constexpr float largest_precise_spread = 1e9f, largest_spread = 1e30f;

struct LinearBatch : BatchLanes {
    const LinearLayout &layout;

    LinearBatch(const LinearLayout &of, float *data) : BatchLanes{data}, layout(of) {}

    Matrix first() const { return matrix(layout.first, static_cast<int>(layout.num_rx), static_cast<int>(layout.n)); }
    Matrix second() const { return matrix(layout.second, static_cast<int>(layout.n), static_cast<int>(layout.n)); }
    Lanes &llr_scale(std::size_t i) const { return (*this)(layout.llr_scale, i); }
};

std::size_t linear_batch_floats(const Size &size) { return LinearLayout(size).size * native_lanes; }

constexpr int rows_at_once = 4;

// Two square matrices; some rows, and a value for each stream.
std::size_t linear_prepare_scratch(const Size &size) {
    const std::size_t n = size.num_tx;
    return (4 * n * n + 2 * rows_at_once * n + n) * native_lanes;
}

void load_linear(const Size &size, std::span<const std::complex<float> *const> h, std::span<float> batch,
                 std::span<float> squared_norms) {
    KAQ_ASSERT(batch.size() == linear_batch_floats(size));
    const LinearLayout layout(size);
    load_channels(h, size.num_rx, LinearBatch{layout, batch.data()}.first(), squared_norms);
}

// a = a b, some rows at a time; `rows` has room for them.
inline void multiply_in_place(const Matrix &a, int num_rows, const Matrix &b, int n, const Matrix &rows) {
    for (int r = 0; r < num_rows; r += rows_at_once) {
        const int count = std::min(rows_at_once, num_rows - r);
        const std::size_t begin = static_cast<std::size_t>(r) * n * native_lanes, size = count * n * native_lanes;
        product({a.re + begin, a.im + begin, n}, b, count, n, rows);
        std::copy_n(rows.re, size, a.re + begin);
        std::copy_n(rows.im, size, a.im + begin);
    }
}

// The diagonal of A G for Hermitian matrices, given the lower triangles: what LMMSE leaves of each stream.
inline void diagonal_of_product(const Matrix &a, const Matrix &g, int n, Lanes *diagonal) {
    for (int i = 0; i < n; ++i) {
        Lanes sum = a.real(i, i) * g.real(i, i);
        for (int j = 0; j < i; ++j) {
            const Lanes both = plus_product(a.real(i, j) * g.real(i, j), a.imag(i, j), g.imag(i, j));
            sum += both;
            diagonal[j] += both;
        }
        diagonal[i] = sum;
    }
}

std::uint32_t prepare_linear(const LinearNetwork &network, const Size &size, bool one_matrix,
                             std::span<const ChannelLevels> lanes, std::span<float> batch, std::span<float> scratch) {
    KAQ_ASSERT(lanes.size() == native_lanes && batch.size() == linear_batch_floats(size));
    KAQ_ASSERT(scratch.size() >= linear_prepare_scratch(size));
    const LinearLayout layout(size);
    const LinearBatch b{layout, batch.data()};
    const bool is_lmmse = network.type == LinearNetwork::Type::lmmse;
    const int n = size.num_tx, num_rx = size.num_rx;
    const std::size_t entries = layout.n * layout.n * native_lanes, of_rows = rows_at_once * layout.n * native_lanes;
    float *const free = scratch.data();
    const Matrix gram{free, free + entries, n}, factor{free + 2 * entries, free + 3 * entries, n};
    const Matrix rows{free + 4 * entries, free + 4 * entries + of_rows, n};
    Lanes *const kept = &at(free + 4 * entries + 2 * of_rows, 0); // of each stream's power, LMMSE's estimate of it
    const Matrix h = b.first(), inverse = b.second();

    Lanes gain, noise_var;
    for (int l = 0; l < native_lanes; ++l)
        gain[l] = lanes[l].gain, noise_var[l] = static_cast<float>(lanes[l].noise_var);
    for (std::size_t i = 0; i < layout.num_rx * layout.n; ++i) {
        at(h.re, i) *= gain;
        at(h.im, i) *= gain;
    }
    gram_matrix(h, num_rx, n, gram);
    Lanes total{};
    for (int i = 0; i < n; ++i)
        total += gram.real(i, i);
    Lanes loading{};
    if (is_lmmse) {
        // more than 0, even where nothing is known
        constexpr float least_power = 1e-20f, part = static_cast<float>(least_noise_part);
        loading = noise_var = maximum(noise_var, part * maximum(total, all(least_power)));
    }
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < i; ++j)
            factor.real(i, j) = gram.real(i, j), factor.imag(i, j) = gram.imag(i, j);
        factor.real(i, i) = gram.real(i, i) + loading;
    }
    invert_cholesky_factor(factor, n);
    gram_matrix(factor, n, n, inverse, true);
    Lanes kappa{}, inverse_total{};
    for (int i = 0; i < n; ++i) {
        kappa = maximum(kappa, inverse.real(i, i) * (gram.real(i, i) + loading));
        inverse_total += inverse.real(i, i);
    }
    LanesInt precise = (kappa < largest_precise_kappa) & (kappa * total < largest_precise_product * noise_var);
    precise |= kappa < always_precise;
    precise &= total * inverse_total < (is_lmmse ? largest_spread : largest_precise_spread);
    if (is_lmmse)
        diagonal_of_product(inverse, gram, n, kept);
    mirror(inverse, n);

    constexpr float least_gain = static_cast<float>(least_linear_gain),
                    largest_scale = static_cast<float>(largest_llr_scale);
    for (int i = 0; i < n; ++i) {
        // what is left of a stream, and the rest; each is exact where it is small
        const Lanes rest = noise_var * inverse.real(i, i);
        Lanes part = all(1);
        if (is_lmmse)
            part = maximum(rest < 0.5f ? 1.0f - rest : kept[i], all(least_gain));
        const Lanes scale = minimum(part / rest, all(largest_scale));
        const LanesInt arrives = gram.real(i, i) > 0;
        b.llr_scale(i) = arrives ? scale : Lanes{};
        const Lanes own_kappa = inverse.real(i, i) * (gram.real(i, i) + loading);
        precise &= ~arrives | (own_kappa - 1.0f < largest_precise_ratio * part);
        const Lanes of_column = gain / part;
        for (int k = 0; k < n; ++k) {
            inverse.real(k, i) *= of_column;
            inverse.imag(k, i) *= of_column;
        }
    }
    if (one_matrix)
        multiply_in_place(h, num_rx, inverse, n, rows);

    std::uint32_t imprecise = 0;
    for (int l = 0; l < native_lanes; ++l)
        imprecise |= static_cast<std::uint32_t>(gain[l] > 0 && !precise[l]) << l;
    return imprecise;
}

} // namespace
} // namespace kaq
