# SPDX-License-Identifier: GPL-3.0-or-later
"""SmoothQuant (Xiao et al., ICML 2023, arXiv 2211.10438), from its equation: difficulty shared with the weights.

r = max|x|^strength / max|W|^(1 - strength), per channel; here over its geometric mean, so that steps stay alike
"""

from __future__ import annotations

import torch
from torch import Tensor

from .product import Site
from .ranges import LEAST_RANGE

__all__ = ["scales"]


def scales(site: Site, rows: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Scales and (no) shifts of `product.Product`, on rows (n, channels) of the operand."""
    channels = rows.shape[1]
    reach = rows.abs().amax(0)
    columns = site.product.weight.abs().amax(0).unflatten(0, (-1, channels)).amax(0)
    reach, columns = (values.clamp_min(LEAST_RANGE * float(values.mean())) for values in (reach, columns))
    logarithm = strength * reach.log() - (1 - strength) * columns.log()
    r = torch.exp(logarithm - logarithm.mean())
    return r, torch.zeros_like(r)
