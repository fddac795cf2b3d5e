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


LARGEST_ESTIMATE = 1e12
"""That LLRs follow, so that they are finite with the least variance, whatever the estimate."""

LEAST_VARIANCE = 1e-12


class FloatChannels(PreparedChannels):
    """C channels of a detector in floating point.

    Args:
        constellation: what every stream carries.
        variance: (C, n), error variance of each row of the real-valued model.
    """

    def __init__(self, constellation: Constellation, variance: NDArray[np.float32]):
        self._constellation = constellation
        self._variance = np.maximum(variance, np.float32(LEAST_VARIANCE))[:, None, :]  # (C, 1, n)

    @abstractmethod
    def _estimate(self, y: NDArray[np.complex64]) -> NDArray[np.floating]:
        """(C, T, num_rx) -> the estimates (C, T, n)."""

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        y = np.ascontiguousarray(y, np.complex64)  # BLAS rounds otherwise in another layout
        with np.errstate(invalid="ignore", over="ignore"):
            t = self._estimate(y).astype(np.float32)
        finite = np.isfinite(t).all(axis=-1)
        t = np.where(finite[..., None], t, np.float32(0))
        followed = np.clip(t, -LARGEST_ESTIMATE, LARGEST_ESTIMATE)
        llrs = interleaved_bits(full_precision.llrs(self._constellation, followed, self._variance))
        llrs[~finite] = 0
        return Detection(complex_streams(t), llrs, int(finite.size - np.count_nonzero(finite)))
