# SPDX-License-Identifier: GPL-3.0-or-later
"""The unfolded networks in floating point: the full-precision twins that the quantized detectors are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation
from .model_file import DetectorModel
from .preparation import Preparation

__all__ = ["detect", "llrs", "ramp"]

Float = NDArray[np.floating]


def ramp(t: Float, slope: Float, half_distance: float, num_levels: int) -> Float:
    """Constellation-aware proximal map, see `integer_reference.ramp`; t, result in amplitudes, slope >= 1."""
    pitch = 2 * half_distance
    outermost = (num_levels - 2) * half_distance
    threshold = np.clip(pitch * np.floor((t + half_distance) / pitch), -outermost, outermost)
    return threshold + np.clip(slope * (t - threshold), -half_distance, half_distance)


def detect(model: DetectorModel, prepared: Preparation, y: NDArray[np.complexfloating]) -> Float:
    """Run the K layers in single precision.

    Args:
        model: a full-precision model.
        prepared: C channels.
        y: (C, T, num_rx).

    Returns:
        t, (C, T, n): the estimate on which the bits are decided.
    """
    run = _pgd if model.network == "pgd" else _admm
    matrix = _whole(prepared.diagonal, prepared.off_diagonal)
    return run(model, prepared, matrix, _filtered(prepared.filter, y))


def _filtered(filters: NDArray[np.complex128], y: NDArray[np.complexfloating]) -> Float:
    """Filtered vectors over the rows of the real-valued model, (C, T, n)."""
    estimates = y @ filters.swapaxes(-1, -2).astype(np.complex64)
    return np.concatenate([estimates.real, estimates.imag], axis=-1)


def _whole(diagonal: Float, off_diagonal: Float) -> Float:
    """Both parts of matrices (C, n, n) together, transposed for products with rows."""
    index = np.arange(diagonal.shape[-1])
    matrix = off_diagonal.copy()
    matrix[:, index, index] = diagonal
    return matrix.swapaxes(-1, -2).astype(np.float32)


def _law(of_layer: Float | None, k: int) -> Float:
    """The value of one law in layer k, (C, 1, 1) or (1, 1, 1)."""
    assert of_layer is not None
    return of_layer[:, k, None, None].astype(np.float32)


def _slope(prepared: Preparation, k: int) -> Float:
    """Slope of the constellation ramp in layer k, (C, 1, n)."""
    return np.maximum(prepared.precision[:, None, :] / _law(prepared.values.variance, k), 1).astype(np.float32)


def _admm(model: DetectorModel, prepared: Preparation, matrix: Float, b: NDArray) -> Float:
    """The K layers of ADMM-Net."""
    half_distance, num_levels = model.constellation.half_distance, model.constellation.num_levels
    values = prepared.values
    x, z, u = b, np.zeros_like(b), np.zeros_like(b)
    for k in range(len(model.layers)):
        relaxed = z + _law(values.relaxation, k) * (x - z)
        z = ramp(relaxed + u, _slope(prepared, k), half_distance, num_levels)
        gain = np.minimum(_law(values.dual_step, k) * prepared.diagonal[:, None, :], 2).astype(np.float32)
        u = u + gain * (relaxed - z)
        x = b + (z - u) @ matrix
    return x


def _pgd(model: DetectorModel, prepared: Preparation, matrix: Float, b: NDArray) -> Float:
    """The K layers of PGD-Net."""
    values = prepared.values
    x = np.zeros_like(b)
    for k, layer in enumerate(model.layers):
        x = x + _law(values.gradient_step, k) * (b - x @ matrix)
        if layer.threshold is not None:
            x = np.sign(x) * np.maximum(np.abs(x) - _law(values.threshold, k), 0)
        elif layer.variance is not None:
            half_distance, num_levels = model.constellation.half_distance, model.constellation.num_levels
            x = ramp(x, _slope(prepared, k), half_distance, num_levels)
    return x


def llrs(constellation: Constellation, t: Float, variance: Float) -> NDArray[np.float32]:
    """Max-log LLRs ln P(b=1)/P(b=0) of PAM symbols.

    Args:
        t: (..., n) estimates.
        variance: error variance per real dimension, broadcastable to t.

    Returns:
        (..., n, bits_per_dimension).
    """
    # the parabola t^2 is common to all levels: leaving it out keeps the distances of large t exact
    levels = (constellation.half_distance * constellation.levels).astype(np.float32)
    distance = levels * (levels - 2 * t[..., None])
    bits = constellation.level_bits.astype(bool)
    per_bit = [
        distance[..., ~bits[:, i]].min(axis=-1) - distance[..., bits[:, i]].min(axis=-1)
        for i in range(constellation.bits_per_dimension)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.stack(per_bit, axis=-1) / (2 * variance[..., None])).astype(np.float32)
