# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plans of the native kernel have in common: the channels that they have prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation
from ..signals.signal_model import Noise
from .result import Detection, PreparedChannels, Streams

__all__ = ["KernelChannels"]


class KernelChannels(PreparedChannels):
    """The channels of a plan of the kernel. They hold until the plan prepares others.

    Args:
        kernel: the plan, one of `gr_kaq._kernel`.
        constellation: what every stream carries.
        h: complex64 (C, num_rx, num_tx).
        noise: how strong the noise is.
        more: what else the plan's `prepare` takes.

    Raises:
        ValueError: h holds NaN or Inf, or a shape does not fit the plan.
        RuntimeError: another thread is using the plan.
    """

    def __init__(self, kernel: Any, constellation: Constellation, h: NDArray[np.complex64], noise: Noise, *more: int):
        self._kernel, self._num_tx = kernel, h.shape[-1]
        self._bits_per_symbol = constellation.bits_per_symbol
        is_snr_db = noise.snr_db is not None
        kernel.prepare(h, noise.snr_db if is_snr_db else noise.noise_var, is_snr_db, *more)

    @property
    def instruction_set(self) -> str:
        """The kernel in use."""
        return str(self._kernel.instruction_set)

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        symbols = np.empty((*y.shape[:2], self._num_tx), np.complex64)
        llrs = np.empty((*symbols.shape, self._bits_per_symbol), np.float32)
        if y.dtype != np.complex64 or not y.flags.carray:
            y = np.require(y, np.complex64, ["C", "A"])
        num_invalid = self._kernel.detect(y, symbols, llrs)
        return Detection(symbols, llrs, num_invalid)

    def detect_streams(self, received: Streams, symbols: Streams, llrs: Streams = ()) -> int:
        return int(self._kernel.detect_streams(list(received), list(symbols), list(llrs)))
