# SPDX-License-Identifier: GPL-3.0-or-later
"""The list detector in the native kernel; equal to `list_reference` bit for bit."""

from __future__ import annotations

from typing import Any

from ..native import extension
from .kernel_plan import KernelPlan
from .list_model import ListModel

__all__ = ["NativeListPlan"]


class NativeListPlan(KernelPlan):
    """A `KernelPlan` for `model`.

    Args:
        model: a quantized model.
        shape: num_channels, num_rx, num_tx.
        options: as for `KernelPlan`.
    """

    def __init__(self, model: ListModel, *shape: int, **options: Any):
        super().__init__(extension().ListPlan, _network(model), model.constellation, shape, **options)


def _network(model: ListModel) -> Any:
    """The model as the kernel takes it."""
    return extension().ListNetwork(
        bits_per_dimension=model.constellation.bits_per_dimension,
        half_distance=model.constellation.half_distance,
        survivors=model.survivors,
        largest_entry=model.largest_entry,
        step_alpha=model.step.alpha,
        step_gamma=model.step.gamma,
        layers=[(layer.damping, layer.least_variance) for layer in model.layers],
        knots=list(model.knots),
        fusion=[
            (of.max_num_tx, of.list_narrow, of.list_wide, of.propagation_narrow, of.propagation_wide)
            for of in model.fusion
        ],
    )
