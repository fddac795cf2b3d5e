# SPDX-License-Identifier: GPL-3.0-or-later
"""Detectors as ONNX graphs: python -m training.detector.onnx_export NAME --snr 10 15 20 --output DIRECTORY

One graph per SNR: a graph cannot evaluate laws once per estimate, so they are constants of the graph, at the SNR in its
metadata. Its inputs are what `gr_kaq.detection.preparation` makes of one channel, and T filtered vectors. docs/onnx.md
explains the form, and what ONNX Runtime makes of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

import gr_kaq
from gr_kaq.channels.flat import RayleighChannels, complex_normal
from gr_kaq.detection.detectors import load_detector
from gr_kaq.detection.linear_detector import LINEAR_DETECTORS
from gr_kaq.detection.model_card import facts
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.preparation import Preparation, layer_values, prepare
from gr_kaq.detection.quantization import INT16_MAX, Q15, RESCALE_SHIFT, STREAM_SCALE_LIMIT, state_unit
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.signal_model import noise_var_from_snr

__all__ = ["Comparison", "compare", "comparison_size", "graph_inputs", "onnx_model", "operators", "session"]

OPSET = 17
IR_VERSION = 8
INTEGER_PRODUCT = "MatMulIntegerToFloat"
VECTORS = 20  # per channel, where a graph is compared with the reference
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
        model: a quantized model. Second guesses (`candidates`) are left out.
        snr_db: where the laws are evaluated.
        num_tx: fixes n, for runtimes that want static shapes; None leaves it open, as T always is.

    Raises:
        ValueError: the model is full precision, or does not take so many streams.
    """
    if model.activation_bits is None or model.matrix_bits is None:
        raise ValueError(f"detector {model.name} is full precision; a quantized one expected")
    if num_tx is not None and not 1 <= num_tx <= model.max_num_tx:
        raise ValueError(f"detector {model.name} takes 1 to {model.max_num_tx} streams; got num_tx={num_tx}")
    graph = _Graph()
    llrs = _Layers(graph, model, snr_db).build()
    n: int | str = "n" if num_tx is None else 2 * num_tx
    shapes: dict[str, list[int | str]] = {"b": ["T", n], "off_diagonal": [n, n], "diagonal": [n], "precision": [n]}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, INPUT_NOTES[model.network][name])
        for name, shape in shapes.items()
    ]
    outputs = [
        helper.make_tensor_value_info("t", TensorProto.FLOAT, ["T", n], "estimate before the decision"),
        helper.make_tensor_value_info(
            llrs, TensorProto.FLOAT, ["T", num_tx or "num_tx", model.constellation.bits_per_symbol], "ln P(b=1)/P(b=0)"
        ),
    ]
    document = helper.make_model(
        helper.make_graph(graph.nodes, model.name, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gr-kaq",
        producer_version=gr_kaq.__version__,
    )
    helper.set_model_props(document, _metadata(model, snr_db))
    onnx.checker.check_model(document, full_check=True)
    return document


def graph_inputs(prepared: Preparation) -> list[dict[str, NDArray[np.float32]]]:
    """For each of C prepared channels: every input of a graph but b."""
    names = ("off_diagonal", "diagonal", "precision")
    return [
        {name: getattr(prepared, name)[c].astype(np.float32) for name in names} for c in range(len(prepared.diagonal))
    ]


def session(document: onnx.ModelProto, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    """A CPU session with all of ONNX Runtime's optimisations.

    Args:
        document: from `onnx_model`.
        optimised: where to write what ONNX Runtime makes of it; such a file is for this machine only.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1  # the matrices are small
    options.log_severity_level = 3  # it warns that an optimised file is for this machine
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(document.SerializeToString(), options, providers=["CPUExecutionProvider"])


def operators(path: Path) -> Counter[str]:
    """How often each operator occurs in an ONNX file."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@dataclass(frozen=True)
class Comparison:
    """A graph in ONNX Runtime against the integer reference, on the same received vectors.

    Attributes:
        runtime, reference: bit errors of both.
        different_bits: fraction of the bits that the two decide differently.
        largest_deviation, typical_deviation: largest, and 99 % quantile of, |t - t of the reference| in half distances.
    """

    runtime: BitErrorRate
    reference: BitErrorRate
    different_bits: float
    largest_deviation: float
    typical_deviation: float

    def __str__(self) -> str:
        return (
            f"BER {self.runtime}, reference {self.reference}; {self.different_bits:.1e} of the bits differ; deviation "
            f"of t below {self.typical_deviation:.3f} half distances for 99 %, at most {self.largest_deviation:.2f}"
        )


def compare(
    model: DetectorModel, document: onnx.ModelProto, snr_db: float, size: tuple[int, int], channels: int = 200
) -> Comparison:
    """Run a graph and the reference over i.i.d. Rayleigh channels.

    Args:
        model: the detector; without second guesses, which the graph has not.
        document: its graph at `snr_db`.
        snr_db: of every channel.
        size: num_rx, num_tx.
        channels: how many, with `VECTORS` received vectors on each.
    """
    num_rx, num_tx = size
    rng = np.random.default_rng(2)
    h = RayleighChannels(num_rx, num_tx, seed=1).draw(channels)[:, 0]
    bits = rng.integers(0, 2, (channels, VECTORS, num_tx * model.constellation.bits_per_symbol), dtype=np.uint8)
    snrs_db = np.full(channels, snr_db)  # of each channel by itself, so that the reference's laws are the graph's
    noise_var = noise_var_from_snr(h, snrs_db)
    noise = np.sqrt(noise_var)[:, None, None] * complex_normal(rng, (channels, VECTORS, num_rx))
    y = (model.constellation.modulate(bits) @ h.swapaxes(-1, -2) + noise).astype(np.complex64)

    expected = UnfoldedDetector(model, "reference").prepare(h, snr_db=snrs_db).detect(y).symbols
    prepared = prepare(model, h, noise_var, snrs_db)
    estimates = y @ prepared.filter.swapaxes(-1, -2).astype(np.complex64)
    b = np.concatenate([estimates.real, estimates.imag], axis=-1)
    run = session(document).run
    t = np.stack([run(["t"], {"b": b[c], **inputs})[0] for c, inputs in enumerate(graph_inputs(prepared))])
    symbols = t[..., :num_tx] + 1j * t[..., num_tx:]
    decided, wanted = model.constellation.decide(symbols), model.constellation.decide(expected)
    deviation = np.abs(t - np.concatenate([expected.real, expected.imag], axis=-1)) / model.constellation.half_distance
    return Comparison(
        BitErrorRate(int(np.count_nonzero(decided != bits)), bits.size),
        BitErrorRate(int(np.count_nonzero(wanted != bits)), bits.size),
        float(np.mean(decided != wanted)),
        float(deviation.max()),
        float(np.quantile(deviation, 0.99)),
    )


class _Graph:
    """Nodes and constants in the making; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.scope = ""
        self._known: dict[tuple[Any, ...], str] = {}

    def constant(self, value: ArrayLike, dtype: type = np.float32) -> str:
        """A constant; equal ones are one."""
        array: NDArray[Any] = np.asarray(value, dtype)
        key = (array.tobytes(), array.shape, array.dtype.str)
        if key not in self._known:
            self._known[key] = f"constant{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def add(self, operator: str, *inputs: str | float, output: str | None = None, **attributes: Any) -> str:
        """A node; numbers among its inputs become constants."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = output or f"{self.scope}{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output


class _Layers:
    """The layers of one model at one SNR, as nodes of a graph.

    x + P v is written x' - P (-v) throughout: ONNX Runtime makes a Gemm of MatMul and Add before it looks for quantized
    operands, and there is no integer Gemm with a float output; a Sub it leaves alone.
    """

    def __init__(self, graph: _Graph, model: DetectorModel, snr_db: float):
        self._graph, self._model = graph, model
        self._values = layer_values(model, np.array([float(snr_db)]))
        self._half_distance = model.constellation.half_distance

    def build(self) -> str:
        """Add everything up to the output t; returns the name of the LLRs."""
        self._quantize_matrix()
        t = self._admm() if self._model.network == "admm" else self._pgd()
        self._graph.scope = ""
        self._graph.add("Identity", t, output="t")
        return self._llrs()

    def _quantize_matrix(self) -> None:
        """Per row of off_diagonal, which are columns of the right-hand operand of q (T, n) times O^T (n, n)."""
        add, constant = self._graph.add, self._graph.constant
        self._graph.scope = "matrix/"
        assert self._model.matrix_bits is not None
        largest = self._matrix_max = 2 ** (self._model.matrix_bits - 1) - 1
        rows = add("Cast", add("Shape", "diagonal"), to=TensorProto.FLOAT)
        self._other_rows = add("Max", add("Sub", rows, 1.0), 1.0)
        clip = self._model.matrix_clip
        transposed = add("Transpose", "off_diagonal", perm=[1, 0])
        self._stream_scale = None
        if self._model.stream_steps:
            mean = add("Max", add("ReduceMean", "diagonal", axes=[0], keepdims=1), TINY)
            root = add("Sqrt", add("Div", "diagonal", mean))
            self._stream_scale = add("Clip", root, 1 / STREAM_SCALE_LIMIT, STREAM_SCALE_LIMIT)
            transposed = add("Div", transposed, add("Unsqueeze", self._stream_scale, constant([1], np.int64)))
        row_largest = add("ReduceMax", add("Abs", transposed), axes=[0], keepdims=0)
        self._row_step = add("Max", add("Mul", row_largest, clip / largest), TINY)
        if clip < 1:
            bound = add("Mul", self._row_step, float(largest))
            transposed = add("Max", add("Min", transposed, bound), add("Neg", bound))
        # a zero point per row, which the operator wants as long as the scale
        zero = add("Expand", constant(0, np.int8), add("Shape", self._row_step))
        self._zeros = zero
        self._matrix = add("QuantizeLinear", transposed, self._row_step, zero, axis=1)

    def _product(self, v: str, k: int, gain: float) -> str:
        """gain O v with quantized operands: what becomes an integer matrix product."""
        add, constant = self._graph.add, self._graph.constant
        assert self._values.step is not None and self._model.activation_bits is not None
        unit = state_unit(self._model)
        # as the integer model rounds it
        inverse_step = np.clip(np.rint(Q15 * unit / self._values.step[0, k]), 1, INT16_MAX)
        step = float(np.float32(Q15 / inverse_step * unit))
        largest = 2 ** (self._model.activation_bits - 1) - 1
        bound = largest * step
        quantization = constant(step), constant(0, np.int8)
        if self._stream_scale is not None:
            v = add("Mul", v, self._stream_scale)
        activations = add("QuantizeLinear", add("Clip", v, -bound, bound), *quantization)
        # the integer model's rescaling is limited, so that no product of it leaves int32
        limit = add("Div", INT32_ROOM / (largest * self._matrix_max) / 2**RESCALE_SHIFT * unit / step, self._other_rows)
        row_step = add("Min", self._row_step if gain == 1 else add("Mul", self._row_step, gain), limit)
        return add(
            "MatMul",
            add("DequantizeLinear", activations, *quantization),
            add("DequantizeLinear", self._matrix, row_step, self._zeros, axis=1),
        )

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
        add, constant = self._graph.add, self._graph.constant
        constellation = self._model.constellation
        self._graph.scope = "llrs/"

        def integers(values: ArrayLike) -> str:
            return constant(values, np.int64)

        levels = self._half_distance * constellation.levels
        column = add("Unsqueeze", "t", integers([-1]))
        # the square of t is common to all levels
        distance = add("Mul", add("Sub", constant(levels), add("Mul", column, 2.0)), constant(levels))
        per_bit = []
        for i in range(constellation.bits_per_dimension):
            nearest = [
                add(
                    "ReduceMin",
                    add("Gather", distance, integers(np.flatnonzero(constellation.level_bits[:, i] == bit)), axis=2),
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
        scaled = add("Mul", add("Concat", *per_bit, axis=2), add("Unsqueeze", scale, integers([-1])))
        # (T, n, m) -> (T, in phase or quadrature, num_tx, m) -> (T, num_tx, m, 2): even bits from the in-phase part
        m = constellation.bits_per_dimension
        parts = add("Transpose", add("Reshape", scaled, integers([0, 2, -1, m])), perm=[0, 2, 3, 1])
        return add("Reshape", parts, integers([0, 0, 2 * m]), output="llrs")


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


def main(arguments: list[str] | None = None) -> int:
    """Export, check and report; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.detector.onnx_export",
        description="Write a graph per SNR, NAME_SNRdB.onnx. Each is run in ONNX Runtime against the integer "
        "reference, over i.i.d. Rayleigh channels, and the integer matrix products that ONNX Runtime makes of it are "
        "counted.",
    )
    parser.add_argument("detector", metavar="NAME", help="a quantized detector, or the path of a *.kaq.json file")
    parser.add_argument("--snr", type=float, nargs="+", required=True, metavar="DB", help="the bins' SNRs in dB")
    parser.add_argument("--output", type=Path, required=True, metavar="DIRECTORY", help="where to write")
    parser.add_argument("--num-tx", type=int, help="fix the number of streams, for runtimes that want static shapes")
    options = parser.parse_args(arguments)
    try:
        return _export(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _export(options: argparse.Namespace) -> int:
    if options.detector in LINEAR_DETECTORS:
        raise ValueError(f"{options.detector} is a formula; a quantized detector expected")
    detector = load_detector(options.detector, backend="reference")
    assert isinstance(detector, UnfoldedDetector)
    model = detector.model
    if not all(np.isfinite(options.snr)):
        raise ValueError("--snr: finite numbers expected")
    if model.candidates:
        print(f"{model.name}: the graphs have its layers only, without its second guesses", file=sys.stderr)
        model = dataclasses.replace(model, candidates=0)
    documents = {snr_db: onnx_model(model, snr_db, options.num_tx) for snr_db in options.snr}
    options.output.mkdir(parents=True, exist_ok=True)
    size = comparison_size(model, options.num_tx)
    for snr_db, document in documents.items():
        path = options.output / f"{model.name}_{snr_db:g}dB.onnx"
        path.write_bytes(document.SerializeToString())
        with tempfile.TemporaryDirectory() as folder:
            optimised = Path(folder) / "optimised.onnx"
            session(document, optimised)
            fused = operators(optimised)
        print(f"{path}")
        print(f"  integer matrix products in ONNX Runtime: {fused[INTEGER_PRODUCT]} of {operators(path)['MatMul']}")
        print(f"  {size[0]}x{size[1]}: {compare(model, document, snr_db, size)}")
    return 0


def comparison_size(model: DetectorModel, num_tx: int | None) -> tuple[int, int]:
    """The most streams that the detector (or its graph) takes, up to 16, and as many receive antennas as these need."""
    num_tx = num_tx or min(16, model.max_num_tx)
    return min(model.max_num_rx, max(num_tx, math.ceil(model.min_rx_per_tx * num_tx))), num_tx


if __name__ == "__main__":
    sys.exit(main())
