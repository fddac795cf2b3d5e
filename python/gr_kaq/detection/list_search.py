# SPDX-License-Identifier: GPL-3.0-or-later
"""K-best search over the levels of the real-valued model; the specification of lib/detection/list_search.h.

A path holds the index u of each level, l = 2 u - (L - 1). Its metric is the squared distance |y' - H' l|^2 but for a
constant, with what the regularization added taken off: a^2 |l|^2 for each level (Studer and Boelcskei, IEEE Trans. IT
57(2), 2011, have the unbiased form). Each level expands every path to its nearest levels and keeps the K best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fused_products import clip, minus_product, plus_product
from .list_model import ListModel
from .list_preparation import ListChannels

__all__ = ["NO_PATH", "list_llrs", "search"]

Float = NDArray[np.float32]
Int = NDArray[np.int32]

NO_PATH = np.float32(1e30)
"""The metric where there is no path."""


def num_children(level: int, num_levels: int) -> int:
    """How many of the nearest levels each path is expanded to: all for the first one, two from the third one on."""
    return num_levels if level == 0 else min(num_levels, 4) if level == 1 else 2


def search(model: ListModel, channels: ListChannels, rotated: tuple[Float, Float]) -> tuple[Float, Int]:
    """The K best paths that the search finds.

    Args:
        channels: C prepared channels.
        rotated: real and imaginary part of L^-1 H'^H y', (n, C, T) each.

    Returns:
        Metrics (K, C, T), with the last step's choices in their lowest bits, and level indices (N, K, C, T).
    """
    survivors, num_levels = model.survivors, model.constellation.num_levels
    highest = np.float32(num_levels - 1)
    half_distance = np.float32(model.constellation.half_distance)
    prior4 = np.float32(4) * (half_distance * half_distance)
    level_bits = model.constellation.bits_per_dimension
    parent_bits = survivors.bit_length() - 1
    low = (1 << (level_bits + parent_bits)) - 1
    n = rotated[0].shape[0]
    shape = rotated[0].shape[1:]
    paths = np.zeros((2 * n, 1, *shape), np.int32)
    metric = np.zeros((1, *shape), np.float32)
    for level in range(2 * n):
        p, q = n - 1 - level // 2, level % 2
        r, gain = channels.diagonal[p][:, None], channels.index_gain[p][:, None]
        base = rotated[q][p] + channels.offset[level][:, None]
        residual = _residual(channels, level, base, paths)  # about 2 R_pp u
        children = num_children(level, num_levels)
        place = plus_product(channels.index_offset[p][:, None] - np.float32(children // 2 - 1), residual, gain)
        index = clip(place, 0.0, num_levels - children).astype(np.int32)
        first = index.astype(np.float32)
        r2 = np.float32(2) * r
        distance = minus_product(residual, r2, first)
        parent = np.arange(metric.shape[0], dtype=np.int32)[:, None, None] << level_bits
        keys = []
        for child in range(children):
            u = first + np.float32(child)
            of_child = plus_product(metric, distance, distance)
            if num_levels > 2:  # the outer levels of QPSK are all there are
                of_child = of_child + prior4 * (u * (highest - u))
            keys.append((of_child.view(np.int32) & ~low) | parent | (index + child))
            distance = distance - r2
        metric = keep_best(np.concatenate(keys).view(np.float32), survivors)
        chosen = metric.view(np.int32)
        paths = np.take_along_axis(paths, ((chosen & low) >> level_bits)[None], axis=1)
        paths[level] = chosen & (num_levels - 1)
        metric = chosen.view(np.float32)
    missing = survivors - metric.shape[0]
    if missing > 0:  # fewer than K points in all
        metric = np.concatenate([metric, np.full((missing, *shape), NO_PATH)])
        paths = np.concatenate([paths, np.zeros((2 * n, missing, *shape), np.int32)], axis=1)
    return metric, paths


def keep_best(metrics: Float, survivors: int) -> Float:
    """The `survivors` smallest of (M, ...), in the order in which the kernels leave them; all, if there are no more.

    Groups of `survivors` are sorted. The smaller ones of two sorted groups are the pairwise minima of one and the
    reversed other.
    """
    if metrics.shape[0] <= survivors:
        return metrics
    groups = metrics.reshape(-1, survivors, *metrics.shape[1:])
    groups = np.sort(groups, axis=1)
    best = groups[0]
    for i, group in enumerate(groups[1:]):
        if i:
            best = np.sort(best, axis=0)
        best = np.minimum(best, group[::-1])
    return best


def _residual(channels: ListChannels, level: int, base: Float, paths: Int) -> Float:
    """(P, C, T): what is left of `base` after the interference of the levels before."""
    before = paths[:level]
    if channels.entries is None:
        # the largest part of the interference was added with the offset: 2 u = l + (L - 1)
        coefficients = channels.coefficients[level, :level]
        return (base - 2 * np.einsum("mc,mpct->pct", coefficients, before.astype(np.float32))).astype(np.float32)
    total = np.einsum("mc,mpct->pct", channels.entries[level, :level], before).astype(np.float32)
    unit = np.float32(-2) * channels.unit[channels.unit.shape[0] - 1 - level // 2]
    return plus_product(base, unit[:, None], total)


def list_llrs(model: ListModel, metric: Float, paths: Int) -> tuple[Int, Float, Float]:
    """The best path, and the LLRs of its bits by the list.

    Returns:
        Level indices (N, C, T); LLRs (N, bits_per_dimension, C, T); and the list's spread (C, T), by how much the worst
        path's metric is larger than the best one's. Where all paths agree about a bit, nothing was found to compare
        with, and its LLR is as large as the spread.
    """
    best = worst = metric[0]
    winner = np.zeros(best.shape, np.int32)
    for i in range(1, metric.shape[0]):
        better = metric[i] < best
        best, winner = np.where(better, metric[i], best), np.where(better, i, winner)
        worst = np.where((metric[i] > worst) & (metric[i] < NO_PATH), metric[i], worst)
    spread = worst - best
    chosen = np.take_along_axis(paths, winner[None, None], axis=1)[:, 0]
    gray, gray_paths = gray_code(chosen), gray_code(paths)
    bits = model.constellation.bits_per_dimension
    out = np.empty((chosen.shape[0], bits, *best.shape), np.float32)
    for b in range(bits):
        differs = ((gray[:, None] ^ gray_paths) >> (bits - 1 - b)) & 1
        other = np.where(differs == 1, metric, NO_PATH).min(axis=1)
        magnitude = np.where(other < NO_PATH, other - best, spread)
        # a bit is the complement of the Gray code's (TS 38.211 section 5.1): the lowest index has ones
        out[:, b] = np.where((gray >> (bits - 1 - b)) & 1, -magnitude, magnitude)
    return chosen, out, spread


def gray_code(u: Int) -> Int:
    """The binary-reflected Gray code of a level index; bits of the constellation are its complement."""
    return u ^ (u >> 1)
