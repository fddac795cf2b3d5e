# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of a detector as an ONNX graph.

One graph per SNR: a graph cannot evaluate laws once per estimate, so they are constants of the graph, at the SNR in its
metadata. Its inputs are what `gr_kaq.detection.preparation` makes of one channel, and T filtered vectors.
docs/guide/onnx.md explains the form, and what ONNX Runtime makes of it.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

import gr_kaq
from gr_kaq.detection.laws import layer_values
from gr_kaq.detection.model_card import facts
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.preparation import Preparation
from gr_kaq.detection.quantization import INT16_MAX, Q15, RESCALE_SHIFT, STREAM_SCALE_LIMIT, state_unit

from ..onnx_graph import Graph, float_value

__all__ = ["graph_inputs", "onnx_model"]

INT32_ROOM = 2**31 - 1 - 2 ** (RESCALE_SHIFT - 1)
TINY = 1e-20  # row step of a row of zeros
SIGNAL_MODEL = (
    "y = H x + n, E|x|^2 = 1 per stream, n ~ CN(0, noise_var I); SNR = (||H||_F^2 / num_rx) / noise_var; the n = 2 "
    "num_tx rows are real over imaginary parts; LLR = ln P(b=1)/P(b=0), bits as in 3GPP TS 38.211 5.1"
)
INPUT_NOTES = {
    "admm": {
        "b": "(G + rho I)^-1 H^H y with G = H^H H and rho = regularization * noise_var, as an amplitude",
        "off_diagonal": "rho (G + rho I)^-1 with a zero diagonal",
        "diagonal": "diagonal of rho (G + rho I)^-1",
        "precision": "half_distance^2 over the error variance noise_var diag((G + rho I)^-1) / 2",
    },
    "pgd": {
        "b": "c H^H y with G = H^H H and c = num_tx / trace(G), as an amplitude",
        "off_diagonal": "c G with a zero diagonal",
        "diagonal": "diagonal of c G",
        "precision": "half_distance^2 over the error variance noise_var / (diag(G) + noise_var) / 2",
    },
}


def onnx_model(model: DetectorModel, snr_db: float, num_tx: int | None = None) -> onnx.ModelProto:
    """The layers of a quantized detector as a graph with QuantizeLinear and DequantizeLinear.

    Inputs, float32, n = 2 num_tx: b (T, n), off_diagonal (n, n), diagonal (n,), precision (n,), see `graph_inputs`.
    Outputs, float32: t (T, n), the estimate before the decision, as an amplitude, real parts before imaginary parts;
    and llrs (T, num_tx, bits_per_symbol).

    Args:
        model: a quantized model.
        snr_db: where the laws are evaluated.
        num_tx: fixes n, for runtimes that want static shapes; None leaves it open, as T always is.

    Raises:
        ValueError: the model is full precision or midrise, or does not take so many streams.
    """
    if not model.quantized:
        raise ValueError(f"detector {model.name} is full precision; a quantized one expected")
    if model.midrise:
        raise ValueError(f"detector {model.name} is midrise, which no QuantizeLinear is; another one expected")
    if num_tx is not None and not 1 <= num_tx <= model.max_num_tx:
        raise ValueError(f"detector {model.name} takes 1 to {model.max_num_tx} streams; got num_tx={num_tx}")
    graph = Graph(share_constants=True)
    llrs = _Layers(graph, model, snr_db).build()
    n: int | str = "n" if num_tx is None else 2 * num_tx
    shapes: dict[str, list[int | str]] = {"b": ["T", n], "off_diagonal": [n, n], "diagonal": [n], "precision": [n]}
    llr_shape = ["T", num_tx or "num_tx", model.constellation.bits_per_symbol]
    return graph.model(
        model.name,
        [float_value(name, shape, INPUT_NOTES[model.network][name]) for name, shape in shapes.items()],
        [float_value("t", ["T", n], "estimate before the decision"), float_value(llrs, llr_shape, "ln P(b=1)/P(b=0)")],
        _metadata(model, snr_db),
    )


def graph_inputs(prepared: Preparation) -> list[dict[str, NDArray[np.float32]]]:
    """For each of C prepared channels: every input of a graph but b."""
    names = ("off_diagonal", "diagonal", "precision")
    return [
        {name: getattr(prepared, name)[c].astype(np.float32) for name in names} for c in range(len(prepared.diagonal))
    ]


class _Layers:
    """The layers of one model at one SNR, as nodes of a graph.

    x + P v is written x' - P (-v) throughout: ONNX Runtime makes a Gemm of MatMul and Add before it looks for quantized
    operands, and there is no integer Gemm with a float output; a Sub it leaves alone.
    """

    def __init__(self, graph: Graph, model: DetectorModel, snr_db: float):
        self._graph, self._model = graph, model
        self._values = layer_values(model, np.array([float(snr_db)]))
        self._half_distance = model.constellation.half_distance

    def build(self) -> str:
        """Add everything up to the output t; returns the name of the LLRs."""
        self._quantize_matrix()
        t = self._admm() if self._model.network == "admm" else self._pgd()
        self._graph.scope = ""
        self._graph.add("Identity", t, outputs=["t"])
        return self._llrs()

    def _quantize_matrix(self) -> None:
        """Per row of off_diagonal, which are columns of the right-hand operand of q (T, n) times O^T (n, n).

        In units of each row's step, so that QuantizeLinear's scale is a constant: other runtimes take no other.
        """
        add, constant = self._graph.add, self._graph.constant
        self._graph.scope = "matrix/"
        largest = self._matrix_max = self._model.largest_entry
        rows = add("Cast", add("Shape", "diagonal"), to=TensorProto.FLOAT)
        self._other_rows = add("Max", add("Sub", rows, 1.0), 1.0)
        clip = self._model.matrix_clip
        transposed = add("Transpose", "off_diagonal", perm=[1, 0])
        self._stream_scale = None
        if self._model.stream_steps:
            mean = add("Max", add("ReduceMean", "diagonal", axes=[0], keepdims=1), TINY)
            root = add("Sqrt", add("Div", "diagonal", mean))
            self._stream_scale = add("Clip", root, 1 / STREAM_SCALE_LIMIT, STREAM_SCALE_LIMIT)
            transposed = add("Div", transposed, add("Unsqueeze", self._stream_scale, self._graph.integers(1)))
        row_largest = add("ReduceMax", add("Abs", transposed), axes=[0], keepdims=0)
        self._row_step = add("Max", add("Mul", row_largest, clip / largest), TINY)
        if clip < 1:
            bound = add("Mul", self._row_step, float(largest))
            transposed = add("Max", add("Min", transposed, bound), add("Neg", bound))
        units = add("Div", transposed, self._row_step)
        self._matrix = add("QuantizeLinear", units, constant(1.0), constant(0, np.int8))

    def _product(self, v: str, k: int, gain: float) -> str:
        """gain O v with quantized operands: what becomes an integer matrix product."""
        add, constant = self._graph.add, self._graph.constant
        assert self._values.step is not None
        unit = state_unit(self._model)
        # as the integer model rounds it
        inverse_step = np.clip(np.rint(Q15 * unit / self._values.step[0, k]), 1, INT16_MAX)
        step = float(np.float32(Q15 / inverse_step * unit))
        largest = self._model.largest_activations[k]
        bound = largest * step
        quantization = constant(step), constant(0, np.int8)
        if self._stream_scale is not None:
            v = add("Mul", v, self._stream_scale)
        activations = add("QuantizeLinear", add("Clip", v, -bound, bound), *quantization)
        # the integer model's rescaling is limited, so that no product of it leaves int32
        limit = add("Div", INT32_ROOM / (largest * self._matrix_max) / 2**RESCALE_SHIFT * unit / step, self._other_rows)
        row_step = add("Min", self._row_step if gain == 1 else add("Mul", self._row_step, gain), limit)
        product = add(
            "MatMul",
            add("DequantizeLinear", activations, *quantization),
            add("DequantizeLinear", self._matrix, constant(1.0), constant(0, np.int8)),
        )
        return add("Mul", product, row_step)

    def _admm(self) -> str:
        add, values = self._graph.add, self._values
        assert values.relaxation is not None and values.dual_step is not None
        x, z, u = "b", None, None
        for k in range(len(self._model.layers)):
            self._graph.scope = f"layer{k}/"
            relaxation = float(values.relaxation[0, k])
            s = add("Mul", x, relaxation) if z is None else add("Add", z, add("Mul", add("Sub", x, z), relaxation))
            z = self._ramp(s if u is None else add("Add", s, u), k)
            gain = add("Min", add("Mul", "diagonal", float(values.dual_step[0, k])), 2.0)
            change = add("Mul", add("Sub", s, z), gain)
            u = change if u is None else add("Add", u, change)
            minus_v = add("Sub", u, z)
            x = add("Sub", add("Sub", "b", add("Mul", minus_v, "diagonal")), self._product(minus_v, k, 1.0))
        return x

    def _pgd(self) -> str:
        add, values = self._graph.add, self._values
        assert values.gradient_step is not None
        x = None
        for k, layer in enumerate(self._model.layers):
            self._graph.scope = f"layer{k}/"
            step = float(values.gradient_step[0, k])
            r = add("Mul", "b", step)
            if x is not None:  # it starts as 0
                # in the integer model, a factor of 16 bits: it saturates
                factor = add("Clip", add("Sub", 1.0, add("Mul", "diagonal", step)), -1.0, 1.0)
                kept = add("Mul", x, factor)
                r = add("Sub", add("Add", r, kept), self._product(x, k, step))
            if layer.threshold is not None:
                assert values.threshold is not None
                bound = float(values.threshold[0, k])
                x = add("Sub", r, add("Clip", r, -bound, bound))
            elif layer.variance is not None:
                x = self._ramp(r, k)
            else:
                x = r
        assert x is not None
        return x

    def _ramp(self, t: str, k: int) -> str:
        """The constellation ramp, see `gr_kaq.detection.full_precision.ramp`."""
        add, half_distance = self._graph.add, self._half_distance
        num_levels = self._model.constellation.num_levels
        assert self._values.variance is not None
        slope = add("Clip", add("Div", "precision", float(self._values.variance[0, k])), 1.0, INT16_MAX / 512)
        if num_levels == 2:
            return add("Clip", add("Mul", t, slope), -half_distance, half_distance)
        pitch, outermost = 2 * half_distance, (num_levels - 2) * half_distance
        index = add("Floor", add("Add", add("Mul", t, 1 / pitch), 0.5))
        threshold = add("Clip", add("Mul", index, pitch), -outermost, outermost)
        rise = add("Clip", add("Mul", add("Sub", t, threshold), slope), -half_distance, half_distance)
        return add("Add", threshold, rise)

    def _llrs(self) -> str:
        """Max-log, as `gr_kaq.detection.full_precision.llrs`: (T, n) to (T, num_tx, bits_per_symbol)."""
        add, constant, integers = self._graph.add, self._graph.constant, self._graph.integers
        constellation = self._model.constellation
        self._graph.scope = "llrs/"

        levels = self._half_distance * constellation.levels
        column = add("Unsqueeze", "t", integers(-1))
        # the square of t is common to all levels
        distance = add("Mul", add("Sub", constant(levels), add("Mul", column, 2.0)), constant(levels))
        per_bit = []
        for i in range(constellation.bits_per_dimension):
            nearest = [
                add(
                    "ReduceMin",
                    add("Gather", distance, integers(*np.flatnonzero(constellation.level_bits[:, i] == bit)), axis=2),
                    axes=[2],
                    keepdims=1,
                )
                for bit in (0, 1)
            ]
            per_bit.append(add("Sub", *nearest))
        output_variance = float(self._values.output_variance[0])
        scale = add("Mul", "precision", 1 / (2 * self._half_distance**2 * output_variance))
        if self._model.output_spread:
            square = add("Mul", add("Mul", "diagonal", "diagonal"), self._model.output_spread)
            scale = add("Div", scale, add("Add", square, 1.0))
        scaled = add("Mul", add("Concat", *per_bit, axis=2), add("Unsqueeze", scale, integers(-1)))
        # (T, n, m) -> twice (T, num_tx, m) -> (T, num_tx, m, 2): even bits from the in-phase part. T may be 0, where
        # Reshape finds no size by itself
        m = constellation.bits_per_dimension
        in_phase = add("Split", scaled, axis=1, outputs=["llrs/in_phase", "llrs/quadrature"])
        parts = add("Concat", *(add("Unsqueeze", x, integers(-1)) for x in (in_phase, "llrs/quadrature")), axis=3)
        return add("Reshape", parts, integers(0, 0, 2 * m), outputs=["llrs"])


def _metadata(model: DetectorModel, snr_db: float) -> dict[str, str]:
    known = facts(model)
    laws = {**known["laws"], "output_variance": vars(model.output_variance)}
    if model.regularization is not None:
        laws["regularization"] = vars(model.regularization)
    return {
        "name": model.name,
        "network": model.network,
        "constellation": model.constellation.name,
        "bits": json.dumps({"activations": model.activation_bits, "matrix": model.matrix_bits}),
        "snr_db": f"{snr_db:g}",
        "snr_range_db": json.dumps(list(model.snr_range_db)),
        "law": "alpha SNR^(-1/2) + gamma, SNR linear",
        "laws": json.dumps(laws),
        "signal_model": SIGNAL_MODEL,
        "gr_kaq_version": gr_kaq.__version__,
    }
