# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads as integers that forecast nearly as well: what rounding errs by is pushed to where a series has no power.

A row of a head is a filter theta, and rounding it to theta + e adds e^T C e* to the error of its forecasts, C being the
covariance of the estimates that the head is made for. That of a slow series has most of its power in few directions.
So errors may add up only where that is little. Each weight in turn is set to the integer that is best with the others
as they are, for some rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gr_kaq.forecasting.ccm import FADINGS, HISTORY, HORIZONS
from gr_kaq.forecasting.fading import Fading

from ..quantization.quantizers import largest

__all__ = ["GROUP", "rounded_heads"]

GROUP = 8  # neighbouring weights that share a step: the newest estimates have by far the largest
ROUNDS = 4
NEAR = (0.95, 1.0, 1.05)
SHIFTS = np.array([0, 1 / 256, 1 / 128])  # cycles per estimate


def rounded_heads(heads: NDArray[np.float32], noise: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Integers times the step of their group, which is that of `fake_quantize_rows`: it changes them no more.

    Args:
        heads: (fadings levels, 2 HORIZONS, HISTORY), real parts of all horizons, then imaginary parts.
        noise: over the power, of each level.
        bits: of the integers.
    """
    ages = np.arange(HISTORY)
    correlations = np.stack([_correlation(fading, ages[:, None] - ages) for fading in FADINGS])
    covariance = (correlations[:, None] + noise[:, None, None] * np.eye(HISTORY)).reshape(-1, HISTORY, HISTORY)
    # of the real parts of e, then of the imaginary ones
    real = np.block([[covariance.real, covariance.imag], [-covariance.imag, covariance.real]])
    rows = heads.reshape(-1, 2, HORIZONS, HISTORY).swapaxes(1, 2).astype(np.float64)
    found = _rounded(rows.reshape(*rows.shape[:2], -1, GROUP), real, largest(bits))
    return found.reshape(rows.shape).swapaxes(1, 2).reshape(heads.shape).astype(np.float32)


def _correlation(fading: Fading, lags: NDArray[np.int64]) -> NDArray[np.complex128]:
    """Of series that are nearly like this: those between two of `FADINGS` have its head, too."""
    near = [Fading(scale * fading.doppler, fading.line, scale * fading.shift).correlation(lags) for scale in NEAR]
    return np.asarray(np.mean(near, axis=0) * np.mean(np.cos(np.multiply.outer(2 * np.pi * SHIFTS, lags)), axis=0))


def _rounded(rows: NDArray[np.float64], covariance: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    """Rows (heads, R, groups, GROUP); the largest weight of each group stays, as it says the step."""
    peaks = np.abs(rows).max(axis=-1, keepdims=True)
    free = (np.abs(rows) < peaks).reshape(*rows.shape[:2], -1)
    steps = np.broadcast_to(np.where(peaks > 0, peaks / limit, 1.0), rows.shape).reshape(free.shape)
    flat = rows.reshape(free.shape)
    integers = np.rint(flat / steps)
    pull = (integers * steps - flat) @ covariance
    for _ in range(ROUNDS):
        for column in range(free.shape[-1]):
            step, row = steps[..., column], covariance[:, None, column]
            best = np.rint(integers[..., column] - pull[..., column] / (row[..., column] * step))
            moves = np.where(free[..., column], np.clip(best, -limit, limit) - integers[..., column], 0)
            integers[..., column] += moves
            pull += (moves * step)[..., None] * row
    return (integers * steps).reshape(rows.shape)
