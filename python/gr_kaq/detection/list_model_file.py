# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a model file that a list detector has of its own; `model_file` has the rest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .list_model import ListModel, PropagationLayer, Step

__all__ = ["keys", "model"]

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
    per_dimension = common["constellation"].bits_per_dimension
    return ListModel(
        **common,
        survivors=int(document["survivors"]),
        matrix_bits=int(bits["matrix"]) if bits else None,
        step=Step(**{key: float(value) for key, value in document["step"].items()}) if bits else NO_STEP,
        layers=tuple(
            PropagationLayer(float(layer["damping"]), float(layer["least_variance"])) for layer in document["layers"]
        ),
        knots=knots,
        list_weights=_weights("list", fusion["list"], per_dimension, len(knots)),
        propagation_weights=_weights("propagation", fusion["propagation"], per_dimension, len(knots)),
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
        "list": _rounded(model.list_weights),
        "propagation": _rounded(model.propagation_weights),
    }
    return own


def _weights(name: str, rows: list[list[float]], num_bits: int, num_knots: int) -> tuple[tuple[float, ...], ...]:
    if len(rows) != num_bits:
        raise ValueError(f"key fusion.{name}: {num_bits} rows expected, one per bit of a dimension, got {len(rows)}")
    for i, row in enumerate(rows):
        if len(row) != num_knots:
            raise ValueError(f"key fusion.{name}.{i}: {num_knots} weights expected, one per knot, got {len(row)}")
    return tuple(tuple(float(weight) for weight in row) for row in rows)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, tuple) else round(float(value), 6)
