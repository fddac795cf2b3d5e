# SPDX-License-Identifier: GPL-3.0-or-later
"""Unfolded expectation propagation; the specification of lib/detection/list_propagation.h.

After Cespedes et al., "Expectation propagation detection for high-order high-dimensional MIMO systems", IEEE Trans.
Communications 62(8), 2014. Each stream has a Gaussian site, of precision Lambda and mean gamma / Lambda, which stands
for its constellation: first the prior, then, layer after layer, what takes the moments of the stream's marginal to
those of its posterior over the constellation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fused_products import clip, exponential, maximum, minimum, minus_product, plus_product
from .lane_matrices import LaneMatrix, inverse_unit_factor
from .list_model import ListModel
from .list_preparation import LEAST_PRECISION, ListChannels

__all__ = ["gaussian_llrs", "propagate"]

Float = NDArray[np.float32]

LEAST_WEIGHT = np.float32(1e-18)
"""Weights of levels are at least this, and products of two of them normal numbers."""
LARGEST_EXPONENT = np.float32(40)
"""Of a weight. It is positive only for levels that do not exist, beyond the outermost one."""


def propagate(
    model: ListModel, channels: ListChannels, matched: tuple[Float, Float], rotated: tuple[Float, Float]
) -> tuple[Float, Float, Float]:
    """What the streams are known to be without their own constellation: l ~ CN(mean, 1 / precision).

    Args:
        matched: real and imaginary part of z = H'^H y', (n, C, T) each, in the order of the factor.
        rotated: of L^-1 z.

    Returns:
        Real and imaginary part of the mean, and the precision; (n, C, T) each.
    """
    half_distance = np.float32(model.constellation.half_distance)
    prior = half_distance * half_distance
    n = matched[0].shape[0]
    estimate_re, estimate_im = _back_substituted(channels.factor, rotated)
    gain = channels.mean_gain[:, :, None]
    mean_re, mean_im = estimate_re * gain, estimate_im * gain
    precision = np.broadcast_to(channels.precision[:, :, None], mean_re.shape)
    site, site_re, site_im = np.full_like(mean_re, prior), np.zeros_like(mean_re), np.zeros_like(mean_re)
    for layer in model.layers:
        damping = np.float32(layer.damping)
        least_variance = np.float32(layer.least_variance) / prior
        re, variance_re = posterior(model, mean_re, precision)
        im, variance_im = posterior(model, mean_im, precision)
        inverse = np.float32(1) / maximum(variance_re + variance_im, least_variance)
        target = inverse - precision
        usable = target > 0
        new_re = minus_product(re * inverse, mean_re, precision)
        new_im = minus_product(im * inverse, mean_im, precision)
        site = np.where(usable, plus_product(site, damping, target - site), site)
        site_re = np.where(usable, plus_product(site_re, damping, new_re - site_re), site_re)
        site_im = np.where(usable, plus_product(site_im, damping, new_im - site_im), site_im)

        lanes = site.shape[1:]
        matrix = LaneMatrix(*(np.broadcast_to(part[..., None], (n, n, *lanes)).copy() for part in channels.gram))
        for i in range(n):
            matrix.re[i, i] += site[i]
        inverse_factor, inverse_pivots = inverse_unit_factor(matrix)
        right_re, right_im = matched[0] + site_re, matched[1] + site_im
        solved_re, solved_im, variance = _solved(inverse_factor, inverse_pivots, right_re, right_im)
        inverse = np.float32(1) / variance
        precision = maximum(inverse - site, LEAST_PRECISION)
        spread = np.float32(1) / precision
        mean_re = spread * (solved_re * inverse - site_re)
        mean_im = spread * (solved_im * inverse - site_im)
    return mean_re, mean_im, precision


def posterior(model: ListModel, mean: Float, precision: Float) -> tuple[Float, Float]:
    """Mean and variance of a PAM level l, given that mean = l + noise of variance 1 / (2 precision)."""
    num_levels = model.constellation.num_levels
    highest = np.float32(num_levels - 1)
    index = clip(plus_product(highest * np.float32(0.5) + np.float32(0.5), mean, np.float32(0.5)), 0, num_levels - 1)
    index = index.astype(np.int32)
    centre = np.float32(2) * index.astype(np.float32) - highest
    offset = mean - centre
    slope = np.float32(-4) * precision
    # weights of the next level up, and down, over the nearest one's; and what they shrink by from level to level
    up = exponential(minimum(slope * (np.float32(1) - offset), LARGEST_EXPONENT))
    down = exponential(minimum(slope * (np.float32(1) + offset), LARGEST_EXPONENT))
    shrink = maximum(up * down, LEAST_WEIGHT)
    total, first, second = np.ones_like(mean), np.zeros_like(mean), np.zeros_like(mean)
    weight_up, ratio_up, weight_down, ratio_down = up, up, down, down
    with np.errstate(over="ignore", invalid="ignore"):  # of levels that do not exist
        for step in range(1, num_levels):
            if step > 1:
                ratio_up, ratio_down = (
                    maximum(ratio_up * shrink, LEAST_WEIGHT),
                    maximum(ratio_down * shrink, LEAST_WEIGHT),
                )
                weight_up = maximum(weight_up * ratio_up, LEAST_WEIGHT)
                weight_down = maximum(weight_down * ratio_down, LEAST_WEIGHT)
            above = np.where(index <= num_levels - 1 - step, weight_up, np.float32(0))
            below = np.where(index >= step, weight_down, np.float32(0))
            both = above + below
            total = total + both
            first = plus_product(first, np.float32(2 * step), above - below)
            second = plus_product(second, np.float32(4 * step * step), both)
    inverse = np.float32(1) / total
    shift = first * inverse
    return centre + shift, minus_product(second * inverse, shift, shift)


def gaussian_llrs(model: ListModel, mean: Float, precision: Float) -> Float:
    """Max-log LLRs of a PAM level's bits, ln P(b=1) / P(b=0), from l ~ N(mean, 1 / (2 precision)).

    Returns:
        (bits_per_dimension, ...).
    """
    levels, bits = model.constellation.levels, model.constellation.level_bits
    distances = [(mean - np.float32(level)) * (mean - np.float32(level)) for level in levels]
    out = []
    for b in range(bits.shape[1]):
        nearest = []
        for value in (0, 1):
            candidates = [d for d, of_level in zip(distances, bits[:, b], strict=True) if of_level == value]
            least = candidates[0]
            for candidate in candidates[1:]:
                least = minimum(candidate, least)
            nearest.append(least)
        out.append(precision * (nearest[0] - nearest[1]))
    return np.stack(out)


def _back_substituted(factor: LaneMatrix, rotated: tuple[Float, Float]) -> tuple[Float, Float]:
    """L^-H rotated: the linear estimate."""
    n = factor.re.shape[0]
    re, im = rotated[0].copy(), rotated[1].copy()
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):  # minus conj(L_ki) x_k
            a, b = factor.re[k, i][:, None], factor.im[k, i][:, None]
            re[i] = minus_product(re[i], a, re[k])
            im[i] = minus_product(im[i], a, im[k])
            re[i] = minus_product(re[i], b, im[k])
            im[i] = plus_product(im[i], b, re[k])
        diagonal = factor.re[i, i][:, None]
        re[i] *= diagonal
        im[i] *= diagonal
    return re, im


def _solved(
    inverse_factor: LaneMatrix, inverse_pivots: Float, right_re: Float, right_im: Float
) -> tuple[Float, Float, Float]:
    """X^H E X right and the diagonal of X^H E X, for the unit lower triangular X and the diagonal E."""
    n = right_re.shape[0]
    half_re, half_im = np.zeros_like(right_re), np.zeros_like(right_re)
    for i in range(n):
        half_re[i], half_im[i] = right_re[i], right_im[i]
        for k in range(i):
            a, b = inverse_factor.re[i, k], inverse_factor.im[i, k]
            half_re[i] = plus_product(half_re[i], a, right_re[k])
            half_im[i] = plus_product(half_im[i], a, right_im[k])
            half_re[i] = minus_product(half_re[i], b, right_im[k])
            half_im[i] = plus_product(half_im[i], b, right_re[k])
        half_re[i], half_im[i] = half_re[i] * inverse_pivots[i], half_im[i] * inverse_pivots[i]
    re, im, diagonal = np.zeros_like(right_re), np.zeros_like(right_re), np.zeros_like(right_re)
    for i in range(n):
        re[i], im[i], diagonal[i] = half_re[i], half_im[i], inverse_pivots[i]
        for k in range(i + 1, n):
            a, b = inverse_factor.re[k, i], inverse_factor.im[k, i]
            re[i] = plus_product(re[i], a, half_re[k])
            im[i] = plus_product(im[i], a, half_im[k])
            re[i] = plus_product(re[i], b, half_im[k])
            im[i] = minus_product(im[i], b, half_re[k])
            square = plus_product(a * a, b, b)
            diagonal[i] = plus_product(diagonal[i], square, inverse_pivots[k])
    return re, im, diagonal
