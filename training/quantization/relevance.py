# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer-wise relevance propagation (LRP), as LRP-QViT (arXiv 2401.11243) scores layers with it, from the rules.

Relevance is an activation times a gradient in which (Bach et al. 2015; Achtibat et al. 2024)

    a linear map           is itself: the epsilon rule with epsilon -> 0
    an elementwise f       has the slope f(x) / x, which of a ReLU is its own
    a norm                 has a constant deviation
    attention              has constant weights: all relevance goes through the values

Without biases, relevance is conserved: its sum is the same behind every layer. With them it is not, which is as it
should be.

LRP is patented: it can only be used free of charge for personal and scientific purposes. Hence it is a tool for
offline studies here, and not the default. `sensitivity` is, which needs no such rules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["contributions", "relevances", "rules"]


@contextlib.contextmanager
def rules(network: nn.Module) -> Iterator[None]:
    """Within, gradients of a network are those of LRP. Its norms are nn.LayerNorm, its attention has nn.Softmax."""
    hooks = []
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            hooks.append(module.register_forward_hook(_constant_deviation))
        elif isinstance(module, nn.Softmax):
            hooks.append(module.register_forward_hook(lambda module, inputs, output: output.detach()))
        elif isinstance(module, nn.GELU):
            hooks.append(module.register_forward_hook(_constant_slope))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _constant_deviation(module: nn.LayerNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = inputs
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + module.eps).sqrt().detach()
    return centred / deviation * module.weight + module.bias


def _constant_slope(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = inputs
    return x * torch.where(x == 0, 0.5, output / x).detach()


def relevances(network: nn.Module, run: Callable[[], tuple[Tensor, list[Tensor]]], seed: Tensor) -> list[Tensor]:
    """Relevance of each entry of each operand.

    Args:
        network: see `rules`.
        run: computes the output and the operands of the products.
        seed: what the output is worth: the relevance of the output is itself times this.
    """
    with rules(network), torch.enable_grad():
        output, operands = run()
        gradients = torch.autograd.grad(output, operands, seed)
    return [(x * g).detach() for x, g in zip(operands, gradients, strict=True)]


def contributions(network: nn.Module, run: Callable[[], tuple[Tensor, list[Tensor]]], seed: Tensor) -> list[float]:
    """Share of each product: the sum of the magnitudes of its operand's relevance; all sum up to 1.

    With signs they would cancel.
    """
    sums = [float(r.abs().sum()) for r in relevances(network, run, seed)]
    return [value / sum(sums) for value in sums]
