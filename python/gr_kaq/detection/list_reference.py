# SPDX-License-Identifier: GPL-3.0-or-later
"""The list detector in plain NumPy: the specification that every native kernel equals bit for bit.

docs/internals/list-detector.md has the algorithm. Lanes are channels and vectors: no operation mixes them, so that it
does not matter how many of them a register holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .expectation_propagation import gaussian_llrs, propagate
from .fused_products import clip, minimum, minus_product, plus_product
from .lane_matrices import LaneMatrix
from .list_model import ListModel
from .list_preparation import ListChannels
from .list_search import list_llrs, search
from .result import Detection, PreparedChannels

__all__ = ["ListReferenceChannels", "SoftSources", "fuse", "matched_and_rotated"]

WIDE_SPREAD = np.float32(16)
"""The spread from which on a list is wide, in LLRs."""
LARGEST_PART = np.float32(0.9)
"""Of a wide list's LLR: what the propagation's may be. The sign is then that of the best path's bit."""
LARGEST_SAMPLE = 1e9
"""Samples over the noise's standard deviation are clipped to this, so that no square overflows."""

Float = NDArray[np.float32]


class SoftSources:
    """What the LLRs of a detection are made of.

    Attributes:
        levels: int32 (N, C, T), the level indices of the best path, in the order of the search.
        of_list, of_propagation: float32 (N, bits_per_dimension, C, T), LLRs by either.
        spread: float32 (C, T), of the list, see `list_search.list_llrs`.
    """

    def __init__(self, model: ListModel, channels: ListChannels, y: NDArray[np.complex64]):
        matched, rotated = matched_and_rotated(channels, y)
        self.levels, self.of_list, self.spread = list_llrs(model, search(model, channels, rotated))
        mean_re, mean_im, precision = propagate(model, channels, matched, rotated)
        n, bits = mean_re.shape[0], model.constellation.bits_per_dimension
        self.of_propagation = np.empty((2 * n, bits, *mean_re.shape[1:]), np.float32)
        for q, mean in enumerate((mean_re, mean_im)):  # level 2 s + q is of place n - 1 - s
            self.of_propagation[q::2] = gaussian_llrs(model, mean, precision).swapaxes(0, 1)[::-1]


def matched_and_rotated(
    channels: ListChannels, y: NDArray[np.complex64]
) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
    """z = H'^H y' and L^-1 z, real and imaginary part (n, C, T) each; y is (C, T, num_rx)."""
    gain, scale = channels.gain[:, None], channels.scale[:, None]
    samples = np.moveaxis(y, -1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        re, im = (clip((part * gain) * scale, -LARGEST_SAMPLE, LARGEST_SAMPLE) for part in (samples.real, samples.imag))
    matched = _matched(channels.h, re, im)
    return matched, _rotated(channels.factor, *matched)


def fuse(model: ListModel, of_list: Float, of_propagation: Float, spread: Float) -> Float:
    """The LLR of each bit from those of both sources, (N, bits_per_dimension, C, T).

    Each source's weights are those for a narrow list plus `part` of what a wide one's differ by, and `part` grows with
    the spread from 0 to 1. A wide list decides the sign: at high SNR, expectation propagation is wrong more often.
    """
    part = minimum(spread * (np.float32(1) / WIDE_SPREAD), np.float32(1))
    certain = spread > WIDE_SPREAD
    weights = model.fusion_weights(of_list.shape[0] // 2)
    out = np.empty_like(of_list)
    for b in range(of_list.shape[1]):
        from_list = _curve(model, of_list[:, b], part, weights.list_narrow[b], weights.list_wide[b])
        from_propagation = _curve(
            model, of_propagation[:, b], part, weights.propagation_narrow[b], weights.propagation_wide[b]
        )
        limited = minimum(LARGEST_PART * from_list, from_propagation)
        from_propagation = np.where(certain, limited, from_propagation)
        out[:, b] = (np.float32(0) + _signed(from_list, of_list[:, b])) + _signed(
            from_propagation, of_propagation[:, b]
        )
    return out


def _curve(model: ListModel, llr: Float, part: Float, narrow: tuple[float, ...], wide: tuple[float, ...]) -> Float:
    """A source's contribution without its sign."""
    magnitude = np.abs(llr)
    curve = np.zeros_like(magnitude)
    for knot, low, high in zip(model.knots, narrow, wide, strict=True):
        weight = plus_product(np.float32(low), part, np.float32(high) - np.float32(low))
        curve = plus_product(curve, weight, minimum(np.float32(knot), magnitude))
    return curve


def _signed(magnitude: Float, sign: Float) -> Float:
    return np.copysign(np.float32(1), sign) * magnitude


class ListReferenceChannels(PreparedChannels):
    """C prepared channels of a list detector."""

    def __init__(self, model: ListModel, channels: ListChannels):
        self._model, self._channels = model, channels

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        model, channels = self._model, self._channels
        y = np.asarray(y, np.complex64)
        sources = SoftSources(model, channels, y)
        llrs = fuse(model, sources.of_list, sources.of_propagation, sources.spread)
        llrs = np.where(np.isfinite(llrs), llrs, np.float32(0))  # beyond single precision: it says nothing
        constellation = model.constellation
        n, num_levels = channels.order.shape[0], constellation.num_levels
        finite = np.isfinite(y).all(axis=-1)
        valid = finite & channels.known[:, None]
        # level 2 s + q of place p = n - 1 - s: (place, q, ...)
        by_place = llrs.reshape(n, 2, *llrs.shape[1:])[::-1]
        levels = sources.levels.reshape(n, 2, *sources.levels.shape[1:])[::-1]
        points = np.float32(constellation.half_distance) * (2 * levels - (num_levels - 1)).astype(np.float32)
        places = np.argsort(channels.order, axis=0)[:, :, None]
        symbols = np.take_along_axis(points[:, 0] + np.complex64(1j) * points[:, 1], places, axis=0)
        bits = np.stack([by_place[:, q, b] for b in range(llrs.shape[1]) for q in (0, 1)])
        soft = np.take_along_axis(bits, places[None], axis=1)
        return Detection(
            np.where(valid[..., None], np.moveaxis(symbols, 0, -1), 0).astype(np.complex64),
            np.where(valid[..., None, None], np.moveaxis(soft, (0, 1), (-1, -2)), 0).astype(np.float32),
            int(finite.size - np.count_nonzero(finite)),
        )


def _matched(h: LaneMatrix, y_re: Float, y_im: Float) -> tuple[Float, Float]:
    """z = H'^H y', (n, C, T)."""
    num_rx, n = h.re.shape[:2]
    re = np.zeros((n, *y_re.shape[1:]), np.float32)
    im = np.zeros_like(re)
    for r in range(num_rx):
        a, b = h.re[r][..., None], h.im[r][..., None]
        re = plus_product(re, a, y_re[r])
        im = plus_product(im, a, y_im[r])
        re = plus_product(re, b, y_im[r])
        im = minus_product(im, b, y_re[r])
    return re, im


def _rotated(factor: LaneMatrix, z_re: Float, z_im: Float) -> tuple[Float, Float]:
    """L^-1 z, (n, C, T)."""
    re, im = z_re.copy(), z_im.copy()
    for i in range(re.shape[0]):
        for k in range(i):
            a, b = factor.re[i, k][:, None], factor.im[i, k][:, None]
            re[i] = minus_product(re[i], a, re[k])
            im[i] = minus_product(im[i], a, im[k])
            re[i] = plus_product(re[i], b, im[k])
            im[i] = minus_product(im[i], b, re[k])
        diagonal = factor.re[i, i][:, None]
        re[i] *= diagonal
        im[i] *= diagonal
    return re, im
