# SPDX-License-Identifier: GPL-3.0-or-later
"""What all time-varying multipath channels have in common: taps at fixed delays whose gains change."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..signals.signal_model import from_db

__all__ = ["DelayLine", "check_line", "phasors", "read_profile"]

STRIDE = 16


class DelayLine(ABC):
    """Channels of a MIMO link that fade:

        H(t, f) = sum over taps p of g_p(t) exp(-2j pi f delays[p])     E|g_p|^2 = powers[p], sum of powers 1

    Args:
        delays: of the taps, in seconds, (taps,).
        powers: mean powers of the taps, (taps,), sum 1.
        doppler: the largest Doppler shift, in Hz; 0: nothing changes.
    """

    def __init__(self, delays: NDArray[np.float64], powers: NDArray[np.float64], doppler: float):
        self._delays, self._powers, self._moves = delays, powers, doppler > 0

    @property
    def delays(self) -> NDArray[np.float64]:
        """Delays of the taps in seconds, (taps,); not ascending."""
        return self._delays

    @property
    def powers(self) -> NDArray[np.float64]:
        """Mean powers of the taps, (taps,), sum 1."""
        return self._powers

    def gains(self, times: ArrayLike) -> NDArray[np.complex64]:
        """Gains of the taps, (T, taps, num_rx, num_tx), at these times in seconds, (T,)."""
        times = np.asarray(times, np.float64)
        if not self._moves:
            return np.repeat(self._gains(np.zeros(1), np.zeros(1)), len(times), axis=0)
        return self._gains(times, np.zeros(1))

    def gains_in_steps(self, start: float, step: float, count: int) -> NDArray[np.complex64]:
        """`gains` at start + step * (0, 1, ... count - 1), faster for many."""
        if not self._moves:
            return self.gains(np.zeros(count))
        coarse = start + step * np.arange(0, count, STRIDE)
        return self._gains(coarse, step * np.arange(STRIDE))[:count]

    @abstractmethod
    def _gains(self, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.complex64]:
        """`gains` at every sum of a coarse and a fine time, (coarse * fine, taps, num_rx, num_tx)."""

    def frequency_response(self, times: ArrayLike, frequencies: ArrayLike) -> NDArray[np.complex64]:
        """H(t, f), (T, F, num_rx, num_tx), at times in seconds, (T,), and frequencies in Hz from the carrier, (F,)."""
        gains = self.gains(times)
        turns = np.outer(np.asarray(frequencies, np.float64), self._delays)
        response = np.exp(-2j * np.pi * turns).astype(np.complex64) @ gains.reshape(*gains.shape[:2], -1)
        return response.reshape(*response.shape[:2], *gains.shape[2:])


def check_line(num_rx: int, num_tx: int, delay_spread: float, doppler: float) -> None:
    """Raises ValueError if a delay line cannot have these."""
    if num_rx < 1 or num_tx < 1:
        raise ValueError(f"num_rx is {num_rx} and num_tx {num_tx}; at least 1 expected")
    for name, value in (("delay_spread", delay_spread), ("doppler", doppler)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; at least 0 and finite expected")


def read_profile(
    profile: str, tables: Mapping[str, ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Delays, powers with sum 1, and the other columns (columns, taps) of a table of delays, powers in dB and others.

    Raises:
        ValueError: there is no such profile.
    """
    if profile not in tables:
        raise ValueError(f"unknown profile {profile!r}; one of {', '.join(tables)} expected")
    delays, decibels, *others = np.array(tables[profile], np.float64).T
    powers = from_db(decibels)
    powers /= powers.sum()
    return delays, powers, np.array(others)


def phasors(turns: NDArray[np.float64]) -> NDArray[np.complex64]:
    """exp(2j pi turns). The whole turns go first, so that single precision is enough after hours, too."""
    turns -= np.rint(turns)
    angles = turns.astype(np.float32)
    angles *= np.float32(2 * np.pi)
    values = np.empty(angles.shape, np.complex64)
    values.real, values.imag = np.cos(angles), np.sin(angles)
    return values
