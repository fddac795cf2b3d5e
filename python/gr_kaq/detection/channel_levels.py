# SPDX-License-Identifier: GPL-3.0-or-later
"""Gain and noise variance of each channel before it is prepared; the specification of lib/detection/noise.cc."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import Noise, from_db
from .fused_products import plus_product

__all__ = ["channel_levels"]

LEAST_POWER = 1e-30
MAX_GAIN_EXPONENT = 120
MAX_NOISE_VAR = 1e10
NUM_SUMS = 32
LEAST_EXACT, LARGEST_EXACT = 1e-20, 1e30


def channel_levels(h: NDArray[np.complex64], noise: Noise) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What takes entries next to 1, and the noise there.

    Args:
        h: (C, num_rx, num_tx).
        noise: how strong the noise is.

    Returns:
        gain (C,), a power of two, 0 where nothing is known of a channel (H = 0); and the noise variance of H times
        gain.

    Raises:
        ValueError: h holds NaN or Inf.
    """
    if not np.isfinite(h).all():
        raise ValueError("h holds NaN or Inf")
    num_rx, num_tx = h.shape[1:]
    power = _squared_norm(h) / num_rx
    mean = power / num_tx
    with np.errstate(divide="ignore"):
        exponent = np.frexp(np.sqrt(mean))[1] - 1
    gain = np.ldexp(np.float32(1), -np.clip(exponent, -MAX_GAIN_EXPONENT, MAX_GAIN_EXPONENT))
    gain = np.where(mean * num_rx > LEAST_POWER, gain, 0).astype(np.float32)
    if noise.snr_db is None:
        assert noise.noise_var is not None
        values = noise.noise_var
    else:
        mean_power = np.float64(0)
        for of_channel in power:
            mean_power += of_channel / len(power)
        values = (power if noise.snr_db.size > 1 else mean_power) / from_db(noise.snr_db)
    noise_var = np.minimum(values * gain.astype(np.float64) * gain, MAX_NOISE_VAR)
    return gain, noise_var.astype(np.float32)


def _squared_norm(h: NDArray[np.complex64]) -> NDArray[np.float64]:
    """||H||_F^2 of each channel: sums of single precision where that is exact enough (lib/detection/squared_norm.h)."""
    parts = np.ascontiguousarray(h).reshape(len(h), -1).view(np.float32)
    whole = parts.shape[1] // NUM_SUMS * NUM_SUMS
    sums = np.zeros((len(h), NUM_SUMS), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(0, whole, NUM_SUMS):
            block = parts[:, i : i + NUM_SUMS]
            sums = plus_product(sums, block, block)
        rest = np.square(parts[:, whole:].astype(np.float64))
        total = np.zeros(len(h))
        for column in (*sums.T.astype(np.float64), *rest.T):
            total = total + column
    exact = np.zeros(len(h))
    for column in np.square(parts.astype(np.float64)).T:
        exact = exact + column
    return np.where((total > LEAST_EXACT) & (total < LARGEST_EXACT), total, exact)
