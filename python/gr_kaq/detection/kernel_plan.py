# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plans of the native kernel have in common, and the channels that they have prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation
from ..signals.signal_model import Noise
from .plan import Plan
from .result import Detection, Piece, PreparedChannels, Streams

__all__ = ["KernelChannels", "KernelPlan"]


class KernelChannels(PreparedChannels):
    """The channels that a plan of the kernel prepared last.

    Args:
        kernel: the plan, one of `gr_kaq._kernel`.
        constellation: what every stream carries.
        num_tx: how many streams there are.
    """

    def __init__(self, kernel: Any, constellation: Constellation, num_tx: int):
        self._kernel, self._num_tx = kernel, num_tx
        self._bits_per_symbol = constellation.bits_per_symbol

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
        return int(self._kernel.detect_streams(received, symbols, llrs))


class KernelPlan(Plan):
    """Buffers of the kernel for channels of one size; nothing is allocated once it exists.

    Args:
        make: what makes the plan, of `gr_kaq._kernel`.
        network: what it is to run.
        constellation: what every stream carries.
        shape: (num_channels, num_rx, num_tx).
        num_threads: threads that share the work; the result has the same bits.
        instruction_set: one of `instruction_sets()`; empty: the best, or the environment's choice.
    """

    channels_type: ClassVar[type[KernelChannels]] = KernelChannels

    def __init__(
        self,
        make: Callable[..., Any],
        network: Any,
        constellation: Constellation,
        shape: tuple[int, ...],
        *,
        num_threads: int = 1,
        instruction_set: str = "",
    ):
        num_channels, num_rx, num_tx = shape
        super().__init__((num_channels, num_rx, num_tx))
        self.kernel = make(network, instruction_set, *shape, num_threads)
        self._channels = self.channels_type(self.kernel, constellation, num_tx)

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        is_snr_db = noise.snr_db is not None
        self.kernel.prepare(h, noise.snr_db if is_snr_db else noise.noise_var, is_snr_db, vectors_per_estimate)
        return self._channels

    def detect_pieces(self, pieces: Sequence[Piece], received: Streams, symbols: Streams, llrs: Streams = ()) -> int:
        if any(piece.noise_cov is not None or isinstance(piece.noise_var, np.ndarray) for piece in pieces):
            return super().detect_pieces(pieces, received, symbols, llrs)
        self._latest = self._channels
        return int(self.kernel.detect_pieces(pieces, received, symbols, llrs))
