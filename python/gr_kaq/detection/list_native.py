# SPDX-License-Identifier: GPL-3.0-or-later
"""The list detector in the native kernel; equal to `list_reference` bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native import extension
from ..signals.signal_model import Noise
from .kernel_channels import KernelChannels
from .list_model import ListModel
from .plan import Plan

__all__ = ["NativeListPlan"]


class NativeListPlan(Plan):
    """Buffers of the kernel for `model` and channels of one size; nothing is allocated once it exists.

    Args:
        model: a quantized model.
        num_channels, num_rx, num_tx: C, antennas and streams.
        num_threads: threads that share the work; the result has the same bits.
        instruction_set: one of `instruction_sets()`; empty: the best, or the environment's choice.
    """

    def __init__(
        self,
        model: ListModel,
        num_channels: int,
        num_rx: int,
        num_tx: int,
        *,
        num_threads: int = 1,
        instruction_set: str = "",
    ):
        super().__init__((num_channels, num_rx, num_tx))
        self.model = model
        self.kernel = extension().ListPlan(_network(model), instruction_set, *self.shape, num_threads)

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> KernelChannels:
        return KernelChannels(self.kernel, self.model.constellation, h, noise)


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
