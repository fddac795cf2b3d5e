# SPDX-License-Identifier: GPL-3.0-or-later
"""RepQ-ViT: scale reparametrization (Li et al., ICCV 2023, arXiv 2212.08254), from its equations.

Calibration is by channel, inference by tensor. Channel c has the range [low, high], of middle m and step s. With the
mean s~ of the steps,

    r = s / s~        b = m / r        x' = x / r - b

the codes round((x - m) / s) of the channels are the codes round(x' / s~) of the tensor, and `product.merge` takes r and
b into what feeds the product. The difficulty goes to the weights, which are then calibrated anew. A strength below 1
leaves some of it where it was: r^strength, as SmoothQuant would (arXiv 2211.10438).

Published for what norms feed. Here it is for whatever takes scales in. Codes are symmetric (the published ones have a
zero point); since b moves the middle to 0, nothing is lost but one code of 2^bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .product import Site
from .quantizers import limits
from .ranges import LEAST_RANGE, PERCENTILES, percentile_ranges, symmetric_ranges

__all__ = ["CLIPPED", "Channels", "channel_codes", "channels", "tensor_codes"]

CLIPPED = (0.995, 0.999)
"""Percentiles of clipped channel-wise quantization, as LRP-QViT (arXiv 2401.11243) has it; values are ours."""


@dataclass(frozen=True)
class Channels:
    """Calibration by channel, (channels,) each: middle of the range, and step."""

    middle: Tensor
    step: Tensor

    def reparametrized(self, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """Scales r and shifts b of `product.Product`."""
        r = (self.step / self.step.mean()) ** strength
        return r, self.middle / r


def channels(site: Site, rows: Tensor, bits: int, percentiles: tuple[float, ...] = PERCENTILES) -> Channels:
    """The calibration of an operand on rows (n, channels) of it.

    Args:
        site: the product, whose feed says whether there can be shifts.
        rows: see `ranges.calibration_rows`.
        bits: of the activations.
        percentiles: candidates of the ranges.
    """
    if site.feed.shifts:
        low, high = percentile_ranges(rows, bits, percentiles)
        middle, reach = (low + high) / 2, (high - low) / 2
    else:
        reach = symmetric_ranges(rows, bits, site.product.unsigned)
        middle = torch.zeros_like(reach)
    top = limits(bits, site.product.unsigned)[1]
    return Channels(middle, reach.clamp_min(LEAST_RANGE * float(reach.mean())) / top)


def channel_codes(x: Tensor, calibrated: Channels, bits: int, unsigned: bool = False) -> Tensor:
    """Integers of the channel-wise quantizer."""
    return torch.round((x - calibrated.middle) / calibrated.step).clamp(*limits(bits, unsigned))


def tensor_codes(x: Tensor, step: Tensor, bits: int, unsigned: bool = False) -> Tensor:
    """Integers of the quantizer with one step."""
    return torch.round(x / step).clamp(*limits(bits, unsigned))
