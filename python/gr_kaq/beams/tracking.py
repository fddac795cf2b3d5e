# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a user whose beam is known, with three pilots at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .planar_array import Beam, PlanarArray

__all__ = ["PILOTS", "Tracker"]

PILOTS = 3  # the beam in use and its neighbours on one axis
POSITION_GAIN, SPEED_GAIN = 0.7, 0.2  # of the filter, for what a prediction missed
MAX_SPEED = 0.25  # beams per round
REFERENCE_GAIN = 0.1
COLLAPSE = 0.1  # of the reward that was usual
PATIENCE = 3  # rounds


class Tracker:
    """Where a user is, in beams, and how fast; from rounds of three pilots, on the two axes in turns.

    Between the beam in use and a neighbour, the ratio of the amplitudes of a plane wave at d beams from the first is
    d / (1 - d): so the three powers of a round give d. An alpha-beta filter follows position and speed, and the beam
    in use is the one closest to the position predicted for the next round.

    Args:
        array: whose beams; with an axis of one element, only the other one is followed.
        beam: where the user is.
    """

    def __init__(self, array: PlanarArray, beam: Beam):
        self._shape = array.shape
        self._position = np.array(beam[:2], np.float64)
        self._speed = np.zeros(2)
        self._axes = [axis for axis, count in enumerate(array.shape) if count > 1] or [0]
        self._turn = 0
        self._reference = -math.inf
        self._bad_rounds = 0

    @property
    def beam(self) -> Beam:
        """The one to use."""
        first, second = np.rint(self._position).astype(int) % self._shape
        return Beam(int(first), int(second))

    @property
    def lost(self) -> bool:
        """Whether the rewards have been below a tenth of what was usual, three rounds on end."""
        return self._bad_rounds >= PATIENCE

    def next_beams(self) -> list[Beam]:
        """The next round: the beam in use, the one above and the one below it."""
        beam, axis = self.beam, self._axis
        around = [list(beam), list(beam), list(beam)]
        for step, index in ((1, 1), (-1, 2)):
            around[index][axis] = (beam[axis] + step) % self._shape[axis]
        return [Beam(*each) for each in around]

    def observe(self, rewards: NDArray[np.floating]) -> None:
        """Take the rewards (3,) of `next_beams`, powers in units of the noise."""
        axis, amplitudes = self._axis, np.sqrt(np.maximum(rewards, 0))
        usual = float(np.max(rewards))
        self._bad_rounds = self._bad_rounds + 1 if usual < COLLAPSE * self._reference else 0
        if not self._bad_rounds:
            gain = REFERENCE_GAIN if self._reference > -math.inf else 1.0
            self._reference = usual if gain == 1.0 else self._reference + gain * (usual - self._reference)
            side = 1 if amplitudes[1] >= amplitudes[2] else -1
            neighbour = amplitudes[1 if side > 0 else 2]
            offset = side * neighbour / max(neighbour + amplitudes[0], 1e-12)
            error = np.rint(self._position[axis]) + offset - self._position[axis]
            self._position[axis] += POSITION_GAIN * error
            self._speed[axis] += SPEED_GAIN * error / len(self._axes)
            self._speed[axis] = min(max(self._speed[axis], -MAX_SPEED), MAX_SPEED)
        self._position += self._speed  # the prediction for the next round
        self._turn += 1

    @property
    def _axis(self) -> int:
        return self._axes[self._turn % len(self._axes)]
