# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pilots so far say: of each beam its mean reward, and of each direction how likely it is."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from .planar_array import PlanarArray

__all__ = ["PilotStatistics"]

OVERSAMPLING = 4  # directions per beam on each axis; even, so that none lies halfway between two beams


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

    def means(self) -> NDArray:
        """Mean reward of each narrow beam; -inf without one."""
        counts, sums = self.of_width()
        powers = np.abs(sums / np.maximum(counts, 1)) ** 2 if self._coherent else sums / np.maximum(counts, 1)
        return np.where(counts > 0, powers, -np.inf)

    def best(self) -> tuple[int, int]:
        """The narrow beam with the greatest mean."""
        first, second = np.unravel_index(np.argmax(self.means()), self._array.shape)
        return int(first), int(second)

    def scores(self) -> NDArray[np.floating]:
        """Least squares: how much of the rewards a plane wave from each direction explains.

        All pilots weigh the same, as their noise does without a signal: powers that vary more because they are strong
        must not count less than chance does. The phases' quantization is left out: the array's pattern is then one
        factor for each axis.

        Returns:
            Twice the logarithm of the likelihood ratio against no signal, (4 num_first, 4 num_second), of directions
            that lie 1/8 and 3/8 of a beam beside each beam.
        """
        product: NDArray = np.zeros(1)
        energy: NDArray = np.zeros(1)
        for widths, (counts, sums) in self._by_width.items():
            if not counts.any():
                continue
            (first, first_power), (second, second_power) = (
                _pattern(count, width) for count, width in zip(self._array.shape, widths, strict=True)
            )
            if self._coherent:
                product = product + first.conj().T @ sums @ second.conj()
                energy = energy + first_power.T @ counts @ second_power
            else:
                product = product + first_power.T @ sums @ second_power
                energy = energy + (first_power**2).T @ counts @ second_power**2
        projection = np.abs(product) if self._coherent else np.maximum(product, 0)
        return (1 + self._coherent) * projection**2 / np.maximum(energy, 1e-12)

    def scores_of_beams(self) -> NDArray[np.floating]:
        """Of each narrow beam, (num_first, num_second), the best score of the directions that are closest to it."""
        scores = self.scores()
        first, second = self._array.shape
        return scores.reshape(first, OVERSAMPLING, second, OVERSAMPLING).max((1, 3))


@functools.lru_cache(maxsize=64)
def _pattern(count: int, width: int) -> tuple[NDArray[np.complexfloating], NDArray[np.floating]]:
    """Amplitude and power of an axis, (beams, directions) each; its share of `PlanarArray`'s 1 / sqrt(A N)."""
    on = max(count // width, 1)
    offsets = (np.arange(OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    directions = (np.arange(count)[:, None] + offsets).ravel()
    turns = (directions[None, :] - np.arange(count)[:, None]) / count
    pattern = np.exp(2j * np.pi * turns[..., None] * np.arange(on)).sum(-1) / np.sqrt(on * count)
    return pattern, np.abs(pattern) ** 2
