# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear baselines: LMMSE and zero forcing, unbiased per stream, with the LLRs of their residual Gaussian noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lmmse", "zero_forcing"]


def lmmse(h: NDArray, noise_var: NDArray) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """LMMSE filters W = D^-1 (H^H H + noise_var I)^-1 H^H, with D such that W H has a unit diagonal.

    Args:
        h: (C, num_rx, num_tx).
        noise_var: (1,) or (C,).

    Returns:
        filters (C, num_tx, num_rx) and the variance of the error per real dimension (C, num_tx).
    """
    h = np.asarray(h, np.complex128)
    hermitian = h.conj().swapaxes(-1, -2)
    gram = hermitian @ h
    # a floor keeps the inverse of a rank-deficient channel finite, and of one that is zero
    power = np.trace(gram, axis1=-2, axis2=-1).real
    noise_var = np.maximum(noise_var, 1e-10 * np.where(power > 0, power, 1.0))
    filters = np.linalg.inv(gram + noise_var[:, None, None] * np.eye(h.shape[-1])) @ hermitian
    gain = np.clip(np.einsum("cij,cji->ci", filters, h).real, 1e-12, 1 - 1e-12)
    return _finish(filters / gain[..., None], (1 - gain) / gain / 2)


def zero_forcing(h: NDArray, noise_var: NDArray) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Zero-forcing filters: the pseudoinverse of H. Arguments and result as for `lmmse`."""
    filters = np.linalg.pinv(np.asarray(h, np.complex128), rcond=1e-6)
    filters[~np.any(h != 0, axis=-2)] = 0  # of streams that do not arrive; LAPACK leaves rounding errors there
    variance = noise_var[:, None] * np.sum(np.abs(filters) ** 2, axis=-1) / 2
    return _finish(filters, variance)


def _finish(filters: NDArray, variance: NDArray) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    # a stream that nothing is known of has zero filters, and infinite variance makes its LLRs zero
    variance = np.where(np.any(filters != 0, axis=-1), np.maximum(variance, 1e-12), np.inf)
    return filters.astype(np.complex64), variance.astype(np.float32)
