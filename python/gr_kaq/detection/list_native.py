# SPDX-License-Identifier: GPL-3.0-or-later
"""The list detector in the native kernel; equal to `list_reference` bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native import extension
from ..signals.signal_model import Noise
from .list_model import ListModel
from .plan import Plan
from .result import Detection, PreparedChannels

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

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> NativeListChannels:
        return NativeListChannels(self, h, noise)


class NativeListChannels(PreparedChannels):
    """The channels of a plan; see `PreparedChannels`. They hold until the plan prepares others."""

    def __init__(self, plan: NativeListPlan, h: NDArray[np.complex64], noise: Noise):
        self._kernel, self._num_tx = plan.kernel, plan.shape[-1]
        self._bits_per_symbol = plan.model.constellation.bits_per_symbol
        is_snr_db = noise.snr_db is not None
        self._kernel.prepare(h, noise.snr_db if is_snr_db else noise.noise_var, is_snr_db)

    @property
    def instruction_set(self) -> str:
        """The kernel in use."""
        return str(self._kernel.instruction_set)

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        y = np.require(y, np.complex64, ["C", "A"])
        symbols = np.empty((*y.shape[:2], self._num_tx), np.complex64)
        llrs = np.empty((*symbols.shape, self._bits_per_symbol), np.float32)
        return Detection(symbols, llrs, self._kernel.detect(y, symbols, llrs))

    def detect_streams(
        self,
        received: Sequence[NDArray[np.complex64]],
        symbols: Sequence[NDArray[np.complex64]],
        llrs: Sequence[NDArray[np.float32]] = (),
    ) -> int:
        return int(self._kernel.detect_streams(received, symbols, llrs))


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
