// SPDX-License-Identifier: GPL-3.0-or-later
// Complex matrices of small size in single precision, one channel in each lane. Blocks of two by two entries (four rows
// in the triangular solves) keep the multipliers busy: every vector that is loaded is used twice or more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "support/lanes.h"

namespace kaq {
namespace {

// A matrix [rows][columns][lane].
struct Matrix {
    float *re;
    float *im;
    int columns;

    Lanes &real(int i, int j) const { return at(re, static_cast<std::size_t>(i) * columns + j); }
    Lanes &imag(int i, int j) const { return at(im, static_cast<std::size_t>(i) * columns + j); }
};

// sum += conj(a) b
inline void add_conjugate_product(Lanes &re, Lanes &im, const Lanes &ar, const Lanes &ai, const Lanes &br,
                                  const Lanes &bi) {
    re = plus_product(re, ar, br);
    im = plus_product(im, ar, bi);
    re = plus_product(re, ai, bi);
    im = minus_product(im, ai, br);
}

// sum += a b
inline void add_product(Lanes &re, Lanes &im, const Lanes &ar, const Lanes &ai, const Lanes &br, const Lanes &bi) {
    re = plus_product(re, ar, br);
    im = plus_product(im, ar, bi);
    re = minus_product(re, ai, bi);
    im = plus_product(im, ai, br);
}

// Rows i.. and columns j.. of A^H A from the rows first..last of A; `add`: to what earlier rows gave.
template <int Rows, int Columns>
[[gnu::always_inline]] inline void gram_block(const Matrix &a, int first, int last, bool add, int i, int j,
                                              const Matrix &out) {
    Lanes re[Rows][Columns] = {}, im[Rows][Columns] = {};
    if (add)
        for (int p = 0; p < Rows; ++p)
            for (int q = 0; q < Columns; ++q)
                re[p][q] = out.real(i + p, j + q), im[p][q] = out.imag(i + p, j + q);
    for (int r = first; r < last; ++r) {
        Lanes br[Columns], bi[Columns];
        for (int q = 0; q < Columns; ++q)
            br[q] = a.real(r, j + q), bi[q] = a.imag(r, j + q);
        for (int p = 0; p < Rows; ++p) {
            const Lanes ar = a.real(r, i + p), ai = a.imag(r, i + p);
            for (int q = 0; q < Columns; ++q)
                add_conjugate_product(re[p][q], im[p][q], ar, ai, br[q], bi[q]);
        }
    }
    for (int p = 0; p < Rows; ++p)
        for (int q = 0; q < Columns; ++q)
            out.real(i + p, j + q) = re[p][q], out.imag(i + p, j + q) = im[p][q];
}

// The lower triangle of A^H A. Triangular: A is lower triangular, with zeros right of the diagonal.
inline void gram_matrix(const Matrix &a, int num_rows, int n, const Matrix &out, bool triangular = false) {
    // so many entries of A stay in the first-level cache, for all blocks
    constexpr int entries_at_once = 4096 / native_lanes;
    const int at_once = std::max(4, entries_at_once / n);
    for (int begin = 0; begin < num_rows; begin += at_once) {
        const int end = std::min(begin + at_once, num_rows);
        const auto block = [&](auto rows, auto columns, int i, int j) __attribute__((always_inline)) {
            const int top = triangular ? i : 0;
            if (top < end)
                gram_block<rows, columns>(a, std::max(begin, top), end, begin > top, i, j, out);
        };
        constexpr std::integral_constant<int, 1> one;
        constexpr std::integral_constant<int, 2> two;
        int i = 0;
        for (; i + 2 <= n; i += 2)
            for (int j = 0; j <= i; j += 2)
                block(two, two, i, j);
        if (i < n) {
            int j = 0;
            for (; j + 2 <= n; j += 2)
                block(one, two, i, j);
            block(one, one, i, i);
        }
    }
    for (int i = 0; i < n; ++i)
        out.imag(i, i) = Lanes{};
}

// The upper triangle of a Hermitian matrix from its lower one.
inline void mirror(const Matrix &m, int n) {
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < i; ++j) {
            m.real(j, i) = m.real(i, j);
            m.imag(j, i) = -m.imag(i, j);
        }
}

// Rows i.. of column j of the Cholesky factor.
template <int Rows>
inline void cholesky_block(const Matrix &m, int i, int j, const Lanes &inverse) {
    Lanes re[Rows], im[Rows];
    for (int p = 0; p < Rows; ++p)
        re[p] = m.real(i + p, j), im[p] = m.imag(i + p, j);
    for (int k = 0; k < j; ++k) {
        const Lanes br = m.real(j, k), bi = m.imag(j, k);
        for (int p = 0; p < Rows; ++p) { // minus a conj(b)
            const Lanes ar = m.real(i + p, k), ai = m.imag(i + p, k);
            re[p] = minus_product(re[p], ar, br);
            im[p] = minus_product(im[p], ai, br);
            re[p] = minus_product(re[p], ai, bi);
            im[p] = plus_product(im[p], ar, bi);
        }
    }
    for (int p = 0; p < Rows; ++p)
        m.real(i + p, j) = re[p] * inverse, m.imag(i + p, j) = im[p] * inverse;
}

// A pivot is at least this part of the diagonal entry that it comes from, and no less than the smallest power of ten
// that is a normal float: rounding must not make one negative, nor a matrix of zeros make one zero.
constexpr float least_pivot_part = 1e-7f; // about the precision of a float
constexpr float least_pivot = 1e-37f;

// The lower triangle of a positive definite matrix becomes its Cholesky factor L, with 1 / L_jj on the diagonal.
inline void cholesky_factor(const Matrix &m, int n) {
    for (int j = 0; j < n; ++j) {
        Lanes pivot = m.real(j, j);
        const Lanes smallest = plus_product(all(least_pivot), all(least_pivot_part), pivot);
        for (int k = 0; k < j; ++k) {
            pivot = minus_product(pivot, m.real(j, k), m.real(j, k));
            pivot = minus_product(pivot, m.imag(j, k), m.imag(j, k));
        }
        const Lanes inverse = 1.0f / square_root(maximum(pivot, smallest));
        m.real(j, j) = inverse;
        m.imag(j, j) = Lanes{};
        int i = j + 1;
        for (; i + 4 <= n; i += 4)
            cholesky_block<4>(m, i, j, inverse);
        for (; i < n; ++i)
            cholesky_block<1>(m, i, j, inverse);
    }
}

// Columns j.. of row i of the inverse factor.
template <int Columns>
inline void invert_block(const Matrix &m, int i, int j) {
    Lanes re[Columns] = {}, im[Columns] = {};
    for (int k = j; k < i; ++k) {
        const Lanes ar = m.real(i, k), ai = m.imag(i, k);
        for (int q = 0; q < Columns; ++q)
            add_product(re[q], im[q], ar, ai, m.real(k, j + q), m.imag(k, j + q));
    }
    const Lanes inverse = -m.real(i, i);
    for (int q = 0; q < Columns; ++q)
        m.real(i, j + q) = re[q] * inverse, m.imag(i, j + q) = im[q] * inverse;
}

// What cholesky_factor leaves becomes L^-1, with zeros right of the diagonal.
inline void invert_factor(const Matrix &m, int n) {
    for (int i = 0; i < n; ++i) {
        for (int j = i + 1; j < n; ++j)
            m.real(i, j) = m.imag(i, j) = Lanes{};
        // entries (i, j) and to the right of it are still the factor's when column j is computed
        int j = 0;
        for (; j + 4 <= i; j += 4)
            invert_block<4>(m, i, j);
        for (; j < i; ++j)
            invert_block<1>(m, i, j);
    }
}

// The lower triangle of a positive definite matrix becomes the inverse of its Cholesky factor.
inline void invert_cholesky_factor(const Matrix &m, int n) {
    cholesky_factor(m, n);
    invert_factor(m, n);
}

// A positive definite matrix L D L^H, the diagonal of L being 1: below the diagonal, its lower triangle becomes L^-1.
// The entries of D^-1 go to `inverse_pivots`.
inline void inverse_unit_factor(const Matrix &m, int n, Lanes *inverse_pivots) {
    for (int j = 0; j < n; ++j) {
        const Lanes given = m.real(j, j);
        const Lanes smallest = plus_product(all(least_pivot), all(least_pivot_part), given);
        for (int i = 0; i < j; ++i) { // row j of L D
            Lanes re = m.real(j, i), im = m.imag(j, i);
            for (int k = 0; k < i; ++k) { // minus (L D)_jk conj(L_ik)
                const Lanes ar = m.real(j, k), ai = m.imag(j, k), br = m.real(i, k), bi = m.imag(i, k);
                re = minus_product(re, ar, br);
                im = minus_product(im, ai, br);
                re = minus_product(re, ai, bi);
                im = plus_product(im, ar, bi);
            }
            m.real(j, i) = re, m.imag(j, i) = im;
        }
        Lanes pivot = given;
        for (int i = 0; i < j; ++i) {
            const Lanes scaled_re = m.real(j, i), scaled_im = m.imag(j, i);
            const Lanes re = scaled_re * inverse_pivots[i], im = scaled_im * inverse_pivots[i];
            pivot = minus_product(pivot, scaled_re, re);
            pivot = minus_product(pivot, scaled_im, im);
            m.real(j, i) = re, m.imag(j, i) = im;
        }
        inverse_pivots[j] = 1.0f / maximum(pivot, smallest);
    }
    // L^-1, row by row: what is right of column j in row i still is the factor's
    for (int i = 1; i < n; ++i)
        for (int j = 0; j < i; ++j) {
            Lanes re = m.real(i, j), im = m.imag(i, j);
            for (int k = j + 1; k < i; ++k)
                add_product(re, im, m.real(i, k), m.imag(i, k), m.real(k, j), m.imag(k, j));
            m.real(i, j) = -re, m.imag(i, j) = -im;
        }
}

// out = L^H L for the inverse factor L of a Hermitian matrix: all of the inverse.
inline void hermitian_product(const Matrix &m, int n, const Matrix &out) {
    gram_matrix(m, n, n, out, true);
    mirror(out, n);
}

template <int Rows, int Columns>
inline void product_block(const Matrix &a, const Matrix &b, int inner, int i, int j, const Matrix &out) {
    Lanes re[Rows][Columns] = {}, im[Rows][Columns] = {};
    for (int k = 0; k < inner; ++k) {
        Lanes br[Columns], bi[Columns];
        for (int q = 0; q < Columns; ++q)
            br[q] = b.real(k, j + q), bi[q] = b.imag(k, j + q);
        for (int p = 0; p < Rows; ++p) {
            const Lanes ar = a.real(i + p, k), ai = a.imag(i + p, k);
            for (int q = 0; q < Columns; ++q)
                add_product(re[p][q], im[p][q], ar, ai, br[q], bi[q]);
        }
    }
    for (int p = 0; p < Rows; ++p)
        for (int q = 0; q < Columns; ++q)
            out.real(i + p, j + q) = re[p][q], out.imag(i + p, j + q) = im[p][q];
}

// out = A B, num_rows x n, B being n x n.
inline void product(const Matrix &a, const Matrix &b, int num_rows, int n, const Matrix &out) {
    int i = 0;
    for (; i + 2 <= num_rows; i += 2) {
        int j = 0;
        for (; j + 2 <= n; j += 2)
            product_block<2, 2>(a, b, n, i, j, out);
        if (j < n)
            product_block<2, 1>(a, b, n, i, j, out);
    }
    if (i < num_rows)
        for (int j = 0; j < n; ++j)
            product_block<1, 1>(a, b, n, i, j, out);
}

} // namespace
} // namespace kaq
