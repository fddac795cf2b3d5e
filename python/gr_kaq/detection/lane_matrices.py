# SPDX-License-Identifier: GPL-3.0-or-later
"""Complex matrices of single precision, each operation in a stated order: what lib/support/linear_algebra.h computes.

A matrix is a pair (re, im) of arrays (rows, columns, ...); what follows the two axes are the lanes: channels, or
channels and vectors. Of a Hermitian matrix the lower triangle is used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fused_products import maximum, minus_product, plus_product

__all__ = ["LaneMatrix", "cholesky_factor", "gram_matrix", "inverse_unit_factor", "invert_factor", "swap_streams"]

Float = NDArray[np.float32]

LEAST_PIVOT_PART = np.float32(1e-7)
LEAST_PIVOT = np.float32(1e-37)
"""A pivot is at least this part of the diagonal entry that it comes from, and at least this."""


class LaneMatrix(NamedTuple):
    """Real and imaginary parts, float32 (rows, columns, ...)."""

    re: Float
    im: Float

    def copy(self) -> LaneMatrix:
        """The same, with arrays of its own."""
        return LaneMatrix(self.re.copy(), self.im.copy())


def gram_matrix(a: LaneMatrix, triangular: bool = False) -> LaneMatrix:
    """The lower triangle of A^H A, row after row of A; `triangular`: A is lower triangular."""
    num_rows, n = a.re.shape[:2]
    re = np.zeros((n, n, *a.re.shape[2:]), np.float32)
    im = np.zeros_like(re)
    for i in range(n):
        j = slice(0, i + 1)
        for r in range(i - i % 2 if triangular else 0, num_rows):
            re[i, j] = plus_product(re[i, j], a.re[r, i], a.re[r, j])
            im[i, j] = plus_product(im[i, j], a.re[r, i], a.im[r, j])
            re[i, j] = plus_product(re[i, j], a.im[r, i], a.im[r, j])
            im[i, j] = minus_product(im[i, j], a.im[r, i], a.re[r, j])
        im[i, i] = 0.0
    return LaneMatrix(re, im)


def cholesky_factor(m: LaneMatrix) -> LaneMatrix:
    """L with m = L L^H, lower triangle, with 1 / L_jj on the diagonal."""
    re, im = m.copy()
    n = re.shape[0]
    for j in range(n):
        pivot = re[j, j]
        smallest = plus_product(LEAST_PIVOT, LEAST_PIVOT_PART, pivot)
        for k in range(j):
            pivot = minus_product(pivot, re[j, k], re[j, k])
            pivot = minus_product(pivot, im[j, k], im[j, k])
        inverse = np.float32(1) / np.sqrt(maximum(pivot, smallest))
        re[j, j], im[j, j] = inverse, 0.0
        i = slice(j + 1, n)
        for k in range(j):  # minus a conj(b)
            re[i, j] = minus_product(re[i, j], re[i, k], re[j, k])
            im[i, j] = minus_product(im[i, j], im[i, k], re[j, k])
            re[i, j] = minus_product(re[i, j], im[i, k], im[j, k])
            im[i, j] = plus_product(im[i, j], re[i, k], im[j, k])
        re[i, j] *= inverse
        im[i, j] *= inverse
    return LaneMatrix(re, im)


def invert_factor(m: LaneMatrix) -> LaneMatrix:
    """L^-1 from what `cholesky_factor` returns, with zeros right of the diagonal."""
    re, im = m.copy()
    n = re.shape[0]
    for i in range(n):
        re[i, i + 1 :] = im[i, i + 1 :] = 0.0
        for j in range(i):
            real = imag = np.zeros_like(re[i, j])
            for k in range(j, i):
                real = plus_product(real, m.re[i, k], re[k, j])
                imag = plus_product(imag, m.re[i, k], im[k, j])
                real = minus_product(real, m.im[i, k], im[k, j])
                imag = plus_product(imag, m.im[i, k], re[k, j])
            re[i, j], im[i, j] = real * -m.re[i, i], imag * -m.re[i, i]
    return LaneMatrix(re, im)


def inverse_unit_factor(m: LaneMatrix) -> tuple[LaneMatrix, Float]:
    """X and E with X^H E X = m^-1: X = L^-1 and E = D^-1, where m = L D L^H and the diagonal of L is 1.

    Returns:
        X, below the diagonal, and the diagonal of E, (n, ...).
    """
    re, im = m.copy()
    n = re.shape[0]
    inverse_pivots = np.empty_like(re[0])
    for j in range(n):
        # row j of L D, then of L; entries to the right of it are of rows that follow
        scaled_re, scaled_im = np.empty_like(re[j]), np.empty_like(im[j])
        for i in range(j):
            a, b = re[j, i], im[j, i]
            for k in range(i):  # minus (L D)_jk conj(L_ik)
                a = minus_product(a, scaled_re[k], re[i, k])
                b = minus_product(b, scaled_im[k], re[i, k])
                a = minus_product(a, scaled_im[k], im[i, k])
                b = plus_product(b, scaled_re[k], im[i, k])
            scaled_re[i], scaled_im[i] = a, b
        pivot = re[j, j]
        smallest = plus_product(LEAST_PIVOT, LEAST_PIVOT_PART, pivot)
        for i in range(j):
            re[j, i], im[j, i] = scaled_re[i] * inverse_pivots[i], scaled_im[i] * inverse_pivots[i]
            pivot = minus_product(pivot, scaled_re[i], re[j, i])
            pivot = minus_product(pivot, scaled_im[i], im[j, i])
        inverse_pivots[j] = np.float32(1) / maximum(pivot, smallest)
    for i in range(1, n):
        row_re, row_im = re[i, :i].copy(), im[i, :i].copy()
        for j in range(i):
            a, b = row_re[j], row_im[j]
            for k in range(j + 1, i):
                a = plus_product(a, row_re[k], re[k, j])
                b = plus_product(b, row_re[k], im[k, j])
                a = minus_product(a, row_im[k], im[k, j])
                b = plus_product(b, row_im[k], re[k, j])
            re[i, j], im[i, j] = -a, -b
    return LaneMatrix(re, im), inverse_pivots


def swap_streams(where: NDArray[np.bool_], a: int, b: int, m: LaneMatrix) -> None:
    """Exchange streams a < b of a Hermitian matrix, given its lower triangle, in the lanes of `where`."""
    n = m.re.shape[0]

    def swap(i: tuple[int, int], j: tuple[int, int], conjugate: bool) -> None:
        sign = np.float32(-1 if conjugate else 1)
        for part, factor in ((m.re, np.float32(1)), (m.im, sign)):
            first, second = part[i].copy(), part[j].copy()
            part[i] = np.where(where, factor * second, first)
            part[j] = np.where(where, factor * first, second)

    for i in range(a):
        swap((a, i), (b, i), False)
    swap((a, a), (b, b), False)
    for i in range(a + 1, b):
        swap((i, a), (b, i), True)
    m.im[b, a] = np.where(where, -m.im[b, a], m.im[b, a])
    for i in range(b + 1, n):
        swap((i, a), (i, b), False)
