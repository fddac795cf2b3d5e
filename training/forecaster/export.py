# SPDX-License-Identifier: GPL-3.0-or-later
"""A forecaster as ONNX.

Standard operators (opset 17). A quantized product is QuantizeLinear, MatMulInteger, Cast, Mul, Add, as in
`training.estimator.onnx_model`; steps are constants, as the features have one scale at any SNR. Heads are gathered:
integers, and a step for each group of weights.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto

from gr_kaq.forecasting.ccm import FEATURES, HISTORY, HORIZONS, LEAST_LIKELY

from ..onnx_graph import Graph, float_value
from ..quantization.product import Product
from ..quantization.quantizers import largest
from .network import (
    CANDIDATES,
    LEAST,
    LEAST_WEIGHT,
    MIXED,
    NOISE_LEVELS,
    NOISE_STEP,
    PROTOTYPES,
    ROUNDS,
    SHOWN,
    ForecasterNet,
)
from .rounding import GROUP

__all__ = ["onnx_model"]

ZERO_POINT = 128


def onnx_model(network: ForecasterNet, metadata: dict[str, str]) -> onnx.ModelProto:
    """The graph: features (S, FEATURES) -> filters, log_errors, memberships."""
    graph = Graph(share_constants=True)
    add = graph.add
    axis = graph.integers(-1)

    def columns(first: int, last: int, value: str = "features") -> str:
        return add("Slice", value, *(graph.integers(x) for x in (first, last, -1)))

    like, rest = columns(0, CANDIDATES), columns(CANDIDATES, FEATURES)
    log_likely = add("Mul", like, network.own.detach())
    likely = add("Exp", log_likely)
    prototypes = network.prototypes.detach()
    c, weights = graph.constant(torch.softmax(prototypes, -1)), graph.constant(np.full((1, PROTOTYPES), 1 / PROTOTYPES))

    def memberships(outputs: list[str] | None = None) -> tuple[str, str]:
        similarity = add("Mul", add("MatMul", likely, add("Transpose", c, perm=[1, 0])), weights)
        total = add("Max", add("ReduceSum", similarity, axis, keepdims=1), LEAST)
        return add("Div", similarity, total, outputs=outputs), total

    for _ in range(ROUNDS):
        p, _total = memberships()
        said = add("MatMul", add("Transpose", p, perm=[1, 0]), log_likely)
        c = add("Softmax", add("Add", add("Mul", said, network.shared.detach()), prototypes), axis=-1)
        weights = add("Max", add("ReduceMean", p, axes=[0], keepdims=1), LEAST_WEIGHT)
    _p, total = memberships(["memberships"])
    odds = add("Add", log_likely, add("Log", add("Max", add("MatMul", add("Div", weights, total), c), LEAST)))
    odds = add("Max", add("Sub", odds, add("ReduceMax", odds, axes=[-1], keepdims=1)), LEAST_LIKELY)
    shown = add("Concat", add("Mul", like, SHOWN), rest, add("Mul", odds, SHOWN), axis=-1)
    hidden = add("Relu", _product(graph, network.embed, shown))
    corrected = add("Add", odds, _product(graph, network.choose, hidden))
    which = f"which{len(graph.nodes)}"
    top = add("TopK", corrected, graph.integers(MIXED), axis=-1, outputs=["top", which])
    q = add("Unsqueeze", add("Softmax", top, axis=-1), axis)

    noise = add("Pow", 10.0, columns(FEATURES - 1, FEATURES))
    power = add("Max", add("Sub", 1.0, noise), add("Mul", noise, 1 / HISTORY))
    ratio = add("Mul", add("Log", add("Div", noise, power)), 1 / (np.log(10) * NOISE_STEP))
    at = add("Clip", add("Sub", ratio, NOISE_LEVELS[0] / NOISE_STEP), 0.0, float(len(NOISE_LEVELS) - 1))
    level = add("Min", add("Floor", at), float(len(NOISE_LEVELS) - 2))
    share = add("Sub", at, level)
    shares = add("Unsqueeze", add("Concat", add("Sub", 1.0, share), share, axis=-1), graph.integers(1))
    q = add("Reshape", add("Mul", q, shares), graph.integers(0, 2 * MIXED, 1))  # (S, 2 MIXED, 1)
    places = add("Mul", add("Unsqueeze", which, axis), graph.integers(len(NOISE_LEVELS)))
    places = add("Add", places, add("Unsqueeze", add("Cast", level, to=TensorProto.INT64), graph.integers(1)))
    places = add("Reshape", add("Add", places, graph.integers(0, 1)), graph.integers(0, 2 * MIXED))
    mixed = add("ReduceSum", add("Mul", _heads(graph, network, places), add("Unsqueeze", q, axis)), graph.integers(1))
    add("Reshape", mixed, graph.integers(-1, 2 * HORIZONS * HISTORY), outputs=["filters"])
    of_heads = add("Gather", network.log_errors, places, axis=0)
    add("ReduceSum", add("Mul", of_heads, q), graph.integers(1), keepdims=0, outputs=["log_errors"])
    outputs = [
        float_value("filters", ["S", 2 * HORIZONS * HISTORY], "real parts, then imaginary parts"),
        float_value("log_errors", ["S", HORIZONS], "logarithm of the error over the power"),
        float_value("memberships", ["S", PROTOTYPES], "rows add up to 1"),
    ]
    inputs = [
        float_value("features", ["S", FEATURES], "likelihoods, autocorrelations and noise, gr_kaq.forecasting.ccm")
    ]
    return graph.model("ccm", inputs, outputs, metadata)


def _heads(graph: Graph, network: ForecasterNet, places: str) -> str:
    """The heads at these places, (S, 2 MIXED, 2 HORIZONS, HISTORY); quantized, integers and a step for each group."""
    add, heads = graph.add, network.heads.detach().numpy()
    if network.bits is None:
        return add("Gather", heads, places, axis=0)
    limit = largest(network.bits)
    heads = heads.reshape(*heads.shape[:2], -1, GROUP)
    step = np.abs(heads).max(-1, keepdims=True) / limit
    step = np.where(step > 0, step, 1.0)
    integers = graph.constant(np.rint(heads / step), np.int8)
    chosen = add("Cast", add("Gather", integers, places, axis=0), to=TensorProto.FLOAT)
    chosen = add("Mul", chosen, add("Gather", step, places, axis=0))
    return add("Reshape", chosen, graph.integers(0, 2 * MIXED, 2 * HORIZONS, HISTORY))


def _product(graph: Graph, product: Product, x: str) -> str:
    add = graph.add
    weight = product.weight.detach().numpy()
    if product.activation_bits is None or product.weight_bits is None:
        return add("Add", add("MatMul", x, weight.T), product.bias)
    assert product.step is not None
    step = float(product.step(torch.ones(1)).detach())
    zero = graph.constant(0 if product.unsigned else ZERO_POINT, np.uint8)
    limit = largest(product.weight_bits)
    weight_step = np.maximum(np.abs(weight).max(1), 1e-12) / limit
    if product.clip is not None:
        weight_step = weight_step * product.clip.numpy()[:, 0]
    integers = np.clip(np.rint(weight / weight_step[:, None]), -limit, limit)
    seen = add("QuantizeLinear", x, step, zero)
    sums = add("MatMulInteger", seen, graph.constant(integers.T, np.int8), zero)
    return add("Add", add("Mul", add("Cast", sums, to=TensorProto.FLOAT), weight_step * step), product.bias)
