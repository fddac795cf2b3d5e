# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbols as a linear receiver sees them, for pictures and for guesses at their constellation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..estimation.estimator import DataSymbols

__all__ = ["linear_symbols"]


def linear_symbols(data: DataSymbols) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """LMMSE estimates without bias, and the variance of their errors, both (num_data_symbols, num_data, num_tx).

        x_k = [(H^H H / noise_var + I)^-1 H^H y]_k / (noise_var (1 - d_k)),   d_k = 1 / (1 + SINR_k)

    Args:
        data: of a frame.
    """
    h = data.h.astype(np.complex128)
    received = np.moveaxis(data.received, 0, -1)[..., None].astype(np.complex128)
    adjoint, noise_var = h.conj().swapaxes(-2, -1), max(data.noise_var, 1e-30)
    inverse = np.linalg.inv(adjoint @ h / noise_var + np.eye(h.shape[-1]))
    share = np.minimum(np.diagonal(inverse, axis1=-2, axis2=-1).real, 1 - 1e-9)
    symbols = (inverse @ (adjoint @ received))[..., 0] / noise_var / (1 - share)
    return symbols, share / (1 - share)
