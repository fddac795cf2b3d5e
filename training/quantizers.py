# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake quantization: values as the integer detector sees them, gradients as if they were not rounded."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["fake_quantize", "fake_quantize_rows", "largest", "starting_step"]


def largest(bits: int) -> int:
    """Largest magnitude of a symmetric signed integer: 2^(bits - 1) - 1."""
    return 2 ** (bits - 1) - 1


def _round(x: Tensor) -> Tensor:
    """Round half to even; the straight-through estimator takes the gradient to be 1 (Bengio 2013)."""
    return x + (torch.round(x) - x).detach()


def fake_quantize(v: Tensor, step: Tensor, bits: int) -> Tensor:
    """Activations: round(clip(v / step)) step.

    The gradient with respect to v is 1 inside the clipping range and 0 outside; with respect to the step it is LSQ's
    (Esser 2020): round(v / step) - v / step inside, +-largest(bits) outside. LSQ's scale of that gradient has no place
    here, as Adam takes it out again.
    """
    limit = largest(bits)
    return _round(torch.clamp(v / step, -limit, limit)) * step


def fake_quantize_rows(matrix: Tensor, bits: int) -> Tensor:
    """Matrices (..., n, n) with a step for each row, max |row| / largest(bits). The gradient is 1."""
    with torch.no_grad():
        step = matrix.abs().amax(-1, keepdim=True) / largest(bits)
        step = torch.where(step > 0, step, 1.0)
        rounded = torch.round(matrix / step) * step
    return matrix + (rounded - matrix).detach()


def starting_step(v: Tensor, bits: int) -> Tensor:
    """The step that training starts from: LSQ's 2 mean|v| / sqrt(largest(bits))."""
    return 2 * v.abs().mean() / math.sqrt(largest(bits))
