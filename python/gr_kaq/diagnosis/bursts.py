# SPDX-License-Identifier: GPL-3.0-or-later
"""Where something is on the air: stretches of samples with more power than the quiet ones between them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_powers", "find_bursts"]

QUIET_SHARE = 0.1  # of the blocks, which say how strong the noise is
LEAST_RATIO = 3.0  # over the noise, mean of the antennas
MOST_GAP = 3  # blocks, within a burst
NEIGHBOURHOOD = 256  # blocks: noise is that of three of these


def block_powers(samples: NDArray[np.complex64], length: int) -> NDArray[np.float64]:
    """Mean power of blocks of so many samples, (n, num_rx), of samples (num_rx, at least n * length)."""
    count = samples.shape[1] // length
    blocks = samples[:, : count * length].reshape(len(samples), count, length)
    power = np.einsum("abn,abn->ba", blocks.real, blocks.real, dtype=np.float64)
    power += np.einsum("abn,abn->ba", blocks.imag, blocks.imag, dtype=np.float64)
    return np.nan_to_num(power / length, posinf=0.0)


def find_bursts(powers: Iterable[NDArray[np.float64]], least_blocks: int) -> list[tuple[int, int]]:
    """First block of each burst, and the one behind its last.

    Where something is on the air all the time, nothing stands out, and there is no burst.

    Args:
        powers: of blocks, (n, num_rx), one after the other.
        least_blocks: what is shorter is no burst.
    """
    power = np.concatenate(list(powers))
    loud = np.zeros(len(power), bool)
    for first in range(0, len(power), NEIGHBOURHOOD):
        around = power[max(0, first - NEIGHBOURHOOD) : first + 2 * NEIGHBOURHOOD]  # gains may change later
        floor = np.quantile(around, QUIET_SHARE, axis=0)
        floor = np.where(floor > 0, floor, around.mean(axis=0) / 100)  # zeros in between are quiet, too
        alive = floor > 0
        if alive.any():
            here = slice(first, first + NEIGHBOURHOOD)
            loud[here] = np.mean(power[here, alive] / floor[alive], axis=1) > LEAST_RATIO
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]])))
    bursts: list[tuple[int, int]] = []
    for first, stop in edges.reshape(-1, 2).tolist():
        if bursts and first - bursts[-1][1] <= MOST_GAP:
            bursts[-1] = bursts[-1][0], stop
        else:
            bursts.append((first, stop))
    return [(first, stop) for first, stop in bursts if stop - first >= least_blocks]
