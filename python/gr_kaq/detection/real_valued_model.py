# SPDX-License-Identifier: GPL-3.0-or-later
"""From the n = 2 num_tx rows of the real-valued model, real over imaginary parts, back to complex streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["complex_streams", "interleaved_bits"]


def complex_streams(rows: NDArray) -> NDArray[np.complex64]:
    """(..., n) -> (..., num_tx)."""
    num_tx = rows.shape[-1] // 2
    return (rows[..., :num_tx] + 1j * rows[..., num_tx:]).astype(np.complex64)


def interleaved_bits(per_row: NDArray) -> NDArray[np.float32]:
    """(..., n, bits_per_dimension) -> (..., num_tx, bits_per_symbol): even bits in phase, odd quadrature."""
    num_tx = per_row.shape[-2] // 2
    in_phase, quadrature = per_row[..., :num_tx, :], per_row[..., num_tx:, :]
    bits_per_symbol = 2 * per_row.shape[-1]
    return np.stack([in_phase, quadrature], axis=-1).reshape(*in_phase.shape[:-1], bits_per_symbol)
