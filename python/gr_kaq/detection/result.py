# SPDX-License-Identifier: GPL-3.0-or-later
"""What a detector returns, and what it is between a channel estimate and the vectors that share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detection", "PreparedChannels"]


@dataclass(frozen=True)
class Detection:
    """What a detector says of received vectors.

    Attributes:
        symbols: complex64 (..., T, num_tx), estimates of x before the decision.
        llrs: float32 (..., T, num_tx, bits_per_symbol), ln P(b=1)/P(b=0).
        num_invalid: how many vectors held NaN or Inf; their symbols and LLRs are 0.
    """

    symbols: NDArray[np.complex64]
    llrs: NDArray[np.float32]
    num_invalid: int


class PreparedChannels(ABC):
    """A detector prepared for C channels (the subcarriers of one estimate)."""

    @abstractmethod
    def detect(self, y: NDArray[np.complex64]) -> Detection:
        """Detect y (C, T, num_rx): T vectors for each channel."""

    def detect_streams(
        self,
        received: Sequence[NDArray[np.complex64]],
        symbols: Sequence[NDArray[np.complex64]],
        llrs: Sequence[NDArray[np.float32]] = (),
    ) -> int:
        """Detect vectors that lie in one buffer per antenna and write the result into one buffer per stream.

        Args:
            received: num_rx arrays (T, C).
            symbols: num_tx arrays (T, C), written.
            llrs: num_tx arrays (T, C * bits_per_symbol), written; none to leave the LLRs out.

        Returns:
            How many vectors held NaN or Inf.
        """
        detection = self.detect(np.stack([samples.T for samples in received], axis=-1))
        for stream, symbol_buffer in enumerate(symbols):
            symbol_buffer[:] = detection.symbols[:, :, stream].T
        for stream, llr_buffer in enumerate(llrs):
            llr_buffer[:] = detection.llrs[:, :, stream].swapaxes(0, 1).reshape(llr_buffer.shape)
        return detection.num_invalid
