# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake quantization: values as the integer detector sees them, gradients as if they were not rounded; and the steps.

The cited methods quantize weights with steps of their own; here the matrix follows from each channel estimate, and so
do its steps, one per row, of which only the clipping is a parameter. Activations are symmetric about 0, where PACT's
are not negative.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "PACT_DECAY",
    "Calibration",
    "StepGradient",
    "calibrated_clip",
    "calibrated_row_clips",
    "calibrated_step",
    "fake_quantize",
    "fake_quantize_rows",
    "largest",
    "limits",
]

Calibration = Literal["lsq", "minmax", "percentile", "mse"]
"""How a step is calibrated, see `calibrated_step`."""

StepGradient = Literal["straight_through", "lsq", "pact"]
"""What the gradient of a step is, see `fake_quantize`."""

PERCENTILE = 0.999
"""Share of the activations that the percentile calibration does not clip."""

MSE_STEPS, MSE_SPAN = 160, 100.0
"""The MSE-optimal step is looked for from the min-max step down to MSE_SPAN times less, 3 % apart."""

PACT_DECAY = 1e-4
"""Weight of the squared clip value in the loss (Choi 2018, section 3: lambda_alpha). PACT takes the weight decay of the
weights; here is none, and this is a usual one. 1e-5 gives the same BER at 4 and 2 bits, 1e-3 a higher one at 4 bits."""


def largest(bits: int, midrise: bool = False) -> int:
    """Largest magnitude of a symmetric signed integer: 2^(bits - 1) - 1; of an odd one, where all levels are used."""
    return 2**bits - 1 if midrise else 2 ** (bits - 1) - 1


def limits(bits: int, unsigned: bool) -> tuple[int, int]:
    """Lowest and highest integer: symmetric, or what is at least 0."""
    return (0, 2**bits - 1) if unsigned else (-largest(bits), largest(bits))


def _nearest(x: Tensor, midrise: bool) -> Tensor:
    """The nearest integer, halves to even; or midrise the nearest odd one, even ones up."""
    return 2 * torch.floor(x / 2) + 1 if midrise else torch.round(x)


def fake_quantize(
    v: Tensor,
    step: Tensor,
    bits: int,
    gradient: StepGradient = "straight_through",
    unsigned: bool = False,
    midrise: bool = False,
) -> Tensor:
    """Activations: round(clip(v / step)) step. Unsigned ones, with gradient straight_through, are clipped at 0.

    Midrise ones are odd multiples of the step: 2^bits levels, a half of the distance between two of them from 0.

    The gradient with respect to v is 1 inside the clipping range and 0 outside. That with respect to the step is, by
    `gradient`,

        straight_through   round(v / step) - v / step inside, +-largest(bits) outside, as follows from the
                           straight-through estimator (Bengio 2013)
        lsq                the same over sqrt(n largest(bits)), n = v.shape[-1] (Esser 2020, section 2.2). Adam divides
                           a constant factor out again; what is left is a smaller share in the clipped gradient norm
        pact               0 inside, +-largest(bits) outside: that of the clip value largest(bits) step (Choi 2018)
    """
    limit = largest(bits, midrise)
    if gradient == "pact":
        clip = step * limit
        clipped = torch.where(v.abs() < clip, v, torch.sign(v) * clip)
        return clipped + (_nearest(clipped / step, midrise) * step - clipped).detach()
    if gradient == "lsq":
        scaled = step / math.sqrt(v.shape[-1] * limit)
        step = scaled + (step - scaled).detach()
    clamped = torch.clamp(v / step, *((-limit, limit) if midrise else limits(bits, unsigned)))
    return (clamped + (_nearest(clamped, midrise) - clamped).detach()) * step


def fake_quantize_rows(matrix: Tensor, bits: int, clip: Tensor, midrise: bool = False) -> Tensor:
    """Matrices (..., n, m) with a step for each row, clip max |row| / largest(bits).

    Midrise, entries are odd multiples of it, but for those that are exactly 0.

    The clip is a scalar, or one for each row (..., n, 1). The gradient with respect to the matrix is 1; that with
    respect to the clip is the straight-through one of the steps, as of activations.
    """
    with torch.no_grad():
        limit = largest(bits, midrise)
        full_step = matrix.abs().amax(-1, keepdim=True) / limit
        full_step = torch.where(full_step > 0, full_step, 1.0)
    step = full_step * clip
    constant = matrix.detach()
    ratio = torch.clamp(constant / step, -limit, limit)
    slope = ratio * step.detach()  # adds 0, and -ratio to the gradient of the step inside the clipping range
    nearest = _nearest(ratio.detach(), midrise)
    if midrise:
        nearest = torch.where(constant == 0, 0.0, nearest)
    quantized = nearest * step + (slope - slope.detach())
    return matrix + (quantized - constant)


def calibrated_clip(matrices: Tensor, bits: int, midrise: bool = False) -> Tensor:
    """The clip, a scalar, that makes the least squared error of matrices (..., n, n) quantized row by row."""
    clips = torch.linspace(0.2, 1, 81, device=matrices.device)
    errors = [(fake_quantize_rows(matrices, bits, clip, midrise) - matrices).square().mean() for clip in clips]
    return clips[torch.stack(errors).argmin()]


def calibrated_row_clips(matrix: Tensor, bits: int) -> Tensor:
    """The clip of each row, (n, 1), that makes the least squared error of a matrix (n, m) quantized row by row."""
    clips = torch.linspace(0.2, 1, 81, device=matrix.device)
    errors = [(fake_quantize_rows(matrix, bits, clip) - matrix).square().sum(-1) for clip in clips]
    return clips[torch.stack(errors).argmin(0)][:, None]


def calibrated_step(v: Tensor, bits: int, method: Calibration, unsigned: bool = False, midrise: bool = False) -> Tensor:
    """A step for activations like v, a scalar.

    Args:
        v: activations in full precision, any shape.
        bits: of the quantized ones.
        method: ``"lsq"`` (2 mean|v| / sqrt(largest), what LSQ starts from), ``"minmax"`` (nothing is clipped),
            ``"percentile"`` (clips all above the `PERCENTILE` of |v|) or ``"mse"`` (least squared error of v).
        unsigned: whether v, and the integers, are at least 0.
        midrise: whether the integers are the odd ones. LSQ's step is then the distance of two levels.
    """
    limit = largest(bits, midrise) if midrise else limits(bits, unsigned)[1]
    magnitudes = v.detach().abs().flatten()
    if method == "lsq":
        return (1 if midrise else 2) * magnitudes.mean() / math.sqrt(limit)
    if method == "minmax":
        return magnitudes.max() / limit
    if method == "percentile":
        return magnitudes.kthvalue(math.ceil(PERCENTILE * len(magnitudes))).values / limit
    steps = magnitudes.max() / limit * torch.logspace(0, -math.log10(MSE_SPAN), MSE_STEPS, device=v.device)
    errors = [
        (_nearest(magnitudes / step, midrise).clamp_max(limit) * step - magnitudes).square().mean() for step in steps
    ]
    return steps[torch.stack(errors).argmin()]
