# SPDX-License-Identifier: GPL-3.0-or-later
"""The log-sqrt2 quantizer of RepQ-ViT (arXiv 2212.08254), for the weights of attention, which are positive and small.

    q = clip(round(-2 log2(x / s)), 0, 2^bits - 1)
    x^ = s~ 2^-ceil(q / 2),   s~ = s (1 + (sqrt(2) - 1) (q mod 2)),   0 where x / s is below the last level

The parity of q is in the scale s~, so what is left is a power of 2, a shift. But that scale differs from entry to
entry: an integer product needs two sums, of even and of odd codes. Nothing here does that; it is an ablation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_sqrt2_codes", "log_sqrt2_quantize", "log_sqrt2_values"]


def log_sqrt2_codes(x: Tensor, scale: float, bits: int) -> Tensor:
    """Integers 0 to 2^bits - 1, and 2^bits for what is 0."""
    return torch.round(-2 * torch.log2(x / scale)).clamp(0, 2**bits)


def log_sqrt2_values(codes: Tensor, scale: float, bits: int) -> Tensor:
    """What integers stand for."""
    parity = 1 + (math.sqrt(2) - 1) * (codes % 2)
    return torch.where(codes < 2**bits, scale * parity * torch.exp2(-torch.ceil(codes / 2)), 0.0)


def log_sqrt2_quantize(x: Tensor, bits: int, scale: float = 1.0) -> Tensor:
    """Values from 0 to `scale`, quantized."""
    return log_sqrt2_values(log_sqrt2_codes(x, scale, bits), scale, bits)
