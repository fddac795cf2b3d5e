# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of content that only the training can draw or read: learned estimators and configurations."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # noqa: F401  # without which none is read
from onnx import TensorProto, helper, numpy_helper

from gr_kaq.estimation.learned import FILE_FORMAT, SIGNATURE, LearnedInterpolator
from gr_kaq.estimation.observation import Observation, observe
from gr_kaq.frames.frame_format import FrameFormat
from tests.fuzz.contents.kind import Kind, Random, spoilt

__all__ = ["KINDS"]

OPERATORS = (
    "Add", "Mul", "Div", "MatMul", "Gemm", "Conv", "Reshape", "Tile", "Expand", "ConstantOfShape", "Range", "Gather",
    "Concat", "Split", "Transpose", "Pad", "Resize", "NonZero", "Einsum", "CumSum", "TopK", "OneHot", "Loop", "If",
    "Scan", "SequenceEmpty", "StringNormalizer", "QuantizeLinear", "DequantizeLinear", "Identity", "NoSuchOperator",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 7, 52, 1000, 1 << 20, 1 << 31, (1 << 63) - 1, -(1 << 63))


@cache
def _graphs() -> list[bytes]:
    """An estimator that ships, and small ones of nodes that may be wired otherwise."""
    shipped = resources.files("gr_kaq.estimation").joinpath("estimators", "estimator.onnx").read_bytes()
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name, of in SIGNATURE.items()}
    refined = values.pop("refined")
    constants = [
        numpy_helper.from_array(np.zeros((52, 14), np.float32), "zero"),
        numpy_helper.from_array(np.array([0, 52, 14]), "shape"),
        numpy_helper.from_array(np.array(3), "count"),
        numpy_helper.from_array(np.eye(14, dtype=np.float32), "weights"),
    ]
    nodes = [
        helper.make_node("Add", ["lmmse", "zero"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("MatMul", ["b", "weights"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["d"], ["refined"], perm=[0, 2, 1]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "small", list(values.values()), [refined], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {"format": FILE_FORMAT, "range": "[[0.1, 1e-4, 0], [1000, 0.02, 0.05]]"})
    return [shipped, model.SerializeToString()]


def draw_estimator(rng: Random) -> bytes:
    """Spoilt as bytes, or as a graph."""
    whole = _graphs()[int(rng.random() < 0.8)]
    if rng.random() < 0.3:
        return spoilt(whole, rng)
    model = onnx.ModelProto.FromString(whole)
    for _ in range(1 + rng.integers(2)):
        _spoil(model, rng)
    return model.SerializeToString()


def _pick(rng: Random, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _spoil(model: onnx.ModelProto, rng: Random) -> None:
    graph = model.graph
    node, constant = _pick(rng, graph.node), _pick(rng, graph.initializer)
    names = [name for each in graph.node for name in each.output] + [each.name for each in graph.initializer]
    kind = rng.integers(9)
    if kind == 0:
        node.op_type = _pick(rng, OPERATORS)
    elif kind == 1 and node.input:
        node.input[int(rng.integers(len(node.input)))] = _pick(rng, names)
    elif kind == 2:
        node.attribute.append(helper.make_attribute(_pick(rng, ("axis", "perm", "to", "value")), _pick(rng, NUMBERS)))
    elif kind == 3:
        number = [_pick(rng, NUMBERS) for _ in range(1 + rng.integers(3))]
        constant.CopyFrom(numpy_helper.from_array(np.array(number), constant.name))
    elif kind == 4:
        constant.dims.append(_pick(rng, NUMBERS))
    elif kind == 5:
        constant.data_type = int(rng.integers(24))
    elif kind == 6:
        graph.node.append(helper.make_node(_pick(rng, OPERATORS), [_pick(rng, names)], [f"more {rng.integers(9)}"]))
    elif kind == 7:
        _pick(rng, model.metadata_props).value = _pick(
            rng, ("", "[[1]]", "9" * 5000, "[" * 5000, "x\\n\\x1b[31m", FILE_FORMAT)
        )
    else:
        graph.node.remove(node)


@cache
def _observation() -> tuple[FrameFormat, Observation]:
    frame_format, rng = FrameFormat(2, 64), np.random.default_rng(1)
    grid, guards = (
        rng.standard_normal((14, 3, width, 2)).astype(np.float32).view(np.complex64)[..., 0]
        for width in (frame_format.num_active, 6)
    )
    return frame_format, observe(frame_format, grid, guards)


def use_estimator(path: Path) -> None:
    """It loses no frame. What the child that tries it may take is limited, and measured by `pytest -s -k hostile`."""
    frame_format, observation = _observation()
    interpolate = LearnedInterpolator(frame_format, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it fails, and leaves frames to LMMSE
        found = interpolate(observation)
    assert found.shape == (14, frame_format.num_active, 3, 2) and np.isfinite(found).all()


CONFIGURATIONS = ("admm5-16qam", "list8-16qam", "finetune-measured-3x2-16qam", "estimator", "forecaster")
COMPARISONS = ("methods", "widths", "list-steps")


def draw_configuration(rng: Random) -> bytes:
    from training.config import find

    return spoilt(find(_pick(rng, CONFIGURATIONS)).read_bytes(), rng)


def use_configuration(path: Path) -> None:
    """As each kind: at most one of them is right."""
    from training.config import ConfigError  # and torch, which takes memory
    from training.detector.config import Config as DetectorConfig
    from training.detector.list_detector.config import ListConfig
    from training.estimator.config import Config as EstimatorConfig
    from training.forecaster.config import Config as ForecasterConfig

    refused: list[ConfigError] = []
    classes = (DetectorConfig, ListConfig, EstimatorConfig, ForecasterConfig)
    for cls in classes:
        try:
            cls.load(path)
        except ConfigError as error:
            assert path.name in str(error) and str(error).isprintable()
            refused.append(error)
    if len(refused) == len(classes):
        raise refused[0]


def draw_comparison(rng: Random) -> bytes:
    from training.detector import comparison

    folder = Path(comparison.__file__).parent / "comparisons"
    return spoilt((folder / f"{_pick(rng, COMPARISONS)}.yaml").read_bytes(), rng)


def use_comparison(path: Path) -> None:
    from training.detector import comparison

    comparison.load(path)


KINDS = {
    "estimators": Kind("mutated.onnx", draw_estimator, use_estimator),
    "configurations": Kind("mutated.yaml", draw_configuration, use_configuration),
    "comparisons": Kind("mutated.yaml", draw_comparison, use_comparison),
}
