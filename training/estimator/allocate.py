# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixed precision of an estimator: a width for each product, by several scores, against the truth where it is known.

The truth is the loss of every allocation, measured after calibration on held-out frames. 6 products at 2 widths have 64
allocations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from ..quantization.allocation import Allocation, measure_all, prices
from ..quantization.relevance import contributions
from ..quantization.sensitivity import noise_of_products
from .config import Config
from .losses import Reference
from .network import EstimatorNet, interpolated
from .train import DEVICE, draw_batch, quantize
from .windows import Windows

__all__ = ["SCORES", "Problem", "Score"]

Score = Literal["jacobian", "lrp", "measured", "random"]
SCORES: tuple[Score, ...] = ("jacobian", "lrp", "measured", "random")
SCORED_BATCHES = 4


class Problem:
    """A network, the widths that its products may have, and what they cost.

    Args:
        config: its quantizer says how products are calibrated.
        twin: the full-precision network.
        bits: widths to choose from.
        data: to calibrate on.
        reference: to measure on.
    """

    def __init__(self, config: Config, twin: EstimatorNet, bits: Sequence[int], data: Windows, reference: Reference):
        self.config, self.twin, self.bits, self.data, self.reference = config, twin, sorted(bits), data, reference
        self.names = list(twin.products())
        self._multiplications = list(twin.costs().values())
        self._weights = [product.weight.numel() for product in twin.products().values()]

    def price(self, unit: str) -> dict[int, list[float]]:
        """Of each product, by width."""
        return {width: self._prices(unit, width) for width in self.bits}

    def whole(self, unit: str) -> float:
        """What 8 bits everywhere take."""
        return sum(self._prices(unit, 8))

    def _prices(self, unit: str, width: int) -> list[float]:
        return prices(unit, self._multiplications, self._weights, width)

    def network(self, allocation: Allocation) -> EstimatorNet:
        """The network with these widths, calibrated."""
        quantizer = dataclasses.replace(self.config.quantizer, widths=allocation)
        stage = dataclasses.replace(self.config.quantized, iterations=0)
        own = dataclasses.replace(self.config, quantizer=quantizer, quantized=stage)
        return quantize(own, self.data, self.twin, progress=False)[0]

    def costs(self, score: Score) -> list[dict[int, float]]:
        """What each product adds at each width, by a score; in units of the score."""
        if score == "measured":
            return self._measured()
        if score == "random":
            raise ValueError("random allocations have no costs")
        network = self.network((max(self.bits),) * len(self.names)).in_full_precision()
        generator = torch.Generator().manual_seed(self.config.seed)
        sums = [dict.fromkeys(self.bits, 0.0) for _ in self.names]
        for _ in range(SCORED_BATCHES):
            batch = draw_batch(self.data, self.config.batch, generator).to(DEVICE)
            given = (batch.ls.requires_grad_(), batch.lmmse, batch.statistics)
            if score == "jacobian":
                importance = 2 * batch.weight / batch.target[0].numel()
                found = noise_of_products(
                    lambda: network(*given)[0],  # noqa: B023  # called at once
                    network.products(),
                    self.bits,
                    importance,
                    generator,
                )
                values = [{width: found[name][width].total for width in self.bits} for name in self.names]
            else:
                # what the correction was worth: towards the genie's estimate, from the one that is corrected
                base = interpolated(batch.ls.detach()) if network.shape.base == "ls" else batch.lmmse
                seed = (batch.target - base) * batch.weight[:, None, None]
                shares = contributions(network, lambda: network(*given), seed)  # noqa: B023
                values = [{width: share * 4.0**-width for width in self.bits} for share in shares]
            for own, value in zip(sums, values, strict=True):
                for width in self.bits:
                    own[width] += value[width] / SCORED_BATCHES
        return sums

    def _measured(self) -> list[dict[int, float]]:
        """Each product at each width, the others in floating point."""
        found: list[dict[int, float]] = [{} for _ in self.names]
        for width in self.bits:
            network = self.network((width,) * len(self.names))
            products = list(network.products().values())
            for own, product in zip(found, products, strict=True):
                for other in products:
                    other.weight_bits = other.activation_bits = width if other is product else None
                own[width] = 10 ** (self.reference.loss(network).db / 10) - 1
        return found

    def truth(self, path: Path) -> dict[Allocation, float]:
        """The loss of every allocation in dB, kept in a file, see `measure_all`."""
        return measure_all(path, self.config.to_dict(), len(self.names), self.bits, self._loss)

    def _loss(self, allocation: Allocation) -> float:
        return self.reference.loss(self.network(allocation)).db
