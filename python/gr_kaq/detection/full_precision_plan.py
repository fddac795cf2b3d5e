# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels of an unfolded network in floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import Noise
from . import full_precision
from .float_channels import FloatChannels
from .model_file import DetectorModel
from .plan import Plan
from .preparation import Preparation, output_error, prepare
from .result import PreparedChannels

__all__ = ["FullPrecisionPlan"]


class FullPrecisionPlan(Plan):
    """Channels of one size for a full-precision model."""

    def __init__(self, model: DetectorModel, shape: tuple[int, int, int]):
        super().__init__(shape)
        self._model = model

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        snr_db, noise_var = noise.over(h)
        return _FullPrecisionChannels(self._model, prepare(self._model, h, noise_var, snr_db))


class _FullPrecisionChannels(FloatChannels):
    def __init__(self, model: DetectorModel, prepared: Preparation):
        with np.errstate(divide="ignore"):
            error = model.constellation.half_distance**2 / prepared.precision
        super().__init__(model.constellation, (error * output_error(model, prepared)).astype(np.float32))
        self._model, self._prepared = model, prepared

    def _estimate(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return full_precision.detect(self._model, self._prepared, y)
