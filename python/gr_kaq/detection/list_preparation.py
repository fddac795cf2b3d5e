# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list detector needs once per channel estimate: order of detection, ordered factor, quantized rows.

    y = H a l + n,    l: odd integers, a: half the distance between PAM levels, n ~ CN(0, noise_var I)

Everything is in units of the noise's standard deviation: H' = a H / sqrt(noise_var) and y' = y / sqrt(noise_var), so
that squared distances are log-likelihoods. A = H'^H H' + a^2 I includes the prior of the levels, whose energy is
1 / a^2. The streams are put into V-BLAST's order (Wolniansky et al., ISSSE 1998): the last one is detected first, and
each has the smallest error variance of those that are left. L L^H = A is the ordered factor, and R = L^H.

This is the specification of lib/detection/list_preparation.h: operations of single precision, in a stated order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fused_products import maximum, minimum, minus_product, plus_product, round_to_int
from .lane_matrices import LaneMatrix, cholesky_factor, gram_matrix, invert_factor, swap_streams
from .list_model import LARGEST_ENTRY, ListModel

__all__ = ["ListChannels", "prepare_list"]

Float = NDArray[np.float32]
Int = NDArray[np.int32]

LOADING = np.float32(1 + 1e-5)
"""The Gram matrix's diagonal is multiplied by this, which is more than what rounding takes from a singular matrix."""
LEAST_GAP = np.float32(1e-3)
"""R_pp^2 - a^2 is taken to be at least this times a^2: it is 0 for a stream that does not arrive."""
LEAST_PRECISION = np.float32(1e-6)
"""Least precision of what expectation propagation knows of a stream."""


@dataclass(frozen=True)
class ListChannels:
    """C prepared channels; streams in the order of the factor, the last detected first. n = num_tx, N = 2 n levels.

    Attributes:
        known: (C,), whether anything is known of the channel (H is not zero).
        gain: (C,), a power of two that H and y are multiplied by first.
        scale: (C,), 1 / sqrt(noise_var) after that.
        order: (n, C), the stream at each place.
        h: (num_rx, n, C), H'.
        gram: (n, n, C), lower triangle of H'^H H', with a loaded diagonal.
        factor: (n, n, C), L with 1 / L_pp on the diagonal.
        diagonal: (n, C), R_pp.
        index_gain: (n, C): a residual of R_pp l, times this, is l / 2 on the average.
        index_offset: (n, C), what then makes an index of it, see `offset`.
        precision, mean_gain: (n, C): what the linear estimate mu knows of a stream beyond the prior is
            l ~ CN(mean_gain mu, 1 / precision).
        entries: (N, N, C): integers, row q of level m times `unit` is what each earlier level adds to its residual;
            None for a full-precision model.
        coefficients: (N, N, C), the same unquantized.
        unit: (n, C), step of the two rows of a place.
        offset: (N, C): R_pp (L - 1) and what the interference is with indices in place of levels, so that a residual
            is about 2 R_pp u for an index u.
    """

    known: NDArray[np.bool_]
    gain: Float
    scale: Float
    order: Int
    h: LaneMatrix
    gram: LaneMatrix
    factor: LaneMatrix
    diagonal: Float
    index_gain: Float
    index_offset: Float
    precision: Float
    mean_gain: Float
    entries: Int | None
    coefficients: Float
    unit: Float
    offset: Float


def prepare_list(model: ListModel, h: NDArray[np.complex64], gain: Float, noise_var: Float) -> ListChannels:
    """Prepare `model` for C channels.

    Args:
        h: (C, num_rx, num_tx).
        gain, noise_var: (C,), from `channel_levels`.
    """
    half_distance = np.float32(model.constellation.half_distance)
    prior = half_distance * half_distance
    lanes = np.moveaxis(np.asarray(h, np.complex64), 0, -1)
    scale = np.float32(1) / np.sqrt(noise_var)
    level_scale = half_distance * scale
    channel = LaneMatrix((lanes.real * gain) * level_scale, (lanes.imag * gain) * level_scale)
    n = lanes.shape[1]
    gram = gram_matrix(channel)
    for i in range(n):
        gram.re[i, i] *= LOADING

    order, variance = _order(gram, prior)
    h_sorted = _permuted(channel, order)
    regularized = gram.copy()
    for i in range(n):
        regularized.re[i, i] += prior
    factor = cholesky_factor(regularized)
    diagonal = np.stack([np.float32(1) / factor.re[p, p] for p in range(n)])
    index_gain = np.float32(0.5) * diagonal / maximum(diagonal * diagonal - prior, LEAST_GAP * prior)
    inverse = np.float32(1) / variance
    precision = maximum(inverse - prior, LEAST_PRECISION)
    coefficients = _coefficients(factor)
    entries, unit, offset = _quantized(model, factor, coefficients)
    highest = np.float32(model.constellation.num_levels - 1)
    outermost = highest * diagonal  # R_pp times the highest level
    for level in range(2 * n):
        offset[level] = offset[level] + outermost[n - 1 - level // 2]
    index_offset = minus_product(highest * np.float32(0.5), outermost, index_gain)
    return ListChannels(
        known=gain > 0,
        gain=gain,
        scale=scale,
        order=order,
        h=h_sorted,
        gram=gram,
        factor=factor,
        diagonal=diagonal,
        index_gain=index_gain,
        index_offset=index_offset,
        precision=precision,
        mean_gain=inverse / precision,
        entries=entries,
        coefficients=coefficients,
        unit=unit,
        offset=offset,
    )


def _order(gram: LaneMatrix, prior: np.float32) -> tuple[Int, Float]:
    """Put the streams of `gram` into V-BLAST's order. Returns the order (n, C) and the error variances (n, C).

    The covariance of the errors is (gram + prior I)^-1. Once a stream is decided, what is left of the others' is the
    Schur complement.
    """
    n = gram.re.shape[0]
    regularized = gram.copy()
    for i in range(n):
        regularized.re[i, i] += prior
    covariance = gram_matrix(invert_factor(cholesky_factor(regularized)), triangular=True)
    variance = np.stack([covariance.re[i, i] for i in range(n)])
    order = np.empty_like(variance, np.int32)
    order[...] = np.arange(n)[:, None]
    for last in range(n - 1, 0, -1):
        best, place = covariance.re[last, last], np.full(order.shape[1:], last)
        for i in range(last):
            smaller = covariance.re[i, i] < best
            best, place = np.where(smaller, covariance.re[i, i], best), np.where(smaller, i, place)
        for i in range(last):
            better = place == i
            swap_streams(better, i, last, covariance)
            swap_streams(better, i, last, gram)
            for values in (order, variance):
                first, second = values[i].copy(), values[last].copy()
                values[i], values[last] = np.where(better, second, first), np.where(better, first, second)
        inverse = np.float32(1) / covariance.re[last, last]
        for i in range(last):
            # minus conj(row) row / pivot
            by_re, by_im = covariance.re[last, i] * inverse, covariance.im[last, i] * inverse
            for j in range(i + 1):
                re, im = covariance.re[last, j], covariance.im[last, j]
                covariance.re[i, j] = minus_product(covariance.re[i, j], by_re, re)
                covariance.im[i, j] = minus_product(covariance.im[i, j], by_re, im)
                covariance.re[i, j] = minus_product(covariance.re[i, j], by_im, im)
                covariance.im[i, j] = plus_product(covariance.im[i, j], by_im, re)
    return order, variance


def _permuted(h: LaneMatrix, order: Int) -> LaneMatrix:
    """Columns of h in this order."""
    columns = np.broadcast_to(order, h.re.shape)
    return LaneMatrix(*(np.take_along_axis(part, columns, axis=1) for part in h))


def _coefficients(factor: LaneMatrix) -> Float:
    """What each earlier level adds to the residual of a level, (N, N, C).

    Level m = 2 s + q is the real (q = 0) or imaginary part of place p = n - 1 - s. The interference is R_pj l_j over
    the places j > p, and R_pj = conj(L_jp).
    """
    n = factor.re.shape[0]
    out = np.zeros((2 * n, 2 * n, *factor.re.shape[2:]), np.float32)
    for p in range(n):
        for j in range(p + 1, n):
            row, column = 2 * (n - 1 - p), 2 * (n - 1 - j)
            out[row, column] = out[row + 1, column + 1] = factor.re[j, p]
            out[row, column + 1] = factor.im[j, p]
            out[row + 1, column] = -factor.im[j, p]
    return out


def _quantized(model: ListModel, factor: LaneMatrix, coefficients: Float) -> tuple[Int | None, Float, Float]:
    """Integer rows, their units (n, C), and the offsets (N, C)."""
    n = factor.re.shape[0]
    highest = model.constellation.num_levels - 1
    num_levels = coefficients.shape[0]
    if model.matrix_bits is None:
        offset = np.float32(highest) * coefficients.sum(axis=1)
        return None, np.ones((n, *factor.re.shape[2:]), np.float32), offset
    alpha, gamma = np.float32(model.step.alpha), np.float32(model.step.gamma)
    entries = np.zeros(coefficients.shape, np.int32)
    unit, offset = np.empty((n, *factor.re.shape[2:]), np.float32), np.empty_like(coefficients[:, 0])
    for p in range(n):
        row = 2 * (n - 1 - p)
        largest = np.zeros_like(unit[p])
        for j in range(p + 1, n):
            largest = maximum(maximum(np.abs(factor.re[j, p]), np.abs(factor.im[j, p])), largest)
        unit[p] = maximum(minimum(alpha, gamma * largest), largest * np.float32(1 / model.largest_entry))
        unit[p] = maximum(unit[p], np.float32(1e-30))
        inverse = np.float32(1) / unit[p]
        for m in (row, row + 1):
            entries[m] = round_to_int(coefficients[m] * inverse)
            total = entries[m].sum(axis=0, dtype=np.int32).astype(np.float32)
            offset[m] = (np.float32(highest) * unit[p]) * total
    assert num_levels == 2 * n and np.abs(entries).max(initial=0) <= LARGEST_ENTRY
    return entries, unit, offset
