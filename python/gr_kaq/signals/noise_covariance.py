# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise that antennas have in common, n ~ CN(0, C), and what makes it white.

C = noise_var L L^H, with noise_var its mean diagonal:   L^-1 y = L^-1 H x + L^-1 n,   L^-1 n ~ CN(0, noise_var I)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["whitening_of"]

HERMITIAN_TOLERANCE = 1e-4  # over noise_var: covariances travel in single precision
LEAST_PIVOT = 1e-4  # of L: what is below is not known in single precision


def whitening_of(noise_cov: ArrayLike) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """L^-1 (C, num_rx, num_rx) and noise_var (C,) of covariances (C, num_rx, num_rx).

    Raises:
        ValueError: they have another shape, or one is not finite, not Hermitian or not positive definite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = np.asarray(noise_cov, np.complex128)
    if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2] or not covariance.size:
        raise ValueError(f"noise_cov has shape {covariance.shape}; (channels, num_rx, num_rx) expected")
    if not np.isfinite(covariance).all():
        raise ValueError("noise_cov holds NaN or Inf")
    noise_var = np.einsum("cii->c", covariance).real / covariance.shape[1]
    _refuse(~(noise_var > 0), "is not positive definite: its mean diagonal is not above 0")
    with np.errstate(all="ignore"):
        scaled = covariance / noise_var[:, None, None]
    adjoint = scaled.conj().swapaxes(1, 2)
    _refuse(~(np.abs(scaled - adjoint).max(axis=(1, 2)) <= HERMITIAN_TOLERANCE), "is not Hermitian")
    hermitian = (scaled + adjoint) / 2
    values = np.linalg.eigvalsh(hermitian)
    _refuse(~(values[:, 0] > LEAST_PIVOT**2), "is not positive definite, or nearly so")
    whitening: NDArray[np.complex128] = np.linalg.inv(np.linalg.cholesky(hermitian)).astype(np.complex128)
    return whitening, noise_var


def _refuse(wrong: NDArray[np.bool_], why: str) -> None:
    if wrong.any():
        raise ValueError(f"noise_cov of channel {int(np.argmax(wrong))} {why}")
