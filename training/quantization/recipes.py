# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: how a network's products are made ready to be quantized, after its float weights are there.

A network names its products and what feeds them (`product.Site`), in the order in which it computes them. A recipe
gives them scales, which `product.merge` folds, and calibrates the weights; the float network stays what it was, but for
rounding (and but for the channels that mergequant leaves out). Where activations follow a ReLU, all recipes but `plain`
count from 0.

    plain        nothing: weights up to their largest, signed activations
    mse          weights of each output clipped for the least squared error
    smoothquant  scales between the ranges of activations and of weights
    repq         RepQ-ViT, as published: what norms feed
    repq-all     the same for every product
    mergequant   MergeQuant, for every product
    lrp-qvit     the clipped channel-wise quantization of LRP-QViT: what norms feed
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from . import mergequant, repq, smoothquant
from .product import Norm, Rows, Site
from .ranges import PERCENTILES, calibration_rows

__all__ = ["RECIPES", "Method", "Recipe", "prepare"]

Method = Literal["plain", "mse", "smoothquant", "repq", "repq-all", "mergequant", "lrp-qvit"]

Scales = Callable[[Site, Tensor, int, float], tuple[Tensor, Tensor, Tensor | None]]
"""Of a site, rows of its operand, bits and strength: r and b of `product.Product`, and the step that goes with them, if
it does not have to be calibrated."""


@dataclass(frozen=True)
class Recipe:
    """What a method does.

    Attributes:
        scales: of the channels; None: none.
        everywhere: whether every product gets them, or what norms feed only.
        calibrates: whether the weights of each output are clipped, and activations after a ReLU unsigned.
        reconstructs: whether channels are split and left out.
    """

    scales: Scales | None = None
    everywhere: bool = False
    calibrates: bool = True
    reconstructs: bool = False


def _repq(percentiles: tuple[float, ...]) -> Scales:
    def scales(site: Site, rows: Tensor, bits: int, strength: float) -> tuple[Tensor, Tensor, Tensor | None]:
        calibrated = repq.channels(site, rows, bits, percentiles)
        return *calibrated.reparametrized(strength), calibrated.step.mean() if strength == 1 else None

    return scales


def _migrated(site: Site, rows: Tensor, bits: int, strength: float) -> tuple[Tensor, Tensor, Tensor | None]:
    steps = mergequant.channel_steps(site, rows, bits)
    r = (steps / steps.mean()) ** strength
    return r, torch.zeros_like(r), steps.mean() if strength == 1 else None


def _smooth(site: Site, rows: Tensor, bits: int, strength: float) -> tuple[Tensor, Tensor, None]:
    return *smoothquant.scales(site, rows, strength), None


RECIPES: dict[Method, Recipe] = {
    "plain": Recipe(calibrates=False),
    "mse": Recipe(),
    "smoothquant": Recipe(_smooth),
    "repq": Recipe(_repq(PERCENTILES)),
    "repq-all": Recipe(_repq(PERCENTILES), everywhere=True),
    "mergequant": Recipe(_migrated, everywhere=True, reconstructs=True),
    "lrp-qvit": Recipe(_repq(repq.CLIPPED)),
}


@torch.no_grad()
def prepare(
    method: Method, sites: Sequence[Site], seen: Sequence[Tensor], strength: float
) -> list[tuple[Tensor, Tensor | None]]:
    """Scale and calibrate a network's products.

    Args:
        method: of `RECIPES`.
        sites: the products; they and what feeds them change.
        seen: operand of each, (..., channels), in floating point.
        strength: of the scales, 1 for all of them, 0 for none.

    Returns:
        Of each product the operand as it is now, and its step, where the method says that.

    Raises:
        ConfigError: there is too little to calibrate on, or it is not finite.
    """
    recipe = RECIPES[method]
    found = []
    for site, given in zip(sites, seen, strict=True):
        product, operand, step = site.product, given, None
        bits = product.activation_bits
        rows = calibration_rows(site.name, given) if recipe.calibrates else given
        if recipe.scales is not None and bits is not None and (recipe.everywhere or isinstance(site.feed, Norm)):
            r, b, step = recipe.scales(site, rows, bits, strength)
            operand = operand / r - b
            select = mergequant.reconstruct(site, rows, r) if recipe.reconstructs else None
            if select is not None:
                operand = operand[..., select]
            copied = select is not None and isinstance(site.feed, Rows)
            product.r, product.b = (r[select], b[select]) if copied else (r, b)
        found.append((operand, step))
        if recipe.calibrates:
            product.calibrate_weights()
    return found
