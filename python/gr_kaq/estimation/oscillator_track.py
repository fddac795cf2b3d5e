# SPDX-License-Identifier: GPL-3.0-or-later
"""The carrier's offset and phase from frame to frame, by a Kalman filter.

    phase(t + dt) = phase(t) + 2 pi offset dt + w_phase,    offset(t + dt) = offset(t) + w_offset

Each frame's training says the offset, roughly. A frame's phase against those before says the mean offset in between,
finely, but only up to whole turns: it counts where the filter already knows which.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["OscillatorTrack"]

PHASE_NOISE = 1e-6  # squared radians in a symbol: a linewidth of 4 mHz at the reference numerology
DRIFT = 1e-12  # of the offset: squared cycles per symbol, in a symbol
MAX_DEVIATION = 5.0  # standard deviations of an offset that is believed
NOISE = 8e-4  # squared cycles per symbol, for one pair at 0 dB
OFFSET_STEP = 5e-4
SURE = 1.0  # radians: less, and the turn is known


class OscillatorTrack:
    """Offset and phase of one pair of oscillators.

    Times are in OFDM symbols, offsets in cycles per symbol.

    Args:
        time, phase: of the first frame.
        offset, variance: what that frame says.
    """

    def __init__(self, time: float, phase: float, offset: float, variance: float):
        self._time = time
        self._state = np.array([phase, offset])
        self._variance = np.diag([0.0, variance])

    @property
    def offset(self) -> float:
        """In cycles per symbol."""
        return float(self._state[1])

    @property
    def phase(self) -> float:
        """At the time of the last frame, in radians."""
        return float(self._state[0])

    def advance(self, time: float, offset: float, variance: float) -> bool:
        """Go on to a later frame, which says this offset; False: it cannot be that of the same oscillators."""
        passed = time - self._time
        self._time = time
        step = np.array([[1.0, 2 * np.pi * passed], [0.0, 1.0]])
        self._state = step @ self._state
        self._variance = step @ self._variance @ step.T + np.diag([PHASE_NOISE * passed, DRIFT * passed])
        away = offset - self._state[1]
        if away**2 > MAX_DEVIATION**2 * (self._variance[1, 1] + variance):
            return False
        self._take(1, away, variance)
        return True

    def take_phase(self, phase: float, variance: float) -> None:
        """The phase of this frame, in radians, up to whole turns."""
        away = phase - self._state[0]
        away -= 2 * np.pi * round(away / (2 * np.pi))
        if self._variance[0, 0] < SURE**2:
            self._take(0, away, variance)
        else:
            self._state[0] += away
            self._variance = np.diag([variance, self._variance[1, 1]])

    def _take(self, which: int, away: float, variance: float) -> None:
        gain: NDArray[np.float64] = self._variance[:, which] / (self._variance[which, which] + variance)
        self._state = self._state + gain * away
        self._variance = self._variance - np.outer(gain, self._variance[which])


def offset_variance(doppler: float, snr: float, pairs: int) -> float:
    """Of the offset that one frame's training says, in squared cycles per symbol.

    Fading turns each pair of antennas by itself; noise and the steps of the estimate come on top.
    """
    return (doppler**2 + NOISE / snr) / pairs + OFFSET_STEP**2
