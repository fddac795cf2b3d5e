# SPDX-License-Identifier: GPL-3.0-or-later
"""An estimator as an ONNX graph of standard operators (opset 17), with integer products where it is quantized.

An integer product is QuantizeLinear, with the step that the SNR among the inputs gives, MatMulInteger, Cast, Mul, Add;
ONNX Runtime makes one operator of the last four. Activations are unsigned with zero point 128 and weights signed,
which is what x86 processors multiply; what follows a ReLU may be unsigned with zero point 0. QuantizeLinear saturates
at -128, one step beyond the fake quantization. ONNX Runtime multiplies no narrower type on a processor, so activations
of fewer bits are clipped (Clip), and weights of fewer bits are small integers of 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto

from gr_kaq.estimation.learned import SIGNATURE, WINDOW
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS

from ..onnx_graph import Graph, float_value
from ..quantization.laws import Law
from ..quantization.product import Product
from ..quantization.quantizers import largest, limits
from .network import LINES, STATISTICS_RANGE, EstimatorNet

__all__ = ["onnx_model"]

BITS = 8
ZERO_POINT = 128
INPUT_NOTES = {
    "ls": "LS channel estimates of N / 2 pairs of antennas, interpolated linearly over 52 carriers, real parts, then "
    "imaginary parts; 3 training symbols; the frame's mean power |h|^2 is 1",
    "lmmse": "LMMSE estimates of the same, all 14 symbols",
    "statistics": "estimated SNR (|h|^2 over the noise variance, linear), RMS delay spread in cycles per carrier, "
    "maximum Doppler shift in cycles per symbol",
}


def onnx_model(network: EstimatorNet, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
    """The graph of a network, see `gr_kaq.estimation.learned` for its inputs and its output.

    Args:
        network: in full precision or quantized.
        name: of the graph.
        metadata: of the file.
    """
    graph = Graph(share_constants=False)
    _Layers(graph, network).build()
    inputs = [float_value(key, SIGNATURE[key], note) for key, note in INPUT_NOTES.items()]
    return graph.model(name, inputs, [float_value("refined", SIGNATURE["refined"], "refined estimates")], metadata)


class _Layers:
    """A network as nodes of a graph. Follows `EstimatorNet.forward`."""

    def __init__(self, graph: Graph, network: EstimatorNet):
        self._graph, self._network = graph, network
        self._root = self._steps = ""
        self._used_steps = 0

    def build(self) -> None:
        """Everything from the inputs to the output."""
        add, network = self._graph.add, self._network
        shape = network.shape
        low, high = np.transpose(STATISTICS_RANGE)
        clipped = add("Min", add("Max", "statistics", low), high)
        snr_root = add("Sqrt", add("Gather", clipped, self._graph.constant(0, np.int64)))
        self._root = add("Reciprocal", snr_root)

        base, x = "lmmse", "ls"
        if shape.base == "ls":
            base = add("MatMul", "ls", LINES)
        else:
            # a product with ones and zeros takes less time than a Gather
            x = add("Sub", "ls", add("MatMul", "lmmse", np.eye(NUM_SYMBOLS)[:, TRAINING_SYMBOLS]))
            if shape.unit == "noise":
                x = add("Mul", x, snr_root)
        x = self._reshape(x, -1, WINDOW * len(TRAINING_SYMBOLS))
        products = network.products()
        if network.embedding.activation_bits is not None:
            self._make_steps([product.step for product in products.values() if product.step is not None])
        patches = network.rows * network.columns
        gains = add("Tile", self._small_network(network.gains, clipped), self._graph.integers(patches))
        x = self._with_other_part(x)
        if network.interpolation is not None:
            x = self._reshape(self._product(network.interpolation, x), -1, patches, network.carriers * network.symbols)
            gains = self._reshape(gains, patches, shape.width)
            x = self._product(network.embedding, x, gains=gains, offset=network.positions)
        else:
            x = self._product(network.embedding, x, gains=gains, offset=network.positions.flatten())
        x = add("Concat", self._reshape(x, -1, patches, shape.width), self._tokens(clipped), axis=1)
        layers: Any = network.layers
        for layer in layers:
            attended = self._attend(layer, self._normalised(layer["normalise"], x), layer is layers[-1])
            if layer is layers[-1]:  # nobody reads the tokens of statistics any more
                x = self._slice(x, 1, 0, patches)
            x = add("Add", x, self._product(layer["combine"], attended))
            hidden = self._product(layer["expand"], self._normalised(layer["normalise_again"], x))
            x = add("Add", x, self._product(layer["contract"], add("Relu", hidden)))
        out = self._product(network.output, x, lambda x, zero: self._neighbours(x, shape.width, zero))
        out = self._grid(out)
        if shape.unit == "noise":
            out = add("Mul", out, self._root)
        add("Add", base, out, outputs=["refined"])

    def _product(self, product: Product, x: str, arrange: Any = None, gains: str = "", offset: Any = None) -> str:
        """gains (x W^T + bias) + offset; `arrange` makes rows of x, and gets what stands for zero."""
        add = self._graph.add
        bias: Any = product.bias
        if gains:
            bias = add("Mul", gains, bias)
        if offset is not None:
            bias = add("Add", bias, offset)
        if product.scale is not None:
            x = add("Mul", x, product.scale)
        if product.select is not None:
            x = add("Gather", x, self._graph.integers(*product.select.tolist()), axis=-1)
        if product.activation_bits is None or product.weight_bits is None:
            x = x if arrange is None else arrange(x, self._graph.constant(0.0))
            x = add("MatMul", x, product.weight.T)
            return add("Add", add("Mul", x, gains) if gains else x, bias)
        step = add("Gather", self._steps, self._graph.constant(self._used_steps, np.int64))
        self._used_steps += 1
        low, high = limits(product.activation_bits, product.unsigned)
        zero = self._graph.constant(0 if product.unsigned else ZERO_POINT, np.uint8)
        x = add("QuantizeLinear", x, step, zero)
        if product.activation_bits < BITS:
            bounds = (
                self._graph.constant(bound + (0 if product.unsigned else ZERO_POINT), np.uint8) for bound in (low, high)
            )
            x = add("Clip", x, *bounds)
        x = x if arrange is None else arrange(x, zero)
        weight = product.weight.detach().numpy()
        limit = largest(product.weight_bits)
        weight_step = np.abs(weight).max(1) / limit
        weight_step[weight_step == 0] = 1
        if product.clip is not None:
            weight_step *= product.clip.numpy()[:, 0]
        integers = np.clip(np.rint(weight / weight_step[:, None]), -limit, limit)
        sums = add("MatMulInteger", x, self._graph.constant(integers.T, np.int8), zero)
        scale = add("Mul", step, weight_step)
        if gains:
            scale = add("Mul", scale, gains)
        return add("Add", add("Mul", add("Cast", sums, to=TensorProto.FLOAT), scale), bias)

    def _make_steps(self, laws: list[Law]) -> None:
        """The steps of all products, in their order, from the SNR."""
        alpha, gamma = (torch.cat([getattr(law, name) for law in laws]) for name in ("alpha", "gamma"))
        steps = self._graph.add("Add", self._graph.add("Mul", self._root, alpha), gamma)
        self._steps = self._graph.add("Clip", steps, laws[0].low, laws[0].high)

    def _with_other_part(self, parts: str) -> str:
        """Of real parts, then imaginary parts (N, n): each beside the other part, (N, 2 n)."""
        inputs = WINDOW * len(TRAINING_SYMBOLS)
        self._graph.add(
            "Split",
            self._reshape(parts, 2, -1, inputs),
            self._graph.integers(1, 1),
            outputs=["real", "imaginary"],
            axis=0,
        )
        other = self._graph.add("Concat", "imaginary", self._graph.add("Neg", "real"), axis=0)
        return self._graph.add("Concat", parts, self._reshape(other, -1, inputs), axis=1)

    def _small_network(self, modules: torch.nn.Sequential, clipped: str) -> str:
        """What the statistics determine, (outputs,)."""
        add = self._graph.add
        bounds = np.log(STATISTICS_RANGE)
        middle = bounds.mean(1)
        x = add("Mul", add("Sub", add("Log", clipped), middle), 1 / (bounds[:, 1] - middle))
        for module in modules:
            if isinstance(module, torch.nn.Linear):
                x = add("Add", add("MatMul", x, module.weight.T), module.bias)
            else:
                x = add("Relu", x)
        return x

    def _tokens(self, clipped: str) -> str:
        """The three tokens of statistics, (N, 3, width)."""
        width = self._network.shape.width
        count = self._slice(self._graph.add("Shape", "ls"), 0, 0, 1)
        full = self._graph.add("Concat", count, self._graph.integers(3, width), axis=0)
        return self._graph.add(
            "Expand", self._reshape(self._small_network(self._network.statistics, clipped), 1, 3, width), full
        )

    def _normalised(self, module: torch.nn.Module, x: str) -> str:
        assert isinstance(module, torch.nn.LayerNorm)
        return self._graph.add("LayerNormalization", x, module.weight, module.bias, axis=-1, epsilon=module.eps)

    def _attend(self, layer: Any, x: str, of_patches: bool) -> str:
        """Attention, (N, tokens, width), or of the patches only, which are the first tokens."""
        add, shape = self._graph.add, self._network.shape
        projected = self._product(layer["project"], x)
        names = [f"{part}{len(self._graph.nodes)}" for part in ("query", "key", "value")]
        add("Split", projected, self._graph.integers(*[shape.width] * 3), axis=2, outputs=names)
        query, key, value = names
        if of_patches:
            query = self._slice(query, 1, 0, self._network.rows * self._network.columns)
        if shape.heads > 1:
            query, key, value = (
                add("Transpose", self._reshape(part, 0, 0, shape.heads, -1), perm=[0, 2, 1, 3])
                for part in (query, key, value)
            )
        last = [0, 2, 1] if shape.heads == 1 else [0, 1, 3, 2]
        scores = add("MatMul", add("Mul", query, (shape.heads / shape.width) ** 0.5), add("Transpose", key, perm=last))
        attended = add("MatMul", add("Softmax", scores, axis=-1), value)
        if shape.heads > 1:
            attended = self._reshape(add("Transpose", attended, perm=[0, 2, 1, 3]), 0, 0, shape.width)
        return attended

    def _grid(self, patches: str) -> str:
        """(N, columns rows, carriers symbols) to (N, 52, 14)."""
        network = self._network
        if network.rows > 1:
            split = self._reshape(patches, -1, network.columns, network.rows, network.carriers, network.symbols)
            patches = self._graph.add("Transpose", split, perm=[0, 1, 3, 2, 4])
        covered = network.columns * network.carriers
        grid = self._reshape(patches, -1, covered, NUM_SYMBOLS)
        return grid if covered == WINDOW else self._slice(grid, 1, 0, WINDOW)

    def _neighbours(self, patches: str, inputs: int, zero: str) -> str:
        """Each patch beside its neighbours: (N, columns rows, taps inputs)."""
        add, network = self._graph.add, self._network
        rows, columns = network.rows, network.columns
        beside, above = ((size - 1) // 2 for size in network.kernel)
        split = self._reshape(patches, -1, columns, rows, inputs)
        padded = add("Pad", split, self._graph.integers(0, beside, above, 0, 0, beside, above, 0), zero)
        shifted = [
            self._slice(self._slice(padded, 2, j, j + rows) if above else padded, 1, i, i + columns)
            for i in range(network.kernel[0])
            for j in range(network.kernel[1])
        ]
        return self._reshape(add("Concat", *shifted, axis=3), -1, rows * columns, len(shifted) * inputs)

    def _reshape(self, x: str, *shape: int) -> str:
        return self._graph.add("Reshape", x, self._graph.integers(*shape))

    def _slice(self, x: str, axis: int, start: int, end: int) -> str:
        return self._graph.add(
            "Slice", x, self._graph.integers(start), self._graph.integers(end), self._graph.integers(axis)
        )
