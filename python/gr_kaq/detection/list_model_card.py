# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts and the card of a list detector have of their own; `model_card` has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .list_model import ListModel

__all__ = ["facts", "kind", "parameters", "properties"]


def kind(model: ListModel) -> str:
    """Such as ``list of 8``."""
    return f"list of {model.survivors}"


def facts(model: ListModel) -> dict[str, Any]:
    """What only a list detector has; JSON types only."""
    return {
        "survivors": model.survivors,
        "matrix_bits": model.matrix_bits,
        "step": dict(vars(model.step)) if model.quantized else None,
        "propagation": [dict(vars(layer)) for layer in model.layers],
        "knots": list(model.knots),
        "list_weights": [list(row) for row in model.list_weights],
        "propagation_weights": [list(row) for row in model.propagation_weights],
    }


def properties(model: ListModel) -> Iterator[str]:
    """Rows of the card's table."""
    layers = f"{len(model.layers)} layer{'s' if len(model.layers) > 1 else ''} of expectation propagation"
    yield f"| network | list of {model.survivors} paths, and {layers} |"
    yield f"| constellation | {model.constellation.name} on every stream |"
    yield f"| widths | {_matrix(model)} |"


def parameters(model: ListModel) -> Iterator[str]:
    """The layers, and the curves that make LLRs."""
    yield "| layer | damping | least variance over the symbol's energy |"
    yield "|---|---|---|"
    for k, layer in enumerate(model.layers, 1):
        yield f"| {k} | {layer.damping:.3g} | {layer.least_variance:.3g} |"
    yield ""
    yield "The LLR of a bit is the sum of two odd curves, of its LLR by the list and of that by the propagation."
    yield "Between two knots, the curve's slope is:"
    yield ""
    yield f"| bit, source | {' | '.join(f'to {knot:g}' for knot in model.knots)} |"
    yield "|---|" + "---|" * len(model.knots)
    for source, rows in (("list", model.list_weights), ("propagation", model.propagation_weights)):
        for bit, row in enumerate(rows):
            slopes = [sum(row[i:]) for i in range(len(row))]
            yield f"| {bit}, {source} | {' | '.join(f'{slope + 0.0:.2f}' for slope in slopes)} |"


def _matrix(model: ListModel) -> str:
    if not model.quantized:
        return "full precision (single precision in NumPy)"
    alpha, gamma = model.step.alpha, model.step.gamma
    parts = [f"{alpha:.3g} of the noise's standard deviation"] if alpha else []
    parts += [f"{gamma:.3g} of its row's largest entry"] if gamma else []
    step = " + ".join(parts) or "as fine as the width allows"
    return f"matrix up to {model.matrix_bits} bits; step {step}"
