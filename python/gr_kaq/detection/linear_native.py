# SPDX-License-Identifier: GPL-3.0-or-later
"""LMMSE and zero forcing in the native kernel: `linear`'s filters in single precision.

Most channels are prepared in single precision, as many at once as a register has lanes. Those that are too badly
conditioned for that are found by the pivots of their Gram matrices, and prepared in double precision
(``lib/detection/precise_filter.h``). docs/guide/detectors.md says how near the estimates are to those of `linear`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..native import extension
from ..signals.constellation import Constellation
from ..signals.signal_model import Noise
from .kernel_channels import KernelChannels
from .plan import Plan

__all__ = ["NativeLinearPlan"]


class NativeLinearPlan(Plan):
    """Buffers of the kernel for channels of one size; nothing is allocated once it exists.

    Args:
        name: ``"lmmse"`` or ``"zf"``.
        constellation: what every stream carries.
        num_channels, num_rx, num_tx: C, antennas and streams.
        num_threads: threads that share the work; the result has the same bits.
        instruction_set: one of `instruction_sets()`; empty: the best, or the environment's choice.
    """

    def __init__(
        self,
        name: str,
        constellation: Constellation,
        num_channels: int,
        num_rx: int,
        num_tx: int,
        *,
        num_threads: int = 1,
        instruction_set: str = "",
    ):
        super().__init__((num_channels, num_rx, num_tx))
        self._constellation = constellation
        network = extension().LinearNetwork(
            type=name,
            bits_per_dimension=constellation.bits_per_dimension,
            half_distance=constellation.half_distance,
        )
        self.kernel = extension().LinearPlan(network, instruction_set, *self.shape, num_threads)

    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> KernelChannels:
        return KernelChannels(self.kernel, self._constellation, h, noise, vectors_per_estimate)
