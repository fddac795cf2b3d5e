# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained network as a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..native import selected_instruction_set
from ..signals.signal_model import Noise
from .detector import Detector
from .full_precision_channels import FullPrecisionChannels
from .model_file import DetectorModel
from .native_kernel import NativePlan
from .plan import Plan
from .preparation import prepare
from .reference_channels import ReferenceChannels
from .result import PreparedChannels

__all__ = ["UnfoldedDetector"]


class UnfoldedDetector(Detector):
    """A trained network from a model file.

    Attributes:
        model: the model.
        backend: ``"native"``, ``"reference"``, or ``"float"`` for a full-precision model.
    """

    def __init__(self, model: DetectorModel, backend: str):
        self.name, self.constellation = model.name, model.constellation
        self.model = model
        self.backend = backend if model.quantized else "float"
        if self.backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.model.check_size(num_rx, num_tx)

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        if self.backend == "native":
            return NativePlan(self.model, *shape, num_threads=num_threads)
        return _NumPyPlan(self.model, shape, self.backend)


class _NumPyPlan(Plan):
    """Channels of one size for the backends in NumPy, which share the preparation."""

    def __init__(self, model: DetectorModel, shape: tuple[int, int, int], backend: str):
        super().__init__(shape)
        self._model = model
        self._channels = ReferenceChannels if backend == "reference" else FullPrecisionChannels

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        snr_db, noise_var = noise.over(h)
        return self._channels(self._model, prepare(self._model, h, noise_var, snr_db))
