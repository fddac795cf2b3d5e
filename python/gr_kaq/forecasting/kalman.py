# SPDX-License-Identifier: GPL-3.0-or-later
"""Kalman prediction: a Gauss-Markov process with two derivatives, whose curvature is that of Jakes fading.

    r(lag) = (1 + a + a^2 / 3) exp(-a),   a = sqrt(3/2) 2 pi doppler |lag|        (Matern, smoothness 5/2)

It agrees with J0 up to the second order, and its steps are exact for any distance of the times.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .likelihood import pooled_doppler
from .series import Forecast, Series

__all__ = ["kalman"]

RATE = 2 * np.pi * math.sqrt(1.5)  # over the Doppler
STATIONARY = np.array([[1, 0, -1 / 3], [0, 1 / 3, 0], [-1 / 3, 0, 1]])  # where the rate is 1
NILPOTENT = np.array([[1.0, 1, 0], [0, 1, 1], [-1, -3, -2]])  # the drift, plus 1 on the diagonal


def kalman(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """Filter all estimates, one after the other, and predict; the Doppler is the most likely one for all series."""
    return kalman_with(series, horizons, pooled_doppler(series))


def kalman_with(series: Series, horizons: NDArray[np.float64], doppler: float) -> Forecast:
    """`kalman` with a Doppler that is known, in cycles per unit of time."""
    rate, powers = RATE * doppler, series.powers
    noise = series.noise_var / powers
    state = np.zeros((len(powers), 3), np.complex128)
    variance = np.broadcast_to(STATIONARY, (len(powers), 3, 3)).copy()
    for place, time in enumerate(series.times):
        if place:
            state, variance = _advance(state, variance, rate * (time - series.times[place - 1]))
        known = series.known[:, place, None]
        gain = np.where(known, variance[:, 0] / (variance[:, :1, 0] + noise[:, None]), 0)
        state = state + gain * (series.filled[:, place, None] - state[:, :1])
        variance = variance - gain[:, :, None] * variance[:, :1]
    ahead = [_advance(state, variance, rate * horizon) for horizon in horizons]
    values = np.stack([found[:, 0] for found, _ in ahead], axis=1)
    errors = np.stack([found[:, 0, 0] for _, found in ahead], axis=1)
    errors = powers[:, None] * np.clip(errors, 0, 1)
    return Forecast(values, np.where(series.known.any(axis=1)[:, None], errors, np.inf))


def _advance(state: NDArray, variance: NDArray, passed: float) -> tuple[NDArray, NDArray]:
    passed = min(passed, 200.0)  # nothing is left then
    step = math.exp(-passed) * (np.eye(3) + passed * NILPOTENT + passed**2 / 2 * (NILPOTENT @ NILPOTENT))
    return state @ step.T, STATIONARY + step @ (variance - STATIONARY) @ step.T
