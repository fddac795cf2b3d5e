# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a user whose beam is known, with three pilots at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .direction_posterior import SNRS, VARIANCE, mean_amplitude, pattern
from .planar_array import Beam, PlanarArray

__all__ = ["PILOTS", "Tracker"]

PILOTS = 3
OVERSAMPLING = 4  # directions per beam on each axis
SPEEDS = np.array([-0.1, 0.0, 0.1], np.float32)  # beams that a user moves on an axis from round to round
STRAY = 0.02  # probability of a step of the grid, back as well as ahead, beside that
TURN = 0.04  # probability of any speed on either axis, from round to round
ANYWHERE = 1e-4  # probability that the user is anywhere, with any speed and SNR
KNOWN = 0.1  # expected gain, below which the user counts as lost
PATIENCE = 3  # rounds
FADING = 0.99  # per round, of the strongest amplitude so far


class Tracker:
    """Where a user is who moves: probabilities of speeds, SNRs and directions, from rounds of three pilots.

    A hidden Markov model. Pilots count as in `DirectionPosterior`, as amplitudes that vary about their mean. On each
    axis a user has one of a few speeds, and seldom another: a step of the grid has the probability that gives this
    speed on the average. Each round probes the three most likely beams; the beam in use is the one with the
    greatest expected gain.

    Args:
        array: whose beams.
        beam: where the user is, by half a beam or so.
    """

    def __init__(self, array: PlanarArray, beam: Beam):
        self._shape = array.shape
        self._patterns = [(np.abs(pattern(count, 1, OVERSAMPLING)) ** 2).astype(np.float32) for count in array.shape]
        self._snrs = SNRS.astype(np.float32)[:, None, None]
        near = [powers[index] > 0.3 for powers, index in zip(self._patterns, beam, strict=False)]
        speeds = np.ones((len(SPEEDS), len(SPEEDS), 1, 1, 1), np.float32)
        self._joint = speeds * np.ones_like(self._snrs) * np.outer(*near)  # speeds on both axes, SNRs, directions
        along_first, along_second = (_steps(count) for count in array.shape)
        self._steps = (along_first.swapaxes(1, 2)[:, None, None], along_second[:, None])
        self._strongest = 0.0
        self._bad_rounds = 0
        self._normalize()

    @property
    def beam(self) -> Beam:
        """The one to use."""
        first, second = np.unravel_index(np.argmax(self._gains), self._shape)
        return Beam(int(first), int(second))

    @property
    def lost(self) -> bool:
        """Whether no beam was expected to have more than a tenth of the gain at alignment, three rounds on end."""
        return self._bad_rounds >= PATIENCE

    def next_beams(self) -> list[Beam]:
        """The next round, the most likely beam first; fewer than three on an array that has no more."""
        first, second = self._shape
        cells = self._directions.reshape(first, OVERSAMPLING, second, OVERSAMPLING).sum((1, 3))
        order = np.argsort(-cells, axis=None, kind="stable")[:PILOTS]
        return [Beam(int(index) // second, int(index) % second) for index in order]

    def observe(self, rewards: NDArray[np.floating]) -> None:
        """Take the rewards of `next_beams`, powers in units of the noise."""
        amplitudes = np.sqrt(np.maximum(rewards + 1, 0))
        self._strongest = max(self._strongest * FADING, float(amplitudes.max()))
        amplitudes *= min(1.0, math.sqrt(SNRS[-1]) / max(self._strongest, 1e-12))
        misses: NDArray = np.zeros(1, np.float32)
        for beam, amplitude in zip(self.next_beams(), amplitudes.tolist(), strict=True):
            gains = np.outer(self._patterns[0][beam.first], self._patterns[1][beam.second])
            misses = misses + np.square(amplitude - mean_amplitude(self._snrs * gains))
        self._joint *= np.exp((misses.min() - misses) / (2 * VARIANCE))
        self._joint = self._steps[0] @ self._joint @ self._steps[1]
        self._joint += TURN * (self._joint.mean((0, 1)) - self._joint)
        self._joint += ANYWHERE * self._joint.mean()
        self._normalize()
        self._bad_rounds = self._bad_rounds + 1 if self._gains.max() < KNOWN else 0

    def _normalize(self) -> None:
        self._joint /= self._joint.sum()
        self._directions = self._joint.sum((0, 1, 2))
        self._gains = self._patterns[0] @ self._directions @ self._patterns[1].T


def _steps(count: int) -> NDArray[np.floating]:
    """For each speed: probabilities from direction to direction of an axis, a round later."""
    stay = np.eye(count * OVERSAMPLING, dtype=np.float32)
    if count == 1:
        return np.stack([stay] * len(SPEEDS))
    back, ahead = (STRAY + OVERSAMPLING * np.maximum(sign * SPEEDS, 0)[:, None, None] for sign in (-1, 1))
    return (1 - back - ahead) * stay + back * np.roll(stay, -1, 1) + ahead * np.roll(stay, 1, 1)
