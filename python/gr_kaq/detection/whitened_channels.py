# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels whose noise is not white, before any detector: received vectors are multiplied with what makes it white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .result import Detection, PreparedChannels

__all__ = ["WhitenedChannels"]


class WhitenedChannels(PreparedChannels):
    """What detects `whitening` y.

    Args:
        channels: prepared for `whitening` H.
        whitening: (C, num_rx, num_rx), or (1, num_rx, num_rx) for all channels.
    """

    def __init__(self, channels: PreparedChannels, whitening: NDArray[np.complex128]):
        self._channels = channels
        self._whitening = whitening.swapaxes(1, 2).astype(np.complex64)  # of rows

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        with np.errstate(all="ignore"):  # NaN and Inf are counted by whom they reach
            return self._channels.detect(np.ascontiguousarray(y @ self._whitening, np.complex64))
