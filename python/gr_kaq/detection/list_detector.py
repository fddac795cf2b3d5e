# SPDX-License-Identifier: GPL-3.0-or-later
"""A list model as a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import Noise
from .channel_levels import channel_levels
from .list_model import ListModel
from .list_native import NativeListPlan
from .list_preparation import prepare_list
from .list_reference import ListReferenceChannels
from .plan import Plan
from .result import PreparedChannels
from .trained_detector import TrainedDetector

__all__ = ["ListDetector"]


class ListDetector(TrainedDetector[ListModel]):
    """K-best search and expectation propagation, from a model file. Full-precision models run in NumPy."""

    def __init__(self, model: ListModel, backend: str, precision: str = "auto"):
        if precision == "fp32" and model.quantized:
            raise ValueError(f"detector {model.name} runs in its integers only; its twin {model.name}-fp is in fp32")
        super().__init__(model, backend if model.quantized else "reference", precision)

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        if self.backend == "native":
            return NativeListPlan(self.model, *shape, num_threads=num_threads)
        return _NumPyPlan(self.model, shape)


class _NumPyPlan(Plan):
    """Channels of one size in NumPy: the reference, and the only form of a full-precision model."""

    def __init__(self, model: ListModel, shape: tuple[int, int, int]):
        super().__init__(shape)
        self._model = model

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        gain, noise_var = channel_levels(h, noise)
        return ListReferenceChannels(self._model, prepare_list(self._model, h, gain, noise_var))
