# SPDX-License-Identifier: GPL-3.0-or-later
"""From a prepared channel and received samples in floating point to the integers that the detector runs on.

docs/internals/integer-model.md states every width and scale. Rounding is half to even here, where floats become
integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .model_file import DetectorModel
from .preparation import Preparation, output_error

__all__ = [
    "HALF_DISTANCE",
    "IntegerChannels",
    "quantize_channels",
    "quantize_estimates",
    "state_unit",
]

HALF_DISTANCE = 512
"""Half the distance between PAM levels in state units; the state is int16, so it spans +-64 half distances."""

RESCALE_SHIFT = 12
STREAM_SCALE_LIMIT = 8.0
Q15 = 1 << 15
INT16_MAX = 32767


@dataclass(frozen=True)
class IntegerChannels:
    """C channels as integers; n = 2 num_tx rows, K layers.

    Attributes:
        matrix: int8 (C, n, n). Off-diagonal matrix in steps of each row's own step, zero on the diagonal.
        diagonal: int16 (C, K, n), Q15. ADMM-Net: the exact diagonal; PGD-Net: 1 - gradient_step * diagonal.
        rescale: int32 (C, K, n), Q12. From a product of `matrix` and activations to state units.
        inverse_step: int16 (C, K, n), Q15. State unit over activation step.
        slope: int16 (C, K, n), Q9. Slope of the constellation ramp, 0 where the layer has none.
        threshold: int16 (C, K), state units. PGD-Net's soft threshold.
        first_gain: int16 (C, K), Q15. ADMM-Net: relaxation - 1; PGD-Net: gradient_step - 1.
        second_gain: int16 (C, K, n), Q15. ADMM-Net: min(dual_step * diagonal, 2) - 1.
        llr_scale: float32 (C, n). LLR per unit of the integer LLR.
    """

    matrix: NDArray[np.int8]
    diagonal: NDArray[np.int16]
    rescale: NDArray[np.int32]
    inverse_step: NDArray[np.int16]
    slope: NDArray[np.int16]
    threshold: NDArray[np.int16]
    first_gain: NDArray[np.int16]
    second_gain: NDArray[np.int16]
    llr_scale: NDArray[np.float32]


def state_unit(model: DetectorModel) -> float:
    """Amplitude of one state unit."""
    return model.constellation.half_distance / HALF_DISTANCE


def quantize_channels(model: DetectorModel, prepared: Preparation) -> IntegerChannels:
    """Quantize prepared channels: per row, at every estimate.

    With `stream_steps`, the activation step of stream j is the law's divided by s_j = sqrt(diagonal_j / mean), and
    column j of the matrix is divided by s_j as well. A weak stream, whose column is large, so has a finer step: every
    stream's rounding then adds about as much to a row.

    With `midrise`, activations and entries of the matrix are the odd integers next to them. At few bits that is a
    level more: 2 bits give +-1 and +-3 instead of -1, 0 and 1. Entries of exactly 0, as on the diagonal, stay 0.
    """
    if not model.quantized:
        raise ValueError(f"detector {model.name} is full precision; it has no integer form")
    num_channels, n = prepared.diagonal.shape
    num_layers = len(model.layers)
    values = prepared.values
    unit = state_unit(model)
    matrix_max = model.largest_entry

    stream_scale = np.ones_like(prepared.diagonal)
    if model.stream_steps:
        mean = prepared.diagonal.mean(axis=-1, keepdims=True)
        relative = prepared.diagonal / np.where(mean > 0, mean, 1.0)
        stream_scale = np.clip(np.sqrt(relative), 1 / STREAM_SCALE_LIMIT, STREAM_SCALE_LIMIT)
    scaled = prepared.off_diagonal / stream_scale[:, None, :]
    matrix, row_step = _quantize_rows(scaled, model.matrix_clip, matrix_max, model.midrise)

    def per_channel(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(x, (num_channels, num_layers))

    def none() -> NDArray[np.float64]:
        return np.zeros((num_channels, num_layers))

    assert values.step is not None  # the schema requires it of a quantized model
    common_inverse_step = _integer(per_channel(Q15 * unit / values.step), 1, INT16_MAX)
    inverse_step = _integer(common_inverse_step[..., None] * stream_scale[:, None, :], 1, INT16_MAX)
    effective_step = Q15 / common_inverse_step  # in state units
    gain = effective_step[..., None] * row_step[:, None, :]
    if model.network == "admm":
        assert values.relaxation is not None and values.dual_step is not None
        diagonal = np.broadcast_to(prepared.diagonal[:, None, :], gain.shape)
        first_gain = values.relaxation - 1
        second_gain = np.minimum(per_channel(values.dual_step)[..., None] * diagonal, 2.0) - 1
    else:
        assert values.gradient_step is not None
        step = per_channel(values.gradient_step)[..., None]
        diagonal = 1 - step * prepared.diagonal[:, None, :]
        gain = -step * gain
        first_gain, second_gain = values.gradient_step - 1, np.zeros_like(gain)
    rescale_max = _rescale_max(np.array(model.largest_activations)[:, None] * matrix_max * max(1, n - 1))
    slope = np.zeros((num_channels, num_layers, n))
    if values.variance is not None:
        variance = per_channel(values.variance)[..., None]
        ramp = np.clip(prepared.precision[:, None, :] / np.where(variance > 0, variance, 1.0), 1.0, INT16_MAX / 512)
        slope = np.where(variance > 0, 512 * ramp, 0.0)
    threshold = none() if values.threshold is None else per_channel(values.threshold) / unit
    return IntegerChannels(
        matrix=matrix,
        diagonal=_integer(Q15 * diagonal, -INT16_MAX, INT16_MAX).astype(np.int16),
        rescale=_integer(2**RESCALE_SHIFT * gain, -rescale_max, rescale_max).astype(np.int32),
        inverse_step=inverse_step.astype(np.int16),
        slope=_integer(slope, 0, INT16_MAX).astype(np.int16),
        threshold=_integer(threshold, 0, INT16_MAX).astype(np.int16),
        first_gain=_integer(Q15 * per_channel(first_gain), -INT16_MAX, INT16_MAX).astype(np.int16),
        second_gain=_integer(Q15 * second_gain, -INT16_MAX, INT16_MAX).astype(np.int16),
        llr_scale=(prepared.precision / (256 * output_error(model, prepared))).astype(np.float32),
    )


def _quantize_rows(
    matrix: NDArray[np.float64], clip: float, largest: int, midrise: bool
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Rows in steps of clip * max |row| / largest, as integers up to +-largest, and these steps."""
    row_step = clip * np.max(np.abs(matrix), axis=-1) / largest
    scaled = matrix / np.where(row_step > 0, row_step, 1.0)[..., None]
    if midrise:
        scaled = np.sign(scaled) * (2 * np.rint((np.abs(scaled) - 1) / 2) + 1)
    return _integer(scaled, -largest, largest).astype(np.int8), row_step


def _rescale_max(largest_accumulator: NDArray[np.int64]) -> NDArray[np.int64]:
    """So that no product with an accumulator leaves int32."""
    return (2**31 - 1 - 2 ** (RESCALE_SHIFT - 1)) // largest_accumulator


def quantize_estimates(
    model: DetectorModel, prepared: Preparation, y: NDArray[np.complexfloating]
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Filter received vectors and round to state units.

    Args:
        y: (C, T, num_rx).

    Returns:
        b: int16 (C, T, n), and finite: bool (C, T), False where a vector holds NaN or Inf (b is 0 there).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        estimates = y @ prepared.filter.swapaxes(-1, -2).astype(np.complex64)
        real = np.concatenate([estimates.real, estimates.imag], axis=-1) / np.float32(state_unit(model))
    finite = np.isfinite(real).all(axis=-1)
    real = np.where(finite[..., None], real, np.float32(0))
    return _integer(real, -INT16_MAX - 1, INT16_MAX).astype(np.int16), finite


def _integer(x: NDArray, low: ArrayLike, high: ArrayLike) -> NDArray:
    """x rounded half to even and clipped, still as floats."""
    return np.clip(np.rint(x), low, high)
