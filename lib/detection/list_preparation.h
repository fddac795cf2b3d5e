// SPDX-License-Identifier: GPL-3.0-or-later
// What a list detector needs once per channel estimate, one channel in each lane; list_preparation.py specifies every
// operation. Compiled for the instruction set of each kernel.
#pragma once

#include <algorithm>
#include <span>

#include "detection/batch_lanes.h"
#include "detection/list_batch.h"
#include "detection/list_kernel.h"
#include "detection/list_lanes.h"
#include "detection/load_channels.h"
#include "support/linear_algebra.h"

namespace kaq {
namespace {

constexpr float loading = 1 + 1e-5f; // of the Gram matrix's diagonal: more than rounding takes from it
constexpr float least_gap = 1e-3f;   // R_pp^2 - a^2 is at least this times a^2
constexpr float least_precision = 1e-6f;
constexpr float least_unit = 1e-30f;

struct ListBatch : BatchLanes {
    const ListLayout &layout;

    ListBatch(const ListLayout &of, float *data) : BatchLanes{data}, layout(of) {}

    Matrix h() const { return matrix(layout.h, layout.num_rx, layout.n); }
    Matrix gram() const { return matrix(layout.gram, layout.n, layout.n); }
    Matrix factor() const { return matrix(layout.factor, layout.n, layout.n); }
};

// Streams i < j of a Hermitian matrix, given its lower triangle, change places.
inline void swap_streams(const Choice &where, int i, int j, const Matrix &m, int n) {
    for (int k = 0; k < i; ++k) {
        swap_where(where, m.real(i, k), m.real(j, k));
        swap_where(where, m.imag(i, k), m.imag(j, k));
    }
    swap_where(where, m.real(i, i), m.real(j, j));
    for (int k = i + 1; k < j; ++k) {
        swap_where(where, m.real(k, i), m.real(j, k));
        const Lanes first = m.imag(k, i), second = m.imag(j, k);
        m.imag(k, i) = choose(where, -second, first);
        m.imag(j, k) = choose(where, -first, second);
    }
    m.imag(j, i) = choose(where, -m.imag(j, i), m.imag(j, i));
    for (int k = j + 1; k < n; ++k) {
        swap_where(where, m.real(k, i), m.real(k, j));
        swap_where(where, m.imag(k, i), m.imag(k, j));
    }
}

// V-BLAST's order. `covariance`, the inverse of the regularised Gram matrix, is used up; `gram`, the error variances
// and the order follow it.
inline void order_streams(const Matrix &covariance, const Matrix &gram, int n, Lanes *variance, Lanes *order) {
    for (int last = n - 1; last > 0; --last) {
        Lanes best = covariance.real(last, last), place = all(static_cast<float>(last));
        for (int i = 0; i < last; ++i) {
            const Choice smaller = less(covariance.real(i, i), best);
            best = choose(smaller, covariance.real(i, i), best);
            place = choose(smaller, all(static_cast<float>(i)), place);
        }
        for (int i = 0; i < last; ++i) {
            const Choice better = equal(place, all(static_cast<float>(i)));
            if (none(better))
                continue;
            // the covariance of what is left only
            swap_streams(better, i, last, covariance, last + 1);
            swap_streams(better, i, last, gram, n);
            swap_where(better, variance[i], variance[last]);
            swap_where(better, order[i], order[last]);
        }
        const Lanes inverse = 1.0f / covariance.real(last, last);
        for (int i = 0; i < last; ++i) {
            // minus conj(row) row / pivot
            const Lanes by_re = covariance.real(last, i) * inverse, by_im = covariance.imag(last, i) * inverse;
            for (int j = 0; j <= i; ++j) {
                Lanes re = covariance.real(i, j), im = covariance.imag(i, j);
                const Lanes row_re = covariance.real(last, j), row_im = covariance.imag(last, j);
                re = minus_product(re, by_re, row_re);
                im = minus_product(im, by_re, row_im);
                re = minus_product(re, by_im, row_im);
                im = plus_product(im, by_im, row_re);
                covariance.real(i, j) = re, covariance.imag(i, j) = im;
            }
        }
    }
}

// Columns of h in this order, row by row.
inline void permute_columns(const Matrix &h, int num_rx, int n, const Lanes *order, const Matrix &to) {
    for (int p = 0; p < n; ++p) {
        Choice is[max_list_streams];
        for (int j = 1; j < n; ++j)
            is[j] = equal(order[p], all(static_cast<float>(j)));
        for (int r = 0; r < num_rx; ++r) {
            Lanes re = h.real(r, 0), im = h.imag(r, 0);
            for (int j = 1; j < n; ++j) {
                re = choose(is[j], h.real(r, j), re);
                im = choose(is[j], h.imag(r, j), im);
            }
            to.real(r, p) = re, to.imag(r, p) = im;
        }
    }
}

// What each earlier level adds to the residual of the two levels of place p, as integers of `unit`; and the offsets.
inline void quantize_rows(const ListNetwork &network, const ListBatch &b, int p) {
    const ListLayout &layout = b.layout;
    const int n = layout.n, row = 2 * (n - 1 - p);
    const Matrix factor = b.factor();
    Lanes largest{};
    for (int j = p + 1; j < n; ++j)
        largest = maximum(maximum(magnitude(factor.real(j, p)), magnitude(factor.imag(j, p))), largest);
    Lanes unit = maximum(minimum(all(network.step_alpha), network.step_gamma * largest),
                         largest * static_cast<float>(1.0 / network.largest_entry));
    unit = maximum(unit, all(least_unit));
    b(layout.unit, p) = unit;
    const Lanes inverse = 1.0f / unit, highest = all(static_cast<float>((1 << network.bits_per_dimension) - 1));
    const Lanes per_entry = highest * unit, outermost = highest * b(layout.diagonal, p);
    b(layout.index_offset, p) = minus_product(0.5f * highest, outermost, b(layout.index_gain, p));
    LanesInt wide[2]{}, total[2]{};
    const auto set = [&](int q, int column, const LanesInt &entry) {
        total[q] += entry;
        const LanesInt low = ((entry + 128) & 255) - 128, high = (entry - low) >> 8;
        wide[q] |= high;
        const int word = (row + q) * layout.num_words + column / 4, shift = 8 * (column % 4);
        b.integer(layout.low_entries, word) |= (low & 255) << shift;
        b.integer(layout.high_entries, word) |= (high & 255) << shift;
    };
    for (int q = 0; q < 2; ++q)
        for (int word = 0; word < layout.num_words; ++word)
            b.integer(layout.low_entries, (row + q) * layout.num_words + word) =
                b.integer(layout.high_entries, (row + q) * layout.num_words + word) = LanesInt{};
    for (int j = p + 1; j < n; ++j) {
        const int column = 2 * (n - 1 - j);
        const LanesInt re = round_to_int(factor.real(j, p) * inverse), im = round_to_int(factor.imag(j, p) * inverse);
        set(0, column, re);
        set(0, column + 1, im);
        set(1, column, -im);
        set(1, column + 1, re);
    }
    for (int q = 0; q < 2; ++q) {
        b(layout.offset, row + q) = per_entry * to_float(total[q]) + outermost;
        b.integer(layout.is_wide, row + q) = LanesInt{} + (any(wide[q]) ? -1 : 0);
    }
}

std::size_t list_batch_floats(const Size &size) { return ListLayout(size).size * native_lanes; }

// H, and the covariance
std::size_t list_prepare_scratch(const Size &size) {
    return static_cast<std::size_t>(2 * size.num_rx * size.num_tx + 2 * size.num_tx * size.num_tx) * native_lanes;
}

void load_list(const Size &size, std::span<const std::complex<float> *const> h, std::span<float> batch,
               std::span<float> squared_norms) {
    KAQ_ASSERT(batch.size() == list_batch_floats(size));
    const ListLayout layout(size);
    load_channels(h, size.num_rx, ListBatch{layout, batch.data()}.h(), squared_norms);
}

void prepare_list(const ListNetwork &network, const Size &size, std::span<const ListLevel> lanes,
                  std::span<float> batch, std::span<float> scratch) {
    KAQ_ASSERT(lanes.size() == native_lanes && batch.size() == list_batch_floats(size));
    KAQ_ASSERT(scratch.size() >= list_prepare_scratch(size));
    const ListLayout layout(size);
    const ListBatch b{layout, batch.data()};
    const int n = size.num_tx, num_rx = size.num_rx;
    const std::size_t antennas = static_cast<std::size_t>(num_rx) * n * native_lanes;
    const std::size_t entries = static_cast<std::size_t>(n) * n * native_lanes;
    const Matrix h{scratch.data(), scratch.data() + antennas, n};
    const Matrix covariance{scratch.data() + 2 * antennas, scratch.data() + 2 * antennas + entries, n};
    const Matrix gram = b.gram(), factor = b.factor(), loaded = b.h();

    Lanes gain, noise_var;
    for (int l = 0; l < native_lanes; ++l)
        gain[l] = lanes[l].gain, noise_var[l] = lanes[l].noise_var;
    const Lanes scale = 1.0f / square_root(noise_var), level_scale = network.half_distance * scale;
    const float prior = network.half_distance * network.half_distance;
    b(layout.gain) = gain;
    b(layout.scale) = scale;
    b.integer(layout.known) = gain > 0;

    for (int i = 0; i < num_rx * n; ++i) {
        at(h.re, i) = at(loaded.re, i) * gain * level_scale;
        at(h.im, i) = at(loaded.im, i) * gain * level_scale;
    }
    gram_matrix(h, num_rx, n, gram);
    for (int i = 0; i < n; ++i) {
        gram.real(i, i) *= loading;
        for (int j = 0; j < i; ++j)
            factor.real(i, j) = gram.real(i, j), factor.imag(i, j) = gram.imag(i, j);
        factor.real(i, i) = gram.real(i, i) + prior;
    }
    invert_cholesky_factor(factor, n);
    gram_matrix(factor, n, n, covariance, true);
    Lanes variance[max_list_streams], order[max_list_streams];
    for (int i = 0; i < n; ++i) {
        variance[i] = covariance.real(i, i);
        order[i] = all(static_cast<float>(i));
    }
    order_streams(covariance, gram, n, variance, order);
    permute_columns(h, num_rx, n, order, b.h());

    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < i; ++j)
            factor.real(i, j) = gram.real(i, j), factor.imag(i, j) = gram.imag(i, j);
        factor.real(i, i) = gram.real(i, i) + prior;
    }
    cholesky_factor(factor, n);
    for (int p = 0; p < n; ++p) {
        const Lanes diagonal = 1.0f / factor.real(p, p);
        const Lanes gap = diagonal * diagonal - prior;
        const Lanes inverse = 1.0f / variance[p], precision = maximum(inverse - prior, all(least_precision));
        b(layout.diagonal, p) = diagonal;
        b(layout.index_gain, p) = 0.5f * diagonal / maximum(gap, all(least_gap * prior));
        b(layout.precision, p) = precision;
        b(layout.mean_gain, p) = inverse / precision;
        b.integer(layout.order, p) = truncated(order[p]);
        quantize_rows(network, b, p);
    }
}

} // namespace
} // namespace kaq
