# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts and the card of a list detector have of their own; `model_card` has the rest."""

from __future__ import annotations

import math
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
        "fusion": [
            {key: [list(row) for row in value] if isinstance(value, tuple) else value for key, value in vars(w).items()}
            for w in model.fusion
        ],
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
    yield "The LLR of a bit is the sum of two odd curves, of its LLR by the list and of that by the propagation. The"
    yield "slopes between two knots, for lists whose paths are alike -> whose best path stands out:"
    yield ""
    yield f"| streams | bit, source | {' | '.join(f'to {knot:g}' for knot in model.knots)} |"
    yield "|---|---|" + "---|" * len(model.knots)
    for weights in model.fusion:
        for source, narrow, wide in (
            ("list", weights.list_narrow, weights.list_wide),
            ("propagation", weights.propagation_narrow, weights.propagation_wide),
        ):
            for bit, rows in enumerate(zip(narrow, wide, strict=True)):
                first, second = ([math.fsum(row[i:]) + 0.0 for i in range(len(row))] for row in rows)
                slopes = " | ".join(f"{a:.2f} -> {b:.2f}" for a, b in zip(first, second, strict=True))
                yield f"| up to {weights.max_num_tx} | {bit}, {source} | {slopes} |"


def _matrix(model: ListModel) -> str:
    if not model.quantized:
        return "full precision (single precision in NumPy)"
    alpha, gamma = model.step.alpha, model.step.gamma
    return (
        f"matrix up to {model.matrix_bits} bits; step 1/{1 / gamma:.3g} of its row's largest entry, "
        f"at most {alpha:.3g} of the noise's standard deviation"
    )
