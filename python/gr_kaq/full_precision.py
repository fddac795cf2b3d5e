# SPDX-License-Identifier: GPL-3.0-or-later
"""The unfolded networks in floating point: the full-precision twins that the quantized detectors are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .constellation import Constellation
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
        (C, T, n): the estimate on which the bits are decided.
    """
    estimates = y @ prepared.filter.swapaxes(-1, -2).astype(np.complex64)
    b = np.concatenate([estimates.real, estimates.imag], axis=-1)
    index = np.arange(prepared.diagonal.shape[-1])
    matrix = prepared.off_diagonal.copy()
    matrix[:, index, index] = prepared.diagonal
    matrix = matrix.swapaxes(-1, -2).astype(np.float32)
    values = prepared.values
    half_distance, num_levels = model.constellation.half_distance, model.constellation.num_levels

    def law(of_layer: Float | None, k: int) -> Float:
        assert of_layer is not None
        return of_layer[:, k, None, None].astype(np.float32)

    def prox(t: Float, k: int) -> Float:
        slope = np.maximum(prepared.precision[:, None, :] / law(values.variance, k), 1).astype(np.float32)
        return ramp(t, slope, half_distance, num_levels)

    if model.network == "admm":
        x, z, u = b, np.zeros_like(b), np.zeros_like(b)
        for k in range(len(model.layers)):
            relaxed = z + law(values.relaxation, k) * (x - z)
            z = prox(relaxed + u, k)
            gain = np.minimum(law(values.dual_step, k) * prepared.diagonal[:, None, :], 2).astype(np.float32)
            u = u + gain * (relaxed - z)
            x = b + (z - u) @ matrix
        return x

    x = np.zeros_like(b)
    for k, layer in enumerate(model.layers):
        x = x + law(values.gradient_step, k) * (b - x @ matrix)
        if layer.threshold is not None:
            x = np.sign(x) * np.maximum(np.abs(x) - law(values.threshold, k), 0)
        elif layer.variance is not None:
            x = prox(x, k)
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
