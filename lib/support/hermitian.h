// SPDX-License-Identifier: GPL-3.0-or-later
// Hermitian matrices of any small size in double precision, [n][n] in C order, one at a time. (linear_algebra.h has
// many at once, in single precision.)
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <span>

#include "support/assert.h"
#include "support/complex_product.h"

namespace kaq {

// The lower triangle of a positive definite matrix becomes its Cholesky factor, what is above it zero. False where the
// matrix is not positive definite (or not finite); then it is spoilt.
inline bool cholesky(std::span<std::complex<double>> matrix, std::size_t n) {
    KAQ_ASSERT(matrix.size() == n * n);
    const auto at = [&](std::size_t i, std::size_t j) -> std::complex<double> & { return matrix[i * n + j]; };
    for (std::size_t j = 0; j < n; ++j) {
        double pivot = at(j, j).real();
        for (std::size_t k = 0; k < j; ++k) {
            pivot -= std::norm(at(j, k));
            at(k, j) = 0;
        }
        if (!(pivot > 0) || !std::isfinite(pivot))
            return false;
        pivot = std::sqrt(pivot);
        at(j, j) = pivot;
        for (std::size_t i = j + 1; i < n; ++i) {
            std::complex<double> sum = at(i, j);
            for (std::size_t k = 0; k < j; ++k)
                sum -= product(at(i, k), std::conj(at(j, k)));
            at(i, j) = sum / pivot;
        }
    }
    return true;
}

// A lower triangular matrix becomes its inverse.
inline void invert_lower(std::span<std::complex<double>> matrix, std::size_t n) {
    KAQ_ASSERT(matrix.size() == n * n);
    const auto at = [&](std::size_t i, std::size_t j) -> std::complex<double> & { return matrix[i * n + j]; };
    for (std::size_t j = 0; j < n; ++j) {
        at(j, j) = 1.0 / at(j, j);
        for (std::size_t i = j + 1; i < n; ++i) {
            std::complex<double> sum = 0;
            for (std::size_t k = j; k < i; ++k)
                sum -= product(at(i, k), at(k, j));
            at(i, j) = sum / at(i, i);
        }
    }
}

// The vector becomes the product of a lower triangular matrix with it.
inline void multiply_lower(std::span<const std::complex<double>> matrix, std::span<std::complex<double>> vector) {
    const std::size_t n = vector.size();
    KAQ_ASSERT(matrix.size() == n * n);
    for (std::size_t i = n; i-- > 0;) {
        std::complex<double> sum = 0;
        for (std::size_t k = 0; k <= i; ++k)
            sum += product(matrix[i * n + k], vector[k]);
        vector[i] = sum;
    }
}

// The right side becomes the solution x of L L^H x = right side.
inline void solve_cholesky(std::span<const std::complex<double>> factor, std::span<std::complex<double>> right) {
    const std::size_t n = right.size();
    KAQ_ASSERT(factor.size() == n * n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < i; ++k)
            right[i] -= product(factor[i * n + k], right[k]);
        right[i] /= factor[i * n + i].real();
    }
    for (std::size_t i = n; i-- > 0;) {
        for (std::size_t k = i + 1; k < n; ++k)
            right[i] -= product(std::conj(factor[k * n + i]), right[k]);
        right[i] /= factor[i * n + i].real();
    }
}

} // namespace kaq
