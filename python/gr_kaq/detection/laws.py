# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws alpha SNR^(-1/2) + gamma of a network: their values at an SNR, and the bounds that they are kept within."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model_file import DetectorModel, Law

__all__ = ["NO_REGULARIZATION", "LayerValues", "law_bounds", "layer_values"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class LayerValues:
    """The laws of a model at the SNR of one estimate (shape (1, K)) or of C channels (shape (C, K)).

    None where the network has no such law.
    """

    step: Float | None
    variance: Float | None
    dual_step: Float | None
    relaxation: Float | None
    gradient_step: Float | None
    threshold: Float | None
    output_variance: Float  # (1,) or (C,)
    regularization: Float  # (1,) or (C,)


def law_bounds(half_distance: float) -> dict[str, tuple[float, float]]:
    """Between which values each law is kept, so that a layer stays meaningful; by name."""
    d = half_distance
    return {
        "step": (d / 256, 16 * d),
        "variance": (1e-3, 1e3),
        "dual_step": (0.0, 64.0),
        "relaxation": (0.0, 2.0),
        "gradient_step": (0.0, 2.0),
        "threshold": (0.0, 16 * d),
        "output_variance": (1e-3, 1e3),
        "regularization": (0.05, 100.0),
    }


NO_REGULARIZATION = Law(0.0, 1.0)
"""What a network without the law `regularization` is given; PGD-Net does not use it."""


def layer_values(model: DetectorModel, snr_db: Float) -> LayerValues:
    """Evaluate the laws of `model` at `snr_db` (1,) or (C,), within `law_bounds`."""
    root = 1 / np.sqrt(model.law_snr(snr_db))
    bounds = law_bounds(model.constellation.half_distance)

    def per_layer(name: str) -> Float | None:
        table = model.law_tables.get(name)
        if table is None:
            return None
        alpha, gamma, present = table
        # zero in a layer that has no such law though its neighbours have
        return present * np.clip(alpha * root[:, None] + gamma, *bounds[name])

    def single(name: str, law: Law) -> Float:
        return np.clip(law.alpha * root + law.gamma, *bounds[name])

    return LayerValues(
        step=per_layer("step"),
        variance=per_layer("variance"),
        dual_step=per_layer("dual_step"),
        relaxation=per_layer("relaxation"),
        gradient_step=per_layer("gradient_step"),
        threshold=per_layer("threshold"),
        output_variance=single("output_variance", model.output_variance),
        regularization=single("regularization", model.regularization or NO_REGULARIZATION),
    )
