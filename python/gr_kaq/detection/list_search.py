# SPDX-License-Identifier: GPL-3.0-or-later
"""K-best search over the levels of the real-valued model; the specification of lib/detection/list_search.h.

A path holds the index u of each level, l = 2 u - (L - 1). Its metric is the squared distance |y' - H' l|^2 but for a
constant, with what the regularization added taken off: a^2 |l|^2 for each level (Studer and Boelcskei, IEEE Trans. IT
56(10), 2010, have the unbiased form). Each level expands every path to its nearest levels and keeps the K best. The two
levels of the last stream do not depend on each other, and nothing depends on them: each survivor tries all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fused_products import clip, minus_product, plus_product
from .list_model import ListModel
from .list_preparation import ListChannels

__all__ = ["NO_PATH", "Survivors", "list_llrs", "search"]

Float = NDArray[np.float32]
Int = NDArray[np.int32]

NO_PATH = np.float32(1e30)
"""The metric where there is no path."""


@dataclass(frozen=True)
class Survivors:
    """What the search leaves. N levels, of which the last stream has two.

    Attributes:
        metrics: (K, C, T), of each survivor with its best levels of the last stream.
        paths: (N - 2, K, C, T), level indices of the other streams.
        last: (2, bits_per_dimension, 2, C, T): the least metric of all survivors where this bit of the Gray code of
            the last stream's level has this value.
    """

    metrics: Float
    paths: Int
    last: Float


def num_children(level: int, num_levels: int, survivors: int) -> int:
    """How many of the nearest levels each path is expanded to: all for the first one, then four, and then two.

    Four are for the second level, and with 16 survivors for the third and the fourth, too: correlated channels need it.
    """
    if level == 0:
        return num_levels
    return min(num_levels, 4) if level <= (3 if survivors == 16 else 1) else 2


def search(model: ListModel, channels: ListChannels, rotated: tuple[Float, Float]) -> Survivors:
    """The K best paths that the search finds.

    Args:
        channels: C prepared channels.
        rotated: real and imaginary part of L^-1 H'^H y', (n, C, T) each.
    """
    survivors, num_levels = model.survivors, model.constellation.num_levels
    level_bits = model.constellation.bits_per_dimension
    parent_bits = survivors.bit_length() - 1
    low = (1 << (level_bits + parent_bits)) - 1
    prior = level_priors(model)
    n = rotated[0].shape[0]
    shape = rotated[0].shape[1:]
    paths = np.zeros((2 * n - 2, 1, *shape), np.int32)
    metric = np.zeros((1, *shape), np.float32)
    for level in range(2 * n - 2):
        p = n - 1 - level // 2
        r2, gain = np.float32(2) * channels.diagonal[p][:, None], channels.index_gain[p][:, None]
        residual = _residual(channels, level, rotated, paths)
        children = num_children(level, num_levels, survivors)
        place = plus_product(channels.index_offset[p][:, None] - np.float32(children // 2 - 1), residual, gain)
        index = clip(place, 0.0, num_levels - children).astype(np.int32)
        distance = minus_product(residual, r2, index.astype(np.float32))
        parent = np.arange(metric.shape[0], dtype=np.int32)[:, None, None] << level_bits
        keys = []
        for child in range(children):
            of_child = plus_product(metric, distance, distance)
            if num_levels > 2:  # the outer levels of QPSK are all there are
                of_child = of_child + prior[index + child]
            keys.append((of_child.view(np.int32) & ~low) | parent | (index + child))
            distance = distance - r2
        metric = keep_best(np.concatenate(keys).view(np.float32), survivors)
        chosen = metric.view(np.int32)
        paths = np.take_along_axis(paths, ((chosen & low) >> level_bits)[None], axis=1)
        paths[level] = chosen & (num_levels - 1)
        metric = chosen.view(np.float32)
    return _with_last_stream(model, channels, rotated, metric, paths)


def level_priors(model: ListModel) -> Float:
    """What the regularization took from each level, 4 a^2 u (L - 1 - u), but for a constant; (L,)."""
    half_distance = np.float32(model.constellation.half_distance)
    u = np.arange(model.constellation.num_levels)
    return np.float32(4) * (half_distance * half_distance) * (u * u[::-1]).astype(np.float32)


def _with_last_stream(
    model: ListModel, channels: ListChannels, rotated: tuple[Float, Float], metric: Float, paths: Int
) -> Survivors:
    """Each survivor with all levels of the last stream."""
    num_levels, bits = model.constellation.num_levels, model.constellation.bits_per_dimension
    prior = level_priors(model)
    gray = gray_code(np.arange(num_levels))
    r2 = np.float32(2) * channels.diagonal[0][:, None]
    nearest, by_bit = [], []
    for q in (0, 1):
        residual = _residual(channels, paths.shape[0] + q, rotated, paths)
        distances = []
        for u in range(num_levels):
            distance = minus_product(residual, r2, np.float32(u))
            distances.append(plus_product(prior[u], distance, distance))
        nearest.append(np.minimum.reduce(distances))
        by_bit.append(
            [
                [
                    np.minimum.reduce([d for u, d in enumerate(distances) if gray[u] >> (bits - 1 - b) & 1 == v])
                    for v in (0, 1)
                ]
                for b in range(bits)
            ]
        )
    last = np.empty((2, bits, 2, *metric.shape[1:]), np.float32)
    for q in (0, 1):
        others = metric + nearest[1 - q]
        for b in range(bits):
            for value in (0, 1):
                last[q, b, value] = (others + by_bit[q][b][value]).min(axis=0)
    metrics = (metric + nearest[0]) + nearest[1]
    missing = model.survivors - metrics.shape[0]
    if missing > 0:  # fewer than K points in all
        metrics = np.concatenate([metrics, np.full((missing, *metrics.shape[1:]), NO_PATH)])
        paths = np.concatenate([paths, np.zeros((paths.shape[0], missing, *metrics.shape[1:]), np.int32)], axis=1)
    return Survivors(metrics, paths, last)


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


def _residual(channels: ListChannels, level: int, rotated: tuple[Float, Float], paths: Int) -> Float:
    """(P, C, T): about 2 R_pp u, once the interference of the levels before is taken off."""
    p = channels.diagonal.shape[0] - 1 - level // 2
    base = rotated[level % 2][p] + channels.offset[level][:, None]
    before = paths[:level]
    if channels.entries is None:
        coefficients = channels.coefficients[level, : before.shape[0]]
        return (base - 2 * np.einsum("mc,mpct->pct", coefficients, before.astype(np.float32))).astype(np.float32)
    entries = channels.entries[level, : before.shape[0]]
    total = np.einsum("mc,mpct->pct", entries, before).astype(np.float32)
    return plus_product(base, (np.float32(-2) * channels.unit[p])[:, None], total)


def list_llrs(model: ListModel, survivors: Survivors) -> tuple[Int, Float, Float]:
    """The best path, and the LLRs of its bits by the list.

    Returns:
        Level indices (N, C, T); LLRs (N, bits_per_dimension, C, T); and the list's spread (C, T), by how much the worst
        path's metric is larger than the best one's. Where all paths agree about a bit, nothing was found to compare
        with, and its LLR is as large as the spread.
    """
    metrics, paths, last = survivors.metrics, survivors.paths, survivors.last
    best = worst = metrics[0]
    winner = np.zeros(best.shape, np.int32)
    for i in range(1, metrics.shape[0]):
        better = metrics[i] < best
        best, winner = np.where(better, metrics[i], best), np.where(better, i, winner)
        worst = np.where((metrics[i] > worst) & (metrics[i] < NO_PATH), metrics[i], worst)
    spread = worst - best
    bits = model.constellation.bits_per_dimension
    num_others = paths.shape[0]
    levels = np.empty((num_others + 2, *best.shape), np.int32)
    out = np.empty((num_others + 2, bits, *best.shape), np.float32)
    levels[:num_others] = np.take_along_axis(paths, winner[None, None], axis=1)[:, 0]
    gray, gray_paths = gray_code(levels[:num_others]), gray_code(paths)
    for b in range(bits):
        differs = ((gray[:, None] ^ gray_paths) >> (bits - 1 - b)) & 1
        other = np.where(differs == 1, metrics, NO_PATH).min(axis=1)
        magnitude = np.where(other < NO_PATH, other - best, spread)
        # a bit is the complement of the Gray code's (TS 38.211 section 5.1): the lowest index has ones
        out[:num_others, b] = np.where((gray >> (bits - 1 - b)) & 1, -magnitude, magnitude)
    for q in (0, 1):
        u = value = np.zeros(best.shape, np.int32)
        for b in range(bits):
            value = value ^ (last[q, b, 1] < last[q, b, 0])  # from the Gray code, the highest bit first
            u = 2 * u + value
            out[num_others + q, b] = last[q, b, 1] - last[q, b, 0]
        levels[num_others + q] = u
    return levels, out, spread


def gray_code(u: Int) -> Int:
    """The binary-reflected Gray code of a level index; bits of the constellation are its complement."""
    return u ^ (u >> 1)
