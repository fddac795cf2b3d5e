# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pilots so far say about each beam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .planar_array import PlanarArray

__all__ = ["PilotStatistics"]


class PilotStatistics:
    """Sums of rewards, of narrow and of wide beams.

    A reward is power: |sqrt(snr) c + n|^2 - 1, n ~ CN(0, 1), c the amplitude of `PlanarArray`: an unbiased estimate of
    the SNR. Or, where pilots share a phase, the complex amplitude itself.

    Args:
        array: whose beams.
        coherent: rewards are complex amplitudes.
    """

    def __init__(self, array: PlanarArray, *, coherent: bool = False):
        self._array, self._coherent = array, coherent
        self._by_width: dict[tuple[int, int], tuple[NDArray, NDArray]] = {}

    def add(self, beams: NDArray[np.integer], rewards: NDArray) -> None:
        """Take the rewards (n,) of beams (n, 4)."""
        for width in {(int(first), int(second)) for first, second in beams[:, 2:]}:
            own = (beams[:, 2:] == width).all(1)
            counts, sums = self.of_width(*width)
            where = (beams[own, 0], beams[own, 1])
            np.add.at(counts, where, 1)
            np.add.at(sums, where, rewards[own])

    def of_width(self, first: int = 1, second: int = 1) -> tuple[NDArray, NDArray]:
        """Number and sum of the rewards of each beam of this width, (num_first, num_second) each."""
        if (first, second) not in self._by_width:
            sums = np.zeros(self._array.shape, np.complex128 if self._coherent else np.float64)
            self._by_width[first, second] = (np.zeros(self._array.shape), sums)
        return self._by_width[first, second]

    def by_width(self) -> list[tuple[tuple[int, int], tuple[NDArray, NDArray]]]:
        """Each width that was probed, with what `of_width` gives for it."""
        return list(self._by_width.items())

    def means(self) -> NDArray:
        """Mean reward of each narrow beam; -inf without one."""
        counts, sums = self.of_width()
        powers = np.abs(sums / np.maximum(counts, 1)) ** 2 if self._coherent else sums / np.maximum(counts, 1)
        return np.where(counts > 0, powers, -np.inf)

    def best(self) -> tuple[int, int]:
        """The narrow beam with the greatest mean."""
        first, second = np.unravel_index(np.argmax(self.means()), self._array.shape)
        return int(first), int(second)
