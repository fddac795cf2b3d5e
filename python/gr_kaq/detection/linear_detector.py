# SPDX-License-Identifier: GPL-3.0-or-later
"""LMMSE and zero forcing as detectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..native import selected_instruction_set
from ..signals.constellation import Constellation
from ..signals.signal_model import Noise
from . import linear
from .detector import Detector
from .float_channels import FloatChannels
from .linear_native import NativeLinearPlan
from .plan import Plan
from .result import PreparedChannels

__all__ = ["LINEAR_DETECTORS", "LinearDetector"]

LINEAR_DETECTORS = {"lmmse": linear.lmmse, "zf": linear.zero_forcing}
"""Filters by the name of the detector."""


class LinearDetector(Detector):
    """LMMSE (``"lmmse"``) or zero forcing (``"zf"``).

    Attributes:
        backend: ``"native"`` (the compiled kernel, in single precision), or ``"reference"`` (NumPy, with filters in
            double precision).
    """

    def __init__(self, name: str, constellation: Constellation, backend: str = "native"):
        self.name, self.constellation, self.backend = name, constellation, backend
        if backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        if num_rx < 1 or num_tx < 1 or (self.name == "zf" and num_rx < num_tx):
            need = "num_rx >= num_tx >= 1" if self.name == "zf" else "num_rx >= 1 and num_tx >= 1"
            raise ValueError(f"detector {self.name} needs {need}; got num_rx={num_rx}, num_tx={num_tx}")

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        if self.backend == "native":
            return NativeLinearPlan(self.name, self.constellation, *shape, num_threads=num_threads)
        return _NumPyPlan(self, shape)


class _NumPyPlan(Plan):
    def __init__(self, detector: LinearDetector, shape: tuple[int, int, int]):
        super().__init__(shape)
        self._constellation, self._filters = detector.constellation, LINEAR_DETECTORS[detector.name]

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        _, noise_var = noise.over(h)
        return _LinearChannels(self._constellation, *self._filters(h, noise_var))


class _LinearChannels(FloatChannels):
    def __init__(self, constellation: Constellation, filters: NDArray[np.complex64], variance: NDArray[np.float32]):
        super().__init__(constellation, np.tile(variance, 2))
        self._filters = filters.swapaxes(-1, -2)

    def _estimate(self, y: NDArray[np.complex64]) -> NDArray[np.floating]:
        estimates = y @ self._filters
        return np.concatenate([estimates.real, estimates.imag], axis=-1)
