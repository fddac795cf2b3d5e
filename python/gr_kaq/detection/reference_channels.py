# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels of a quantized network in the NumPy integers that specify the native kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import integer_reference
from .model_file import DetectorModel
from .preparation import Preparation
from .quantization import quantize_channels, quantize_estimates, state_unit
from .real_valued_model import complex_streams, interleaved_bits
from .result import Detection, PreparedChannels

__all__ = ["ReferenceChannels"]


class ReferenceChannels(PreparedChannels):
    """C channels of a quantized model."""

    def __init__(self, model: DetectorModel, prepared: Preparation):
        self._model, self._prepared = model, prepared
        self._channels = quantize_channels(model, prepared)

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        y = np.ascontiguousarray(y, np.complex64)  # BLAS rounds otherwise in another layout
        b, finite = quantize_estimates(self._model, self._prepared, y)
        t = integer_reference.detect(self._model, self._channels, b)
        llrs = integer_reference.llrs(self._model.constellation, t).astype(np.float32)
        llrs *= self._channels.llr_scale[:, None, :, None]
        symbols = complex_streams(t * np.float32(state_unit(self._model)))
        symbols[~finite] = 0
        llrs[~finite] = 0
        return Detection(symbols, interleaved_bits(llrs), int(finite.size - np.count_nonzero(finite)))
