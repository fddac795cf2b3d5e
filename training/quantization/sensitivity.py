# SPDX-License-Identifier: GPL-3.0-or-later
"""What quantizing each product adds to the squared error, by the Jacobian: one backward pass for all widths.

The error of a network whose products have quantization noise n_l is, to second order and without what products have
in common,

    sum over l of E |J_l n_l|^2

with J_l the Jacobian of the output with respect to the output of product l. |J n|^2 is the mean of (v^T J n)^2 over
random signs v (Hutchinson 1990), and v^T J is a gradient. So every width of every product is a sum of products of
that gradient and its noise: (Q(x) - x) W^T of the activations, x (Q(W) - W)^T of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .product import Product
from .quantizers import calibrated_row_clips, calibrated_step, fake_quantize, fake_quantize_rows

__all__ = ["Noise", "noise_of_products"]

CALIBRATION_VALUES = 200_000


@dataclass(frozen=True)
class Noise:
    """Added squared error of a product at one width."""

    weights: float
    activations: float

    @property
    def total(self) -> float:
        """Of both operands."""
        return self.weights + self.activations


def noise_of_products(
    run: Callable[[], Tensor],
    products: dict[str, Product],
    bits: Sequence[int],
    importance: Tensor,
    generator: torch.Generator,
    probes: int = 8,
) -> dict[str, dict[int, Noise]]:
    """Noise of each product at each width.

    Args:
        run: computes the output (N, ...) of the network, in floating point.
        products: of the network.
        bits: widths.
        importance: weight of the squared error of each of N, (N,).
        generator: draws the signs.
        probes: how many of them.
    """
    calls: dict[str, tuple[Tensor, Callable[[Tensor], Tensor] | None, Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Product, inputs: tuple[Any, ...], output: Tensor) -> None:
            calls[name] = (inputs[2][-1].detach(), inputs[3] if len(inputs) > 3 else None, output)

        return hook

    hooks = [product.register_forward_hook(keep(name)) for name, product in products.items()]
    try:
        with torch.enable_grad():
            output = run()
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [calls[name][2] for name in products]
    noises = {name: _noises(products[name], *calls[name][:2], bits) for name in products}
    sums = {name: {width: torch.zeros(2) for width in bits} for name in products}
    for _ in range(probes):
        signs = 2.0 * torch.randint(2, output.shape, generator=generator).to(output) - 1
        gradients = torch.autograd.grad(output, outputs, signs, retain_graph=True)
        for name, gradient in zip(products, gradients, strict=True):
            for width in bits:
                for i, noise in enumerate(noises[name][width]):
                    along = (noise * gradient).flatten(1).sum(1)
                    sums[name][width][i] += float((along.square() * importance).mean()) / probes
    return {name: {width: Noise(*found.tolist()) for width, found in sums[name].items()} for name in products}


@torch.no_grad()
def _noises(
    product: Product, operand: Tensor, arrange: Callable[[Tensor], Tensor] | None, bits: Sequence[int]
) -> dict[int, tuple[Tensor, Tensor]]:
    """What the rounding of weights, and of activations, does to the output, by width."""
    values = operand.flatten()[:: max(1, operand.numel() // CALIBRATION_VALUES)]
    rows = (lambda x: x) if arrange is None else arrange
    found = {}
    for width in bits:
        step = calibrated_step(values, width, "mse", product.unsigned)
        rounded = fake_quantize(operand, step, width, unsigned=product.unsigned) - operand
        weight = product.weight
        noise = fake_quantize_rows(weight, width, calibrated_row_clips(weight, width)) - weight
        found[width] = (functional.linear(rows(operand), noise), functional.linear(rows(rounded), weight))
    return found
