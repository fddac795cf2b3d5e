# SPDX-License-Identifier: GPL-3.0-or-later
"""The Doppler of each stream, from pairs of training symbols within a frame and over several.

Two values of a fading process of variance 1, in noise, have the correlation r(doppler lag) / (1 + noise). The track
adds up how likely each Doppler makes the pairs of the newest frame with those before, and forgets slowly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .observation import DOPPLERS
from .time_filters import correlation

__all__ = ["DopplerTrack"]

FORGET = 1 / 16  # in a frame
STEPS_UNSURE = 4.0  # of `DOPPLERS`, what a single frame's estimate is off
MAX_CORRELATION = 0.9999


class DopplerTrack:
    """Dopplers of num_tx streams, in cycles per symbol: of the strongest process, and of all others.

    The two differ where a line of sight, which only turns, is part of the strongest.

    Args:
        num_tx: streams.
        doppler: what the first frame says of all together.
    """

    def __init__(self, num_tx: int, doppler: float):
        away = np.arange(len(DOPPLERS)) - np.argmin(np.abs(DOPPLERS - doppler))
        self._likelihoods = np.zeros((len(DOPPLERS), num_tx, 2))
        self._likelihoods -= 0.5 * (away / STEPS_UNSURE)[:, None, None] ** 2

    @property
    def dopplers(self) -> NDArray[np.float64]:
        """The most likely ones, (num_tx, 2)."""
        return DOPPLERS[np.argmax(self._likelihoods, axis=0)]

    def take(
        self,
        lags: tuple[float, ...],
        earlier: NDArray[np.complexfloating],
        later: NDArray[np.complexfloating],
        noise: tuple[float, ...],
    ) -> None:
        """Pairs of values.

        Args:
            lags: from one to the other, in symbols, (L,).
            earlier, later: of K processes of variance 1, the strongest last, (num_tx, L, K, num_rx).
            noise: its variance in each process, (K,).
        """
        constant, energy, product = _tables(lags, noise)
        energies = (np.abs(earlier) ** 2 + np.abs(later) ** 2).sum(axis=3).transpose(2, 1, 0)  # (K, L, num_tx)
        products = (earlier * later.conj()).real.sum(axis=3).transpose(2, 1, 0)
        found = product @ products - energy @ energies - earlier.shape[3] * constant[:, :, None]
        two = np.stack([found[-1], found[:-1].sum(axis=0)], axis=-1)
        self._likelihoods += two / len(lags) - FORGET * self._likelihoods


@lru_cache(maxsize=64)
def _tables(
    lags: tuple[float, ...], noise: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What log-likelihoods of the Dopplers are made of: (K, dopplers), (K, dopplers, L), (K, dopplers, L)."""
    variance = 1 + np.array(noise)[:, None, None]
    share = correlation(1.0, DOPPLERS[:, None] * np.array(lags)) / variance
    share = np.minimum(share, MAX_CORRELATION)
    left = 1 - share**2
    energy = 1 / (variance * left)
    return np.log(left).sum(axis=2), energy, 2 * share * energy
