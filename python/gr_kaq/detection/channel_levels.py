# SPDX-License-Identifier: GPL-3.0-or-later
"""Gain and noise variance of each channel before it is prepared; the specification of lib/detection/list_plan.cc."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import Noise, from_db
from .fused_products import plus_product

__all__ = ["channel_levels"]

LEAST_POWER = 1e-48
MAX_GAIN_EXPONENT = 120
MAX_NOISE_VAR = 1e10
NOISE_FLOOR = 1e-9
"""noise_var is taken to be at least this times the mean power of a stream at all antennas (90 dB of SNR)."""
NUM_SUMS = 4
LEAST_EXACT, LARGEST_EXACT = 1e-20, 1e30
"""Between these, a sum of squares of single precision is taken."""


def channel_levels(h: NDArray[np.complex64], noise: Noise) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What takes entries next to 1, and the noise there.

    Args:
        h: (C, num_rx, num_tx).
        noise: how strong the noise is.

    Returns:
        gain (C,), a power of two, 0 where nothing is known of a channel (H = 0); and the noise variance of H times
        gain, 1 where nothing is known.

    Raises:
        ValueError: h holds NaN or Inf.
    """
    if not np.isfinite(h).all():
        raise ValueError("h holds NaN or Inf")
    num_rx, num_tx = h.shape[1:]
    power = _squared_norm(h) / num_rx
    mean = power / num_tx
    exponent = (np.frexp(mean)[1] - 1) >> 1  # of its root
    gain = np.ldexp(np.float32(1), -np.clip(exponent, -MAX_GAIN_EXPONENT, MAX_GAIN_EXPONENT))
    gain = np.where(mean * num_rx > LEAST_POWER, gain, 0).astype(np.float32)
    if noise.snr_db is None:
        assert noise.noise_var is not None
        values = noise.noise_var
    else:
        mean_power = np.float64(0)
        for of_channel in power:
            mean_power += of_channel / len(power)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # Inf, which MAX_NOISE_VAR bounds
            values = (power if noise.snr_db.size > 1 else mean_power) / from_db(noise.snr_db)
    square = gain.astype(np.float64) * gain
    with np.errstate(over="ignore", invalid="ignore"):
        noise_var = np.minimum(values * square, MAX_NOISE_VAR)
    noise_var = np.maximum(noise_var, NOISE_FLOOR * (mean * num_rx * square))
    return gain, np.where(gain > 0, noise_var, 1.0).astype(np.float32)


def _squared_norm(h: NDArray[np.complex64]) -> NDArray[np.float64]:
    """||H||_F^2 of each channel: in single precision where that can hold the squares."""
    entries = h.reshape(len(h), -1)
    sums = np.zeros((NUM_SUMS, len(h)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(entries.shape[1]):
            for part in (entries[:, i].real, entries[:, i].imag):
                sums[i % NUM_SUMS] = plus_product(sums[i % NUM_SUMS], part, part)
        total = ((sums[0] + sums[1]) + (sums[2] + sums[3])).astype(np.float64)
    exact = np.zeros(len(h))
    for i in range(entries.shape[1]):
        wide = entries[:, i].astype(np.complex128)
        exact = exact + wide.real * wide.real
        exact = exact + wide.imag * wide.imag
    return np.where((total > LEAST_EXACT) & (total < LARGEST_EXACT), total, exact)
