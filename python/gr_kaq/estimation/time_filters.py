# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiener filters over time: values of a fading process at some times from noisy ones at others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .observation import j0

__all__ = ["correlation", "time_filters"]

FADED = 5.0  # radians of the fastest path after which its correlation is believed no more: real spectra differ


def correlation(doppler: float, lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a channel with Jakes Doppler: J0, which far away is made to vanish faster, as real spectra differ there.

    Args:
        doppler: in cycles per symbol.
        lags: in symbols.
    """
    turn = 2 * np.pi * doppler * lags
    return j0(turn) * np.exp(-((turn / FADED) ** 2))


@lru_cache(maxsize=512)
def time_filters(
    doppler: float, known: tuple[float, ...], wanted: tuple[float, ...], noise: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Filters for processes of variance 1, and their error variances.

    Args:
        doppler: in cycles per symbol.
        known, wanted: times in symbols.
        noise: variance of the noise of each of K processes.

    Returns:
        float32 (K, wanted, known), float64 (K, wanted).
    """
    at, to = np.array(known), np.array(wanted)
    across = correlation(doppler, to[:, None] - at)
    values, vectors = _modes(doppler, known)
    gains = 1 / (np.maximum(values, 0) + np.array(noise)[:, None])  # (K, known)
    seen = across @ vectors
    filters = (seen * gains[:, None]) @ vectors.T
    errors = np.maximum(1 - (seen**2) @ gains.T, 0).T
    return filters.astype(np.float32), errors


@lru_cache(maxsize=512)
def _modes(doppler: float, known: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors of the covariance of one process."""
    at = np.array(known)
    values, vectors = np.linalg.eigh(correlation(doppler, at[:, None] - at))
    return values, vectors
