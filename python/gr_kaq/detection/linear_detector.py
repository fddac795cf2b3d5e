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

LARGEST_NOISE = 1e10
"""Of channels whose entries are up to 1: nothing at all is known of the symbols there."""

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
        # powers of two, which change no digit, so that nothing leaves the range whatever the radio's gain is
        exponent = -np.frexp(np.abs(h.view(np.float32)).max(axis=(1, 2)))[1]
        level = np.ldexp(1.0, exponent)
        with np.errstate(over="ignore"):
            noise_var = np.minimum(noise_var * level**2, LARGEST_NOISE)
        filters, variance = self._filters(h * level[:, None, None], noise_var)
        return _LinearChannels(self._constellation, filters, variance, exponent)


class _LinearChannels(FloatChannels):
    """C channels.

    Args:
        constellation: what every stream carries.
        filters, variance: as `linear` gives them, of H times 2^exponent.
        exponent: (C,).
    """

    def __init__(
        self,
        constellation: Constellation,
        filters: NDArray[np.complex64],
        variance: NDArray[np.float32],
        exponent: NDArray[np.integer],
    ):
        super().__init__(constellation, np.tile(variance, 2))
        self._filters, self._exponent = filters.swapaxes(-1, -2), exponent[:, None, None]

    def _estimate(self, y: NDArray[np.complex64]) -> NDArray[np.floating]:
        estimates = np.ldexp(y.view(np.float32), self._exponent).view(np.complex64) @ self._filters
        return np.concatenate([estimates.real, estimates.imag], axis=-1)
