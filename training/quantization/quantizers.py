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


def largest(bits: int) -> int:
    """Largest magnitude of a symmetric signed integer: 2^(bits - 1) - 1."""
    return 2 ** (bits - 1) - 1


def limits(bits: int, unsigned: bool) -> tuple[int, int]:
    """Lowest and highest integer: symmetric, or what is at least 0."""
    return (0, 2**bits - 1) if unsigned else (-largest(bits), largest(bits))


def _round(x: Tensor) -> Tensor:
    """Round half to even; the straight-through estimator takes the gradient to be 1 (Bengio 2013)."""
    return x + (torch.round(x) - x).detach()


def fake_quantize(
    v: Tensor, step: Tensor, bits: int, gradient: StepGradient = "straight_through", unsigned: bool = False
) -> Tensor:
    """Activations: round(clip(v / step)) step. Unsigned ones, with gradient straight_through, are clipped at 0.

    The gradient with respect to v is 1 inside the clipping range and 0 outside. That with respect to the step is, by
    `gradient`,

        straight_through   round(v / step) - v / step inside, +-largest(bits) outside, as follows from the
                           straight-through estimator
        lsq                the same over sqrt(n largest(bits)), n = v.shape[-1] (Esser 2020, section 2.2). Adam divides
                           a constant factor out again; what is left is a smaller share in the clipped gradient norm
        pact               0 inside, +-largest(bits) outside: that of the clip value largest(bits) step (Choi 2018)
    """
    limit = largest(bits)
    if gradient == "pact":
        clip = step * limit
        clipped = torch.where(v.abs() < clip, v, torch.sign(v) * clip)
        return clipped + (torch.round(clipped / step) * step - clipped).detach()
    if gradient == "lsq":
        scaled = step / math.sqrt(v.shape[-1] * limit)
        step = scaled + (step - scaled).detach()
    return _round(torch.clamp(v / step, *limits(bits, unsigned))) * step


def fake_quantize_rows(matrix: Tensor, bits: int, clip: Tensor) -> Tensor:
    """Matrices (..., n, m) with a step for each row, clip max |row| / largest(bits).

    The clip is a scalar, or one for each row (..., n, 1). The gradient with respect to the matrix is 1; that with
    respect to the clip is the straight-through one of the steps, as of activations.
    """
    with torch.no_grad():
        full_step = matrix.abs().amax(-1, keepdim=True) / largest(bits)
        full_step = torch.where(full_step > 0, full_step, 1.0)
    step = full_step * clip
    constant = matrix.detach()
    ratio = torch.clamp(constant / step, -largest(bits), largest(bits))
    slope = ratio * step.detach()  # adds 0, and -ratio to the gradient of the step inside the clipping range
    quantized = torch.round(ratio.detach()) * step + (slope - slope.detach())
    return matrix + (quantized - constant)


def calibrated_clip(matrices: Tensor, bits: int) -> Tensor:
    """The clip, a scalar, that makes the least squared error of matrices (..., n, n) quantized row by row."""
    clips = torch.linspace(0.2, 1, 81, device=matrices.device)
    errors = [(fake_quantize_rows(matrices, bits, clip) - matrices).square().mean() for clip in clips]
    return clips[torch.stack(errors).argmin()]


def calibrated_row_clips(matrix: Tensor, bits: int) -> Tensor:
    """The clip of each row, (n, 1), that makes the least squared error of a matrix (n, m) quantized row by row."""
    clips = torch.linspace(0.2, 1, 81, device=matrix.device)
    errors = [(fake_quantize_rows(matrix, bits, clip) - matrix).square().sum(-1) for clip in clips]
    return clips[torch.stack(errors).argmin(0)][:, None]


def calibrated_step(v: Tensor, bits: int, method: Calibration, unsigned: bool = False) -> Tensor:
    """A step for activations like v, a scalar.

    Args:
        v: activations in full precision, any shape.
        bits: of the quantized ones.
        method: ``"lsq"`` (2 mean|v| / sqrt(largest), what LSQ starts from), ``"minmax"`` (nothing is clipped),
            ``"percentile"`` (clips all above the `PERCENTILE` of |v|) or ``"mse"`` (least squared error of v).
        unsigned: whether v, and the integers, are at least 0.
    """
    limit = limits(bits, unsigned)[1]
    magnitudes = v.detach().abs().flatten()
    if method == "lsq":
        return 2 * magnitudes.mean() / math.sqrt(limit)
    if method == "minmax":
        return magnitudes.max() / limit
    if method == "percentile":
        return magnitudes.kthvalue(math.ceil(PERCENTILE * len(magnitudes))).values / limit
    steps = magnitudes.max() / limit * torch.logspace(0, -math.log10(MSE_SPAN), MSE_STEPS, device=v.device)
    errors = [(torch.round(magnitudes / step).clamp_max(limit) * step - magnitudes).square().mean() for step in steps]
    return steps[torch.stack(errors).argmin()]
