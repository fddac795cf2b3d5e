# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a model file that a list detector has of its own; `model_file` has the rest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .list_model import Curves, FusionWeights, ListModel, PropagationLayer, Step

__all__ = ["keys", "model"]

CURVES = ("list_narrow", "list_wide", "propagation_narrow", "propagation_wide")
NO_STEP = Step(0.0, 0.0)
"""Of a full-precision model."""


def model(document: dict[str, Any], common: dict[str, Any]) -> ListModel:
    """The model of a document that the schema accepts.

    Args:
        document: of a list detector.
        common: what every model has, by the name of the attribute.

    Raises:
        ValueError: what the schema cannot say is wrong; the message begins with the key.
    """
    bits, fusion = document["bits"], document["fusion"]
    knots = tuple(float(knot) for knot in fusion["knots"])
    if any(low >= high for low, high in pairwise(knots)):
        raise ValueError(f"key fusion.knots: ascending values expected, got {list(knots)}")
    shape = common["constellation"].bits_per_dimension, len(knots)
    weights = tuple(_weights(f"fusion.weights.{i}", found, shape) for i, found in enumerate(fusion["weights"]))
    if any(first.max_num_tx >= second.max_num_tx for first, second in pairwise(weights)):
        raise ValueError("key fusion.weights: ascending values of max_num_tx expected")
    if weights[-1].max_num_tx < common["max_num_tx"]:
        raise ValueError(
            f"key fusion.weights: up to {common['max_num_tx']} streams (sizes.max_num_tx) expected, "
            f"got {weights[-1].max_num_tx}"
        )
    return ListModel(
        **common,
        survivors=int(document["survivors"]),
        matrix_bits=int(bits["matrix"]) if bits else None,
        step=Step(**{key: float(value) for key, value in document["step"].items()}) if bits else NO_STEP,
        layers=tuple(
            PropagationLayer(float(layer["damping"]), float(layer["least_variance"])) for layer in document["layers"]
        ),
        knots=knots,
        fusion=weights,
    )


def keys(model: ListModel) -> dict[str, Any]:
    """The keys that `model` reads, with numbers rounded to six decimals."""
    own: dict[str, Any] = {"bits": None, "survivors": model.survivors}
    if model.quantized:
        own["bits"] = {"matrix": model.matrix_bits}
        own["step"] = _rounded(vars(model.step))
    own["layers"] = [_rounded(vars(layer)) for layer in model.layers]
    own["fusion"] = {
        "knots": _rounded(model.knots),
        "weights": [
            {"max_num_tx": weights.max_num_tx, **{key: _rounded(getattr(weights, key)) for key in CURVES}}
            for weights in model.fusion
        ],
    }
    return own


def _weights(key: str, document: dict[str, Any], shape: tuple[int, int]) -> FusionWeights:
    return FusionWeights(
        int(document["max_num_tx"]), *(_curves(f"{key}.{name}", document[name], shape) for name in CURVES)
    )


def _curves(key: str, rows: list[list[float]], shape: tuple[int, int]) -> Curves:
    num_bits, num_knots = shape
    if len(rows) != num_bits:
        raise ValueError(f"key {key}: {num_bits} rows expected, one per bit of a dimension, got {len(rows)}")
    for i, row in enumerate(rows):
        if len(row) != num_knots:
            raise ValueError(f"key {key}.{i}: {num_knots} weights expected, one per knot, got {len(row)}")
    return tuple(tuple(float(weight) for weight in row) for row in rows)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, tuple) else round(float(value), 6)
