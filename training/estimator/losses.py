# SPDX-License-Identifier: GPL-3.0-or-later
"""What quantization costs a network: the loss to its twin, which product loses what, and the ranges of its channels.

All losses are of the squared error over that of the frame's LMMSE estimate, in dB over the full-precision network, on
the same held-out frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..quantization.log_sqrt2 import log_sqrt2_quantize
from ..quantization.ranges import calibration_rows, spread
from .config import Config
from .export import refined
from .network import EstimatorNet
from .train import calibration_operands, quantize
from .windows import Windows

__all__ = ["Loss", "Reference", "attention_losses", "channel_ranges", "product_losses"]

FLAT = 2.0
"""Ratio of the largest range to the median below which a fold cannot matter."""


@dataclass(frozen=True)
class Loss:
    """In dB, with half of its 95 % interval: frames are what is drawn at random, so each is one sample."""

    db: float
    interval: float


class Reference:
    """Held-out frames and the error that the full-precision network has on them.

    Args:
        twin: the network.
        held_out: see `export.held_out_windows`.
    """

    def __init__(self, twin: EstimatorNet, held_out: Windows):
        self._held_out = held_out
        frames = torch.unique_consecutive(held_out.weight, return_inverse=True)[1]
        self._frames, self._count = frames, int(frames.max()) + 1
        self._twin = self._errors(refined(twin, held_out))
        self.db = round(10 * math.log10(float(self._twin.mean() / self._per_frame.mean())), 3)

    @property
    def _per_frame(self) -> Tensor:
        return torch.bincount(self._frames, minlength=self._count).double()

    def _errors(self, estimate: Tensor) -> Tensor:
        """Sum of the relative errors of each frame's windows."""
        relative = (estimate - self._held_out.truth).abs().square().mean((1, 2)) * self._held_out.weight
        return torch.zeros(self._count, dtype=torch.double).index_add(0, self._frames, relative.double())

    def loss(self, network: EstimatorNet) -> Loss:
        """How much a quantized network's error is above the full-precision one's."""
        own = self._errors(refined(network, self._held_out))
        if not bool(own.isfinite().all()):
            return Loss(math.inf, 0.0)
        ratio = float(own.mean() / self._twin.mean())
        residual = own - ratio * self._twin
        deviation = float(residual.std() / len(own) ** 0.5 / self._twin.mean() / ratio)
        return Loss(10 * math.log10(ratio), 1.96 * 10 / math.log(10) * deviation)


def product_losses(config: Config, twin: EstimatorNet, data: Windows, reference: Reference) -> list[dict[str, Any]]:
    """What each product loses, weights and activations apart, the others in floating point.

    Args:
        config: its quantizer says at which width, and how it is calibrated.
        twin: the network.
        data: to calibrate on.
        reference: to measure on.
    """
    network, _ = quantize(config, data, twin, progress=False)
    products = network.products()
    widths = {name: product.activation_bits for name, product in products.items()}
    rows = []
    for name, product in products.items():
        found: dict[str, Any] = {"product": name}
        for operand in ("weights", "activations"):
            for other in products.values():
                other.weight_bits = other.activation_bits = None
            setattr(product, "weight_bits" if operand == "weights" else "activation_bits", widths[name])
            loss = reference.loss(network)
            found[operand] = {"db": loss.db, "interval": loss.interval}
        rows.append(found)
    for name, product in products.items():
        product.weight_bits = product.activation_bits = widths[name]
    whole = reference.loss(network)
    return [*rows, {"product": "all", "both": {"db": whole.db, "interval": whole.interval}}]


def attention_losses(twin: EstimatorNet, bits: int, reference: Reference) -> list[dict[str, Any]]:
    """What the network loses by its attention's weights alone: in equidistant levels from 0 to 1, and in log-sqrt2."""
    top = 2**bits - 1
    found = []
    for levels, quantize_weights in (
        ("uniform", lambda x: torch.round(top * x) / top),
        ("log-sqrt2", lambda x: log_sqrt2_quantize(x, bits)),
    ):
        hook = twin.softmax.register_forward_hook(lambda _, __, output, q=quantize_weights: q(output))
        try:
            loss = reference.loss(twin)
        finally:
            hook.remove()
        found.append({"levels": levels, "db": loss.db, "interval": loss.interval})
    return found


def channel_ranges(config: Config, twin: EstimatorNet, data: Windows) -> list[dict[str, Any]]:
    """Largest magnitude of each channel of each operand, before and after a method's folds."""
    generator = torch.Generator().manual_seed(config.seed + 1)
    network, _ = quantize(config, data, twin, progress=False)
    folded = network.in_full_precision()
    found = []
    before = calibration_operands(twin, data, config.batch, generator)
    after = calibration_operands(folded, data, config.batch, torch.Generator().manual_seed(config.seed + 1))
    for site, own, other in zip(network.sites(), before, after, strict=True):
        rows, folded_rows = calibration_rows(site.name, own), calibration_rows(site.name, other)
        ratio = spread(rows)
        found.append(
            {
                "product": site.name,
                "feed": type(site.feed).__name__.lower(),
                "before": rows.abs().amax(0).tolist(),
                "after": folded_rows.abs().amax(0).tolist(),
                "max_over_median": ratio.max_over_median,
                "median_over_min": ratio.median_over_min,
                "max_over_median_after": spread(folded_rows).max_over_median,
                "flat": ratio.max_over_median < FLAT,
            }
        )
    return found
