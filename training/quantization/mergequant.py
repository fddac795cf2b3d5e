# SPDX-License-Identifier: GPL-3.0-or-later
"""MergeQuant (arXiv 2503.07654), from its abstract and summaries: the full text and code were not at hand.

- **Step migration.** The static step s of each channel goes into the norm and the next weights: gamma / s, W diag(s).
  The step of the tensor is 1, so the norm's output is rounded and nothing else. The codes are those of `repq` without
  shifts. Here r = s / mean s, and the tensor's step is mean s: the codes are the same, the weights stay as large as
  they were (which Adam needs, if they are trained), and an integer product multiplies by a step anyway.
- **Adaptive clipping.** s is what makes the least squared error (`ranges.symmetric_ranges`).
- **Dimension reconstruction.** A channel with a large s makes a column of large weights, which coarsen the step of all
  rows. It is split into copies that share its weights; as many of the weakest channels are left out, so that the width
  stays. What a left out channel gives on average goes into the bias.

Rows of another product are copied and left out for nothing. Behind a norm, whose mean and variance are over the
channels that there are, it takes one selection of channels at run time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .product import Rows, Site
from .quantizers import limits
from .ranges import LEAST_RANGE, symmetric_ranges

__all__ = ["channel_steps", "reconstruct"]

STRONG = 2.0
"""Over the median, steps that are split."""

MOST_SPLIT = 0.125
"""Of the channels, how many are left out at most."""


def channel_steps(site: Site, rows: Tensor, bits: int) -> Tensor:
    """The step of each channel, (channels,), on rows (n, channels) of the operand."""
    reach = symmetric_ranges(rows, bits, site.product.unsigned)
    return reach.clamp_min(LEAST_RANGE * float(reach.mean())) / limits(bits, site.product.unsigned)[1]


@torch.no_grad()
def reconstruct(site: Site, rows: Tensor, steps: Tensor) -> Tensor | None:
    """Split strong channels, and leave weak ones out.

    Args:
        site: the product; its weights, its bias and its feed change.
        rows: of the operand, (n, channels), as the norm or the other product gives it.
        steps: of the channels.

    Returns:
        The channel that each one is now, (channels,). None if no channel is strong, or if rows are arranged of the
        operand, which has zeros beside it that no bias makes up for.
    """
    product, width = site.product, len(steps)
    if product.weight.shape[1] != width:
        return None
    groups = site.feed.groups if isinstance(site.feed, Rows) else 1
    power = product.weight.square().sum(0) * rows.var(0)
    select = torch.arange(width, device=steps.device)
    copies = torch.ones_like(steps)
    for own in select.clone().chunk(groups):
        strong = sorted(own.tolist(), key=lambda c: -float(steps[c]))
        weak = sorted(own.tolist(), key=lambda c: float(power[c]))[: int(MOST_SPLIT * len(own))]
        for channel in strong:
            extra = math.ceil(float(steps[channel] / (STRONG * steps.median()))) - 1
            for _ in range(extra):
                if not weak or weak[0] == channel or copies[weak[0]] > 1:
                    break
                left_out = weak.pop(0)
                select[left_out] = channel
                copies[channel] += 1
                copies[left_out] = 0
    if bool((copies == 1).all()):
        return None
    gone = (copies == 0).to(rows)
    product.bias.add_(product.weight @ (gone * rows.mean(0)))
    product.weight.copy_(product.weight[:, select] / copies[select])
    if isinstance(site.feed, Rows):
        site.feed.reselect(select)
    else:
        product.select = select
    return select
