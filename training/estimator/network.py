# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned channel estimator, after AdaFortiTran (Guler and Jafarkhani, arXiv 2505.09076), as a torch module.

    training symbols -> all patches -> x gains(statistics) -> + positions, three tokens of statistics -> encoder
                     -> convolution over patches -> correction of the base estimate

What is known of a channel is known at the training symbols: LS there, or by how much LS differs from LMMSE (which is
all that LMMSE has not made use of). From there a learned interpolation leads to a vector for each patch of a few
carriers by a few symbols; the statistics weigh its components, and are three more tokens for the
encoder, whose layers normalise first (Xiong 2020). The convolution sees a patch and its neighbours. Its weights start
at zero: training begins at the error of the base estimate.

Real and imaginary part of a channel share the network: it corrects one and sees the other, first (real, imaginary),
then (imaginary, -real), which is the same channel turned by -90 degrees.

Both operands of every product with weights are quantized, if the network is: weights with a step for each output,
activations with one step for each product, which follows the SNR (arXiv 2505.12736),

    step = alpha SNR^(-1/2) + gamma

Attention's own products, softmax and normalisation stay in floating point.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gr_kaq.estimation.learned import WINDOW
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS

from ..quantization.product import Constant, Feed, Norm, Product, Rows, Site, merge
from ..quantization.quantizers import calibrated_step
from ..quantization.recipes import RECIPES, prepare
from .config import Config

__all__ = ["LINES", "STATISTICS_RANGE", "EstimatorNet", "interpolated"]

STATISTICS_RANGE = ((0.1, 1000.0), (3e-4, 0.02), (1e-3, 0.05))
"""Between what SNR (of a pair), delay spread (cycles per carrier) and Doppler (cycles per symbol) are clipped."""

LINES = np.stack([np.interp(range(NUM_SYMBOLS), TRAINING_SYMBOLS, values) for values in np.eye(3)])
CALIBRATION_VALUES = 200_000
KERNEL = 3  # patches in each direction that has more than one


class EstimatorNet(nn.Module):
    """The network.

    Args:
        config: the training.
        quantized: whether this is the quantized network or its full-precision twin.
    """

    def __init__(self, config: Config, quantized: bool):
        super().__init__()
        shape = self.shape = config.network
        quantizer = self.quantizer = config.quantizer
        bits = quantizer.bits if quantized else None
        self.carriers, self.symbols = shape.patch
        self.rows, self.columns = NUM_SYMBOLS // self.symbols, -(-WINDOW // self.carriers)
        self.kernel = (KERNEL, KERNEL if self.rows > 1 else 1)
        law, width = quantizer.law, shape.width

        def product(inputs: int, outputs: int, unsigned: bool = False) -> Product:
            return Product(inputs, outputs, bits, law, unsigned and RECIPES[quantizer.method].calibrates)

        taps, patch, patches = math.prod(self.kernel), self.carriers * self.symbols, self.rows * self.columns
        known = 2 * len(TRAINING_SYMBOLS) * WINDOW
        self.interpolation = product(known, patches * patch) if shape.entry == "grid" else None
        self.embedding = product(patch, width) if shape.entry == "grid" else product(known, patches * width)
        self.positions = nn.Parameter(0.1 * torch.randn(patches, width))
        self.gains = _small_network(3, width, width, start=1.0)
        self.statistics = _small_network(3, width, 3 * width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "normalise": nn.LayerNorm(width),
                    "project": product(width, 3 * width),
                    "combine": product(width, width),
                    "normalise_again": nn.LayerNorm(width),
                    "expand": product(width, shape.hidden),
                    "contract": product(shape.hidden, width, unsigned=True),
                }
            )
            for _ in range(shape.layers)
        )
        self.softmax = nn.Softmax(-1)
        self.output = product(taps * width, patch)
        nn.init.zeros_(self.output.weight)
        for own, width_bits in zip(self.products().values(), quantizer.widths if quantized else (), strict=False):
            own.weight_bits = own.activation_bits = width_bits

    def forward(self, ls: Tensor, lmmse: Tensor, statistics: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Refined grids (N, 52, 14), and the left operand of every product with weights, in their order.

        Args:
            ls: at the training symbols, (N, 52, 3): real parts, then imaginary parts, of N / 2 channels.
            lmmse: (N, 52, 14), likewise.
            statistics: SNR of a pair, delay spread, Doppler, of each grid, (N, 3).
        """
        seen: list[Tensor] = []
        bounds = torch.tensor(STATISTICS_RANGE, device=ls.device)
        clipped = torch.maximum(torch.minimum(statistics, bounds[:, 1]), bounds[:, 0])
        root = clipped[:, 0].rsqrt()
        unit = (root if self.shape.unit == "noise" else torch.ones_like(root))[:, None, None]
        middle = bounds.log().mean(1)
        features = (clipped.log() - middle) / (bounds[:, 1].log() - middle)

        if self.shape.base == "ls":
            base, known = interpolated(ls), ls
        else:
            base, known = lmmse, (ls - lmmse[:, :, TRAINING_SYMBOLS]) / unit
        x = _with_other_part(known.flatten(1))
        if self.interpolation is not None:
            x = self.interpolation(x, root, seen).unflatten(1, (-1, self.carriers * self.symbols))
        x = self.embedding(x, root, seen)
        x = x if x.dim() > 2 else x.unflatten(1, (-1, self.shape.width))
        x = x * self.gains(features)[:, None] + self.positions
        x = torch.cat([x, self.statistics(features).unflatten(1, (3, -1))], 1)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            attended = self._attend(layer["project"](layer["normalise"](x), root, seen))
            x = x + layer["combine"](attended, root, seen)
            hidden = layer["expand"](layer["normalise_again"](x), root, seen).relu()
            x = x + layer["contract"](hidden, root, seen)
        out = self.output(x[:, :-3], root, seen, self._neighbours)
        return base + unit * self._grid(out), seen

    def products(self) -> dict[str, Product]:
        """Every product with weights, by name, in the order of `forward`."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Product)}

    def sites(self) -> list[Site]:
        """The same with what feeds each."""
        found = []
        for name, product in self.products().items():
            place, _, kind = name.rpartition(".")
            feed: Feed = Constant(product)
            if place:
                layer = self.get_submodule(place)
                assert isinstance(layer, nn.ModuleDict)
                modules: dict[str, Any] = dict(layer.items())
                feeds: dict[str, Feed] = {
                    "project": Norm(modules["normalise"]),
                    "combine": Rows(modules["project"], 2 * self.shape.width, self.shape.heads, shifts=True),
                    "expand": Norm(modules["normalise_again"]),
                    "contract": Rows(modules["expand"]),
                }
                feed = feeds[kind]
            found.append(Site(name, product, feed))
        return found

    def start_from(self, twin: EstimatorNet, seen: list[Tensor]) -> None:
        """Take over the weights of the full-precision twin, and prepare them as the quantizer says.

        Args:
            twin: the network in floating point.
            seen: operands of its products, which ranges and steps are calibrated on.

        Raises:
            ConfigError: there is too little to calibrate on, or it is not finite.
        """
        self.load_state_dict(twin.state_dict(), strict=False)
        prepared = prepare(self.quantizer.method, self.sites(), seen, self.quantizer.strength)
        for product, (operand, step) in zip(self.products().values(), prepared, strict=True):
            assert product.step is not None and product.activation_bits is not None
            if step is None:
                values = operand.flatten()[:: max(1, operand.numel() // CALIBRATION_VALUES)]
                step = calibrated_step(values, product.activation_bits, self.quantizer.start, product.unsigned)
            product.step.start_at(step.reshape(1))

    def merge(self) -> None:
        """Fold the scales of the channels: the network is then one of the same operators as any other."""
        merge(self.sites())

    def in_full_precision(self) -> EstimatorNet:
        """A copy whose operands are not quantized."""
        network = copy.deepcopy(self)
        for product in network.products().values():
            product.weight_bits = product.activation_bits = None
        return network

    def multiplications(self) -> int:
        """Multiplications for a grid, without those that depend on the statistics only."""
        tokens = self.rows * self.columns + 3
        return sum(self.costs().values()) + len(self.layers) * 2 * tokens**2 * self.shape.width

    def costs(self) -> dict[str, int]:
        """Multiplications of each product with weights for a grid."""
        patches = self.rows * self.columns
        rows = {"interpolation": 1, "embedding": patches if self.interpolation else 1, "output": patches}
        return {name: rows.get(name, patches + 3) * own.weight.numel() for name, own in self.products().items()}

    def _neighbours(self, patches: Tensor) -> Tensor:
        """Each patch beside its neighbours, zeros outside: (N, columns rows, taps inputs)."""
        patches = patches.unflatten(1, (self.columns, self.rows))
        beside, above = ((size - 1) // 2 for size in self.kernel)
        padded = functional.pad(patches, (0, 0, above, above, beside, beside))
        shifted = [
            padded[:, i : i + self.columns, j : j + self.rows]
            for i in range(self.kernel[0])
            for j in range(self.kernel[1])
        ]
        return torch.cat(shifted, -1).flatten(1, 2)

    def _grid(self, patches: Tensor) -> Tensor:
        """(N, columns rows, carriers symbols) to (N, 52, 14)."""
        split = patches.view(-1, self.columns, self.rows, self.carriers, self.symbols)
        grid = split.transpose(2, 3).reshape(-1, self.columns * self.carriers, NUM_SYMBOLS)
        return grid[:, :WINDOW]

    def _attend(self, projected: Tensor) -> Tensor:
        """Attention of queries, keys and values (N, tokens, 3 width)."""
        heads = projected.unflatten(-1, (3, self.shape.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        scores = self.softmax(query @ key.mT / query.shape[-1] ** 0.5)
        return (scores @ value).transpose(1, 2).flatten(2)


def interpolated(ls: Tensor) -> Tensor:
    """Straight lines over time, (..., 14), between the training symbols, (..., 3)."""
    return ls @ torch.from_numpy(LINES).to(ls)


def _small_network(inputs: int, hidden: int, outputs: int, start: float = 0.0) -> nn.Sequential:
    """One hidden layer; `start` is what the outputs start around."""
    last = nn.Linear(hidden, outputs)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), last)


def _with_other_part(parts: Tensor) -> Tensor:
    """Of real parts, then imaginary parts (N, n): each beside the other part, (N, 2 n)."""
    real, imaginary = parts.chunk(2)
    return torch.cat([parts, torch.cat([imaginary, -real])], 1)
