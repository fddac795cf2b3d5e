# SPDX-License-Identifier: GPL-3.0-or-later
"""Graphs of a detector as files, each run in ONNX Runtime against the integer reference: docs/guide/onnx.md."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]

from gr_kaq.channels.flat import RayleighChannels, complex_normal
from gr_kaq.detection.detectors import load_detector
from gr_kaq.detection.linear_detector import LINEAR_DETECTORS
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.preparation import prepare
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.signal_model import noise_var_from_snr

from ..config import ConfigError
from .onnx_model import graph_inputs, onnx_model

__all__ = ["INTEGER_PRODUCT", "Comparison", "compare", "comparison_size", "export", "operators", "session"]

INTEGER_PRODUCT = "MatMulIntegerToFloat"
VECTORS = 20  # per channel, where a graph is compared with the reference


def export(name: str, snrs_db: Sequence[float], directory: Path, num_tx: int | None = None) -> None:
    """Write NAME_SNRdB.onnx for each SNR, and print how ONNX Runtime runs it and how close it comes to the reference.

    Args:
        name: of a quantized detector, or the path of a model file.
        snrs_db: where the laws are evaluated, one graph for each.
        directory: where to write.
        num_tx: see `onnx_model`.

    Raises:
        ConfigError: there is no such detector, or there is no graph of it.
    """
    if not all(np.isfinite(snrs_db)):
        raise ConfigError("--snr: finite numbers expected")
    try:
        model = _model(name)
        documents = {snr_db: onnx_model(model, snr_db, num_tx) for snr_db in snrs_db}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    directory.mkdir(parents=True, exist_ok=True)
    size = comparison_size(model, num_tx)
    for snr_db, document in documents.items():
        path = directory / f"{model.name}_{snr_db:g}dB.onnx"
        path.write_bytes(document.SerializeToString())
        with tempfile.TemporaryDirectory() as folder:
            optimised = Path(folder) / "optimised.onnx"
            session(document, optimised)
            fused = operators(optimised)
        print(f"{path}")
        print(f"  integer matrix products in ONNX Runtime: {fused[INTEGER_PRODUCT]} of {operators(path)['MatMul']}")
        print(f"  {size[0]}x{size[1]}: {compare(model, document, snr_db, size)}")


def _model(name: str) -> DetectorModel:
    if name in LINEAR_DETECTORS:
        raise ConfigError(f"{name} is a formula; a quantized detector expected")
    detector = load_detector(name, backend="reference")
    if not isinstance(detector, UnfoldedDetector):
        raise ConfigError(f"{name} has no graph; an unfolded network expected")
    return detector.model


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
        model: the detector.
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


def comparison_size(model: DetectorModel, num_tx: int | None) -> tuple[int, int]:
    """The most streams that the detector (or its graph) takes, up to 16, and as many receive antennas as these need."""
    num_tx = num_tx or min(16, model.max_num_tx)
    return min(model.max_num_rx, max(num_tx, math.ceil(model.min_rx_per_tx * num_tx))), num_tx
