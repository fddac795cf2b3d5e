# SPDX-License-Identifier: GPL-3.0-or-later
"""The integer detector in plain NumPy: the specification that every native kernel equals bit for bit.

From b on, every value is an integer whose width and scale docs/internals/integer-model.md states. Two roundings occur:
`multiply_q15` and the rescaling of an accumulator, both to nearest with halves up (add half, shift), as the
instructions pmulhrsw (x86) and sqrdmulh (Arm) do. Where levels are midrise, `multiply_high` rounds activations down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation
from .model_file import DetectorModel
from .quantization import HALF_DISTANCE, INT16_MAX, RESCALE_SHIFT, IntegerChannels

__all__ = ["detect", "llrs", "multiply_q15", "ramp"]

Int = NDArray[np.int32]


def saturate(x: NDArray) -> Int:
    """Clip to int16."""
    return np.clip(x, -INT16_MAX - 1, INT16_MAX).astype(np.int32)


def multiply_q15(x: Int, gain: Int) -> Int:
    """round(x * gain / 2^15), both int16 and gain > -2^15."""
    return (x * gain + (1 << 14)) >> 15


def multiply_high(x: Int, gain: Int) -> Int:
    """floor(x * gain / 2^16), both int16: what is below an odd integer 2 i + 1, where x * gain / 2^15 is next to it."""
    return (x * gain) >> 16


def multiply_q15_plus_1(x: Int, gain: Int) -> Int:
    """x * (1 + gain / 2^15), saturated: a factor between 0 and 2."""
    return saturate(x + multiply_q15(x, gain))


def ramp(t: Int, slope: Int, num_levels: int) -> Int:
    """Constellation-aware proximal map: the nearest decision threshold plus a clipped ramp.

    Between two levels the posterior mean of a PAM symbol is a tanh around the threshold between them; its slope there,
    half_distance^2 / variance, makes the ramp.

    Args:
        t: int16, state units.
        slope: int16, Q9, at least 512.
        num_levels: PAM levels, 2 to 16.
    """
    pitch = 2 * HALF_DISTANCE
    outermost = (num_levels - 2) * HALF_DISTANCE
    threshold: Int = np.clip(saturate(t + HALF_DISTANCE) & -pitch, -outermost, outermost)
    distance = np.clip(saturate(t - threshold), -HALF_DISTANCE + 1, HALF_DISTANCE - 1)
    rise: Int = np.clip(multiply_q15(distance << 6, slope), -HALF_DISTANCE, HALF_DISTANCE)
    return threshold + rise


def soft_threshold(r: Int, threshold: Int) -> Int:
    """Shrink towards zero by `threshold`: the proximal map of the l1 norm."""
    return np.sign(r) * np.maximum(np.abs(r) - threshold, 0)


def detect(model: DetectorModel, channels: IntegerChannels, b: NDArray[np.int16]) -> NDArray[np.int16]:
    """Run the K integer layers.

    Args:
        model: a quantized model.
        channels: C prepared channels.
        b: int16 (C, T, n), the filtered received vectors in state units.

    Returns:
        t, int16 (C, T, n), in state units: the estimate on which the bits are decided.
    """
    run = _pgd if model.network == "pgd" else _admm
    return run(model, channels, b).astype(np.int16)


def _exact_product(activations: Int, matrix: NDArray[np.int8]) -> Int:
    """matrix activations, (C, T, n): sums below 2^24, so single precision products and sums are exact integers."""
    return (activations.astype(np.float32) @ matrix.astype(np.float32).swapaxes(-1, -2)).astype(np.int32)


def _per_row(values: NDArray) -> Int:
    """(C, K, n) -> (K, C, 1, n) in int32, so that layer k broadcasts over the T vectors."""
    return np.moveaxis(values, 1, 0)[:, :, None, :].astype(np.int32)


def _per_layer(values: NDArray) -> Int:
    """(C, K) -> (K, C, 1, 1) in int32."""
    return np.moveaxis(values, 1, 0)[:, :, None, None].astype(np.int32)


def _matrix_product(model: DetectorModel, channels: IntegerChannels, k: int, v: Int) -> Int:
    """The one product of a layer: v is quantized to activations, multiplied, and rescaled to state units; (C, T, n)."""
    activation_max = model.largest_activations[k]
    inverse_step = channels.inverse_step[:, k, None, :].astype(np.int32)
    nearest = 2 * multiply_high(v, inverse_step) + 1 if model.midrise else multiply_q15(v, inverse_step)
    activations = np.clip(nearest, -activation_max, activation_max)
    accumulator = _exact_product(activations, channels.matrix)
    return (accumulator * channels.rescale[:, k, None, :] + (1 << (RESCALE_SHIFT - 1))) >> RESCALE_SHIFT


def _admm(model: DetectorModel, channels: IntegerChannels, b: NDArray[np.int16]) -> Int:
    """The K layers of ADMM-Net."""
    diagonal, slope, second_gain = map(_per_row, (channels.diagonal, channels.slope, channels.second_gain))
    first_gain = _per_layer(channels.first_gain)
    num_levels = model.constellation.num_levels
    start = b.astype(np.int32)
    x, z, u = start, np.zeros_like(start), np.zeros_like(start)
    for k in range(len(model.layers)):
        relaxed = saturate(x + multiply_q15(saturate(x - z), first_gain[k]))
        z = ramp(saturate(relaxed + u), slope[k], num_levels)
        u = saturate(u + multiply_q15_plus_1(saturate(relaxed - z), second_gain[k]))
        v = saturate(z - u)
        x = saturate(start + multiply_q15(v, diagonal[k]) + _matrix_product(model, channels, k, v))
    return x


def _pgd(model: DetectorModel, channels: IntegerChannels, b: NDArray[np.int16]) -> Int:
    """The K layers of PGD-Net."""
    diagonal, slope = _per_row(channels.diagonal), _per_row(channels.slope)
    threshold, first_gain = _per_layer(channels.threshold), _per_layer(channels.first_gain)
    start = b.astype(np.int32)
    x = np.zeros_like(start)
    for k, layer in enumerate(model.layers):
        gradient = multiply_q15_plus_1(start, first_gain[k])
        x = saturate(gradient + multiply_q15(x, diagonal[k]) + _matrix_product(model, channels, k, x))
        if layer.threshold is not None:
            x = soft_threshold(x, threshold[k])
        elif layer.variance is not None:
            x = ramp(x, slope[k], model.constellation.num_levels)
    return x


def llrs(constellation: Constellation, t: NDArray[np.int16]) -> NDArray[np.int32]:
    """Max-log LLRs of PAM symbols, ln P(b=1)/P(b=0), as integers.

    Args:
        t: int16 (..., n), state units.

    Returns:
        int32 (..., n, bits_per_dimension): (min over b=0 of (t - level)^2 - min over b=1) / 2^11, an exact division.
    """
    distance = np.square(t.astype(np.int64)[..., None] - HALF_DISTANCE * constellation.levels)
    bits = constellation.level_bits.astype(bool)
    per_bit = [
        distance[..., ~bits[:, i]].min(axis=-1) - distance[..., bits[:, i]].min(axis=-1)
        for i in range(constellation.bits_per_dimension)
    ]
    return (np.stack(per_bit, axis=-1) >> 11).astype(np.int32)
