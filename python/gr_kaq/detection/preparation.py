# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs once per channel estimate, in floating point: Gram matrix, regularised inverse, the values of the laws.

The real-valued model stacks real over imaginary parts, so a network works on n = 2 num_tx rows. The linear part of a
layer is always `exact diagonal + off-diagonal matrix`, because the diagonal dominates and would set the step of a
quantized row (a 4-bit Gram matrix with its diagonal in it is useless).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .laws import LayerValues, layer_values
from .model_file import DetectorModel

__all__ = ["Preparation", "output_error", "prepare"]

STREAM_FLOOR = 1e-6
"""rho of a stream is at least this times its own diagonal entry of the Gram matrix; noise_var rises by the same factor.

It bounds the condition number of what is inverted in single precision. Relative to the mean of all entries, it would
be far above the noise of weak streams beside strong ones.
"""

COMMON_FLOOR = 1e-10
"""noise_var is at least this times the mean diagonal entry, so that a stream that does not arrive has a rho, too."""

LEAST_POWER = 1e-48
"""Mean power of a stream at all antennas, below which a channel counts as zero."""

LARGEST_NOISE = 1e10
"""noise_var is at most this times the mean diagonal entry: nothing at all is known of the symbols there."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Preparation:
    """The channel-dependent part of a detector for C channels.

    Attributes:
        filter: (C, num_tx, num_rx) complex. b = filter y is ADMM-Net's regularised linear estimate
            (G + R)^-1 H^H y, or PGD-Net's matched filter output c H^H y.
        diagonal: (C, n). Diagonal of (G + R)^-1 R (ADMM-Net) or of c G (PGD-Net).
        off_diagonal: (C, n, n), the rest of that matrix, zero on the diagonal.
        precision: (C, n). half_distance^2 over the linear estimate's error variance per real dimension.
        values: the laws at these channels' SNR.

    R is diagonal, with rho of each stream: the same for all of them above the floors.
    c = num_tx / trace(G) makes what is not inverted independent of the scale of H. A channel of all zeros gives zeros
    everywhere.
    """

    filter: NDArray[np.complex128]
    diagonal: Float
    off_diagonal: Float
    precision: Float
    values: LayerValues


def prepare(model: DetectorModel, h: NDArray[np.complexfloating], noise_var: Float, snr_db: Float) -> Preparation:
    """Prepare `model` for C channels.

    Args:
        h: (C, num_rx, num_tx).
        noise_var: (1,) or (C,).
        snr_db: (1,) where the channels are the subcarriers of one estimate, which share one SNR, or (C,).
    """
    h = np.asarray(h, np.complex128)
    num_tx = h.shape[-1]
    hermitian = h.conj().swapaxes(-1, -2)
    gram = hermitian @ h
    powers = np.einsum("cii->ci", gram).real
    mean_power = powers.mean(axis=-1)
    alive = mean_power > LEAST_POWER
    scale = np.where(alive, mean_power, 1.0)
    noise_var = np.clip(noise_var, COMMON_FLOOR * scale, LARGEST_NOISE * scale)[:, None]
    values = layer_values(model, snr_db)

    if model.network == "admm":
        rho = values.regularization[:, None] * noise_var
        relative = np.maximum(1.0, STREAM_FLOOR * powers / rho)
        inverse = np.linalg.inv(gram + (rho * relative)[:, :, None] * np.eye(num_tx))
        front = inverse @ hermitian
        matrix = inverse * (rho * relative)[:, None, :]
        error_variance = noise_var * relative * np.einsum("cii->ci", inverse).real / 2
    else:
        front, matrix = hermitian / scale[:, None, None], gram / scale[:, None, None]
        noise_var = np.maximum(noise_var, STREAM_FLOOR * powers)
        error_variance = noise_var / (powers + noise_var) / 2
    diagonal, off_diagonal = _split(matrix)
    precision = np.tile(model.constellation.half_distance**2 / error_variance, 2)
    dead = ~alive
    front[dead], diagonal[dead], off_diagonal[dead], precision[dead] = 0.0, 0.0, 0.0, 0.0
    return Preparation(front, diagonal, off_diagonal, precision, values)


def output_error(model: DetectorModel, prepared: Preparation) -> Float:
    """Error variance of the output over the linear estimate's, (C, n): larger where a stream is known badly."""
    return prepared.values.output_variance[:, None] * (1 + model.output_spread * prepared.diagonal**2)


def _split(matrix: NDArray) -> tuple[Float, Float]:
    """Diagonal (C, n) and the rest (C, n, n) of complex matrices (C, num_tx, num_tx) over the real-valued model."""
    real = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    diagonal = np.tile(np.einsum("cii->ci", matrix).real, 2)
    num_tx, n = matrix.shape[-1], real.shape[-1]
    index = np.arange(n)
    real[:, index, index] = 0.0
    # what rounding left of the diagonal's imaginary part
    real[:, index[:num_tx], index[num_tx:]] = real[:, index[num_tx:], index[:num_tx]] = 0.0
    return diagonal, real
