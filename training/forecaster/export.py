# SPDX-License-Identifier: GPL-3.0-or-later
"""A forecaster as ONNX.

Standard operators (opset 17). A quantized product is QuantizeLinear, MatMulInteger, Cast, Mul, Add, as in
`training.estimator.onnx_model`; steps are constants, as the features have one scale at any SNR.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto

from gr_kaq.forecasting.ccm import FEATURES, HISTORY, HORIZONS

from ..onnx_graph import Graph, float_value
from ..quantization.product import Product
from ..quantization.quantizers import largest
from .network import PROTOTYPES, WIDTH, ForecasterNet

__all__ = ["onnx_model"]

ZERO_POINT = 128


def onnx_model(network: ForecasterNet, metadata: dict[str, str]) -> onnx.ModelProto:
    """The graph: features (S, FEATURES) -> filters, log_errors, memberships."""
    graph = Graph(share_constants=True)
    add = graph.add
    c = network.prototypes.detach()
    h = add("Relu", _product(graph, network.embed, "features"))
    h = _product(graph, network.embed_again, h)
    length = add("Clip", add("Sqrt", add("ReduceSumSquare", h, axes=[-1], keepdims=1)), 1e-6)
    unit = (c / c.norm(dim=-1, keepdim=True)).T
    logits = add("Mul", add("MatMul", add("Div", h, length), unit), 4 * network.sharpness.detach())
    p = add("Softmax", logits, axis=-1, outputs=["memberships"])
    keys = add("Transpose", _product(graph, network.keys, h), perm=[1, 0])
    scores = add("Softmax", add("Mul", add("MatMul", c, keys), WIDTH**-0.5), axis=-1)
    attention = add("Mul", scores, add("Transpose", p, perm=[1, 0]))
    total = add("Clip", add("ReduceSum", attention, graph.integers(-1), keepdims=1), 1e-6)
    updated = add("Add", add("MatMul", add("Div", attention, total), _product(graph, network.values, h)), c)
    known = add("Concat", h, add("MatMul", p, updated), axis=-1)
    hidden = add("Relu", _product(graph, network.gate, known))
    add("Identity", _product(graph, network.errors, hidden), outputs=["log_errors"])
    q = add("Softmax", _product(graph, network.choose, hidden), axis=-1)
    add("Identity", _product(graph, network.heads, q), outputs=["filters"])
    outputs = [
        float_value("filters", ["S", 2 * HORIZONS * HISTORY], "real parts, then imaginary parts"),
        float_value("log_errors", ["S", HORIZONS], "logarithm of the error over the power"),
        float_value("memberships", ["S", PROTOTYPES], "rows add up to 1"),
    ]
    inputs = [float_value("features", ["S", FEATURES], "autocorrelations and noise, gr_kaq.forecasting.ccm")]
    return graph.model("ccm", inputs, outputs, metadata)


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
