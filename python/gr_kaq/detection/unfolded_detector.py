# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained network as a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import Noise
from .full_precision_channels import FullPrecisionChannels
from .model_file import DetectorModel
from .native_kernel import NativePlan
from .plan import Plan
from .preparation import prepare
from .reference_channels import ReferenceChannels
from .result import PreparedChannels
from .trained_detector import TrainedDetector

__all__ = ["UnfoldedDetector"]


class UnfoldedDetector(TrainedDetector[DetectorModel]):
    """A trained ADMM-Net or PGD-Net, from a model file."""

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        if self.backend == "native":
            return NativePlan(self.model, *shape, precision=self.precision, num_threads=num_threads)
        return _NumPyPlan(self.model, shape, self.precision)


class _NumPyPlan(Plan):
    """Channels of one size in NumPy. Both precisions share the preparation."""

    def __init__(self, model: DetectorModel, shape: tuple[int, int, int], precision: str):
        super().__init__(shape)
        self._model = model
        self._channels = ReferenceChannels if precision == "int8" else FullPrecisionChannels

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        snr_db, noise_var = noise.over(h)
        return self._channels(self._model, prepare(self._model, h, noise_var, snr_db))
