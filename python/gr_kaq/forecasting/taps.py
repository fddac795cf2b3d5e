# SPDX-License-Identifier: GPL-3.0-or-later
"""From carriers to delay taps: neighbouring carriers fade together, and taps hardly do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DelayTaps", "strongest_taps"]


@dataclass(frozen=True, eq=False)
class DelayTaps:
    """Least squares of carriers on equally spaced delays, as close as the carriers' span resolves.

        h(f) = sum over taps k of g_k exp(-2j pi f delays[k]) + residual

    Args:
        carriers: their numbers, (F,).
        first, count: taps, in steps of 1 / span; fewer than carriers.

    Raises:
        ValueError: there are not fewer taps than carriers.
    """

    carriers: NDArray[np.int64]
    first: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count < len(self.carriers):
            raise ValueError(f"{self.count} taps of {len(self.carriers)} carriers; at least one, and fewer expected")

    @property
    def delays(self) -> NDArray[np.float64]:
        """Of the taps, in cycles per carrier."""
        return (self.first + np.arange(self.count)) / _span(self.carriers)

    @property
    def waves(self) -> NDArray[np.complex128]:
        """What a tap of 1 is on the carriers, (F, count)."""
        return np.exp(-2j * np.pi * np.outer(self.carriers, self.delays))

    @property
    def analysis(self) -> NDArray[np.complex128]:
        """From carriers to taps, (count, F)."""
        return np.linalg.pinv(self.waves)

    @property
    def noise(self) -> NDArray[np.float64]:
        """Noise variance of each tap, where that of a carrier is 1, (count,)."""
        return np.sum(np.abs(self.analysis) ** 2, axis=1)

    def __call__(self, h: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
        """Taps (T, count, ...) of channels (T, F, ...)."""
        return np.moveaxis(np.tensordot(self.analysis, h, axes=(1, 1)), 0, 1)

    def residual(self, h: NDArray[np.complexfloating]) -> float:
        """Mean energy of a carrier beside the taps, over the share of the noise that is there: at most the noise."""
        left = h - np.moveaxis(np.tensordot(self.waves, self(h), axes=(1, 1)), 0, 1)
        known = np.isfinite(left)
        energy = np.mean(np.abs(left[known]) ** 2) if known.any() else 0.0
        return float(energy * len(self.carriers) / (len(self.carriers) - self.count))


def strongest_taps(h: NDArray[np.complexfloating], carriers: ArrayLike, count: int) -> DelayTaps:
    """The neighbouring taps that have the most of these channels' energy.

    Args:
        h: (T, F, ...).
        carriers: their numbers, (F,), ascending.
        count: taps.
    """
    carriers = np.asarray(carriers, np.int64)
    span = _span(carriers)
    firsts = np.arange(span) - span // 2
    match = np.exp(2j * np.pi * np.outer(firsts / span, carriers)) / len(carriers)
    found = np.tensordot(match, np.where(np.isfinite(h), h, 0), axes=(1, 1)).reshape(span, -1)
    energy = np.sum(np.abs(found) ** 2, axis=1)
    sums = np.convolve(np.concatenate([energy, energy[: count - 1]]), np.ones(count), "valid")
    return DelayTaps(carriers, int(firsts[np.argmax(sums)]), count)


def _span(carriers: NDArray[np.int64]) -> int:
    return int(carriers[-1] - carriers[0]) + 1
