# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know of a learned channel estimator, out of its file alone: as facts (JSON), and as a card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..files import one_line, parse_json
from .learned import LearnedEstimator

__all__ = ["estimator_card", "estimator_facts"]

PRODUCT = ("weight_bits", "activation_bits", "range", "law")
"""What a file says of each quantized product."""


def estimator_facts(estimator: LearnedEstimator) -> dict[str, Any]:
    """Name, description, range of the statistics, error on held-out frames and quantization; JSON types only.

    `quantization` is None of full precision, and of files that do not say: method, law, and for each product
    ``weight_bits``, ``activation_bits``, ``range`` of the activations at 20 dB and ``law``.
    """
    metadata = estimator.metadata
    return {
        "name": estimator.name,
        "description": one_line(metadata.get("description", "")),
        "range": estimator.range.tolist(),
        "mse": _mapping(metadata, "mse"),
        "quantization": _mapping(metadata, "quantization"),
    }


def estimator_card(facts: dict[str, Any]) -> str:
    """The same as Markdown."""
    return "\n".join(_lines(facts))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    low, high = facts["range"]
    yield from (f"# {facts['name']}", "", facts["description"], "")
    yield (
        f"- For an SNR of a pair of antennas from {low[0]:.2g} to {high[0]:.3g} (linear), a delay spread from "
        f"{low[1]:.2g} to {high[1]:.2g} cycles per carrier, a Doppler up to {high[2]:.2g} cycles per symbol"
    )
    errors, quantization = facts["mse"], facts["quantization"]
    if errors is not None:
        values = ", ".join(f"{one_line(name)} {one_line(value)}" for name, value in errors["db"].items())
        yield f"- Error relative to LMMSE on {one_line(errors['frames'])} held-out frames, in dB: {values}"
    if quantization is None:
        return
    yield f"- Quantized by {one_line(quantization['method'])}, with a {one_line(quantization['law'])} step"
    yield ""
    yield "| product | weights, bits | activations, bits | their range at 20 dB | law of their step |"
    yield "|---|---|---|---|---|"
    for name, own in quantization["products"].items():
        yield f"| {one_line(name)} | " + " | ".join(_cell(own[key]) for key in PRODUCT) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(one_line, value))
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else one_line(value)


def _mapping(metadata: dict[str, str], key: str) -> dict[str, Any] | None:
    """JSON of a file's metadata as training writes it; None if there is none, or if it is something else."""
    try:
        found = parse_json(metadata[key].encode())
        if key == "mse":
            found["db"].items(), found["frames"]
        else:
            found["method"], found["law"]
            for own in found["products"].values():
                [own[part] for part in PRODUCT]
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return dict(found)
