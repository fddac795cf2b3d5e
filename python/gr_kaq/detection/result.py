# SPDX-License-Identifier: GPL-3.0-or-later
"""What a detector returns, and what it is between a channel estimate and the vectors that share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detection", "Piece", "PreparedChannels", "Streams"]

Streams = Sequence[NDArray[Any]] | NDArray[Any]
"""An array (T, width) for each antenna or stream, or all of them as one array (streams, T, width)."""


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


class Piece(NamedTuple):
    """Vectors that share a channel estimate, some of those that a call detects.

    Attributes:
        start, stop: vectors `start` to `stop` - 1 of each channel.
        h: complex64 (C, num_rx, num_tx), contiguous.
        snr_db: SNR in dB over all channels; or
        noise_var: noise variance per receive antenna, for all channels or (C,); or `noise_cov`. Exactly one of
            the three.
        vectors_per_estimate: as for `Plan.prepare`.
        is_prepared: whether that is what the plan prepared last.
        noise_cov: covariance of the noise, as for `Plan.prepare`.
    """

    start: int
    stop: int
    h: NDArray[np.complex64]
    snr_db: float | None = None
    noise_var: float | NDArray[np.float64] | None = None
    vectors_per_estimate: int = 1
    is_prepared: bool = False
    noise_cov: NDArray[np.complex64] | None = None


class PreparedChannels(ABC):
    """A detector prepared for C channels (the subcarriers of one estimate)."""

    @abstractmethod
    def detect(self, y: NDArray[np.complex64]) -> Detection:
        """Detect y (C, T, num_rx): T vectors for each channel."""

    def detect_streams(self, received: Streams, symbols: Streams, llrs: Streams = ()) -> int:
        """Detect vectors that lie in one buffer per antenna and write the result into one buffer per stream.

        The rows of all buffers of an argument may be parts of wider ones, as where antennas share a port.

        Args:
            received: num_rx arrays (T, C), complex64.
            symbols: num_tx arrays (T, C), complex64, written.
            llrs: num_tx arrays (T, C * bits_per_symbol), float32, written; none to leave the LLRs out.

        Returns:
            How many vectors held NaN or Inf.

        Raises:
            ValueError: (native) the number, type or shape of buffers is another, or they lie in memory otherwise.
            RuntimeError: another thread is using the plan.
        """
        detection = self.detect(np.stack([samples.T for samples in received], axis=-1))
        for stream, symbol_buffer in enumerate(symbols):
            symbol_buffer[:] = detection.symbols[:, :, stream].T
        for stream, llr_buffer in enumerate(llrs):
            llr_buffer[:] = detection.llrs[:, :, stream].swapaxes(0, 1).reshape(llr_buffer.shape)
        return detection.num_invalid
