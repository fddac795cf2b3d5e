# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels of an unfolded network in floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import full_precision
from .float_channels import FloatChannels
from .model_file import DetectorModel
from .preparation import Preparation, output_error

__all__ = ["FullPrecisionChannels"]


class FullPrecisionChannels(FloatChannels):
    """C channels of a full-precision model."""

    def __init__(self, model: DetectorModel, prepared: Preparation):
        with np.errstate(divide="ignore"):
            error = model.constellation.half_distance**2 / prepared.precision
        super().__init__(model.constellation, (error * output_error(model, prepared)).astype(np.float32))
        self._model, self._prepared = model, prepared

    def _estimate(self, y: NDArray[np.complex64]) -> NDArray[np.floating]:
        return full_precision.detect(self._model, self._prepared, y)
