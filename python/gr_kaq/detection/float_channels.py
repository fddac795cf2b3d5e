# SPDX-License-Identifier: GPL-3.0-or-later
"""What all detectors in floating point share: invalid vectors, LLRs from an estimate and its error variance."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation
from . import full_precision
from .real_valued_model import complex_streams, interleaved_bits
from .result import Detection, PreparedChannels

__all__ = ["FloatChannels"]


class FloatChannels(PreparedChannels):
    """C channels of a detector in floating point.

    Args:
        constellation: what every stream carries.
        variance: (C, n), error variance of each row of the real-valued model.
    """

    def __init__(self, constellation: Constellation, variance: NDArray[np.float32]):
        self._constellation = constellation
        self._variance = variance[:, None, :]  # (C, 1, n)

    @abstractmethod
    def _estimate(self, y: NDArray[np.complex64]) -> NDArray[np.floating]:
        """(C, T, num_rx) -> the estimates (C, T, n)."""

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        y = np.ascontiguousarray(y, np.complex64)  # BLAS rounds otherwise in another layout
        with np.errstate(invalid="ignore", over="ignore"):
            t = self._estimate(y)
        finite = np.isfinite(t).all(axis=-1)
        t = np.where(finite[..., None], t, 0).astype(np.float32)
        llrs = interleaved_bits(full_precision.llrs(self._constellation, t, self._variance))
        llrs[~finite] = 0
        return Detection(complex_streams(t), llrs, int(finite.size - np.count_nonzero(finite)))
