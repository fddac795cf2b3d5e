# SPDX-License-Identifier: GPL-3.0-or-later
"""A product with weights whose operands can be quantized, and what feeds it: where scales of its channels can go.

A recipe folds a scale r and a shift b for each channel of a product's operand x into what feeds it, and takes both
back in the product:

    x' = x / r - b        W' = W diag(r)        bias' = bias + W' b

so that W' x' + bias' = W x + bias. The operand x' has one step; x has then one for each channel, step r.

What can take scales in is a norm (gamma / r, beta / r - b), the rows of another product, through a ReLU too (which is
positively homogeneous; scales only) or through attention (whose weights add up to 1), or else one multiplication by a
constant.

While a network is trained, r and b stay beside the weights, as Adam's steps are as large for a weight of whatever
scale. `merge` folds them at the end, and then there is no operator more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .laws import Law, LawKind
from .quantizers import calibrated_row_clips, fake_quantize, fake_quantize_rows

__all__ = ["Constant", "Feed", "Norm", "Product", "Rows", "Site", "merge"]

LARGEST_STEP, SMALLEST_STEP = 1e3, 1e-6
BUFFERS = ("clip", "r", "b", "scale", "select")


class Product(nn.Module):
    """x W^T + bias on rows (..., inputs), as floating point or with quantized operands.

    Args:
        inputs, outputs: widths.
        bits: of both operands; None: floating point.
        law: of the activations' step, see `training.quantization.laws.Law`.
        unsigned: whether activations, if they are quantized, are at least 0.

    Attributes:
        weight_bits, activation_bits: of either operand; None: in floating point.
        clip: largest weight of each output that is represented, over its largest, (outputs, 1); None: 1.
        r, b: scales and shifts of the channels that are not merged yet, (channels,) each; None: there are none.
        scale: constants that the channels of x are multiplied with, (channels,); None: ones.
        select: channel of x that each channel of the operand is, (channels,); None: its own.
    """

    clip: Tensor | None
    r: Tensor | None
    b: Tensor | None
    scale: Tensor | None
    select: Tensor | None

    def __init__(self, inputs: int, outputs: int, bits: int | None, law: LawKind, unsigned: bool = False):
        super().__init__()
        self.weight_bits = self.activation_bits = bits
        self.unsigned = unsigned
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=inputs**-0.5)
        self.step = None if bits is None else Law(1, 1.0, SMALLEST_STEP, LARGEST_STEP, law)
        for name in BUFFERS:
            self.register_buffer(name, None)

    def forward(
        self, x: Tensor, root: Tensor, seen: list[Tensor], arrange: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The product.

        Args:
            x: (N, ..., channels): the rows, or what `arrange` makes rows of.
            root: SNR^(-1/2) of each of N, which the steps follow, (N,).
            seen: gets the operand appended, quantized if it is.
            arrange: makes rows (..., inputs) of the operand, once it is quantized. Inputs are whole blocks of channels.
        """
        bias: Tensor = self.bias
        if self.scale is not None:
            x = x * self.scale
        if self.r is not None and self.b is not None:
            x = x / self.r - self.b
            bias = bias + self._scaled() @ self._columns(self.b)
        if self.select is not None:
            x = x[..., self.select]
        if self.activation_bits is not None:
            assert self.step is not None
            step = self.step(root).view(-1, *(1,) * (x.dim() - 1))
            x = fake_quantize(x, step, self.activation_bits, unsigned=self.unsigned)
        seen.append(x)
        return functional.linear(x if arrange is None else arrange(x), self._operand(), bias)

    def _operand(self) -> Tensor:
        """The weights as the product takes them, (outputs, inputs)."""
        weight = self._scaled()
        if self.weight_bits is None:
            return weight
        clip = torch.ones((), device=weight.device) if self.clip is None else self.clip
        return fake_quantize_rows(weight, self.weight_bits, clip)

    def _scaled(self) -> Tensor:
        return self.weight if self.r is None else self.weight * self._columns(self.r)

    def _columns(self, values: Tensor) -> Tensor:
        """Values of the channels (channels,), of each column of the weights, (inputs,)."""
        selected = values if self.select is None else values[self.select]
        return selected.repeat(self.weight.shape[1] // len(selected))

    @torch.no_grad()
    def calibrate_weights(self) -> None:
        """Clip the weights of each output for the least squared error."""
        if self.weight_bits is not None:
            self.clip = calibrated_row_clips(self._scaled(), self.weight_bits)

    @torch.no_grad()
    def take_scales(self) -> None:
        """Take r and b into weights and bias."""
        if self.r is not None and self.b is not None:
            self.weight.copy_(self._scaled())
            self.bias.add_(self.weight @ self._columns(self.b))
            self.r = self.b = None

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """Take over buffers that the state has and a new product has not."""
        for name in BUFFERS:
            if (found := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(found, device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


@dataclass(frozen=True)
class Norm:
    """A norm with gamma and beta, which feeds this product only."""

    module: nn.LayerNorm
    shifts = True

    def rescale(self, r: Tensor, b: Tensor) -> None:
        """Give x / r - b where it gave x."""
        self.module.weight.div_(r)
        self.module.bias.div_(r).sub_(b)


@dataclass(frozen=True)
class Rows:
    """Rows of another product, `first` and those that follow.

    Args:
        product: the other one.
        first: row that is the first channel.
        groups: equal shares of the channels that do not mix on the way (the heads of attention).
        shifts: whether constants pass: through attention, whose weights add up to 1, and not through a ReLU.
    """

    product: Product
    first: int = 0
    groups: int = 1
    shifts: bool = False

    def rescale(self, r: Tensor, b: Tensor) -> None:
        """Give x / r - b where they gave x."""
        rows = slice(self.first, self.first + len(r))
        self.product.weight[rows].div_(r[:, None])
        self.product.bias[rows].div_(r).sub_(b)

    def reselect(self, select: Tensor) -> None:
        """Give channel select[c] in place of channel c."""
        rows = slice(self.first, self.first + len(select))
        for values in (self.product.weight, self.product.bias, self.product.clip):
            if values is not None:
                values[rows] = values[rows][select]


@dataclass(frozen=True)
class Constant:
    """One multiplication by constants in front of the product, as nothing else there takes scales in."""

    product: Product
    shifts = False

    def rescale(self, r: Tensor, b: Tensor) -> None:
        """Give x / r where it gave x; there is no place for b, which is 0."""
        assert not b.any()
        self.product.scale = (1 if self.product.scale is None else self.product.scale) / r


Feed = Norm | Rows | Constant


@dataclass(frozen=True)
class Site:
    """A product of a network, by name, and what feeds it."""

    name: str
    product: Product
    feed: Feed


@torch.no_grad()
def merge(sites: Sequence[Site]) -> None:
    """Fold the scales and shifts of products into what feeds them, and into their weights; see the module."""
    for site in sites:
        product = site.product
        if product.r is not None and product.b is not None:
            site.feed.rescale(product.r, product.b)
            product.take_scales()
