# SPDX-License-Identifier: GPL-3.0-or-later
"""LMMSE and zero forcing in the native kernel: `linear`'s filters in single precision.

Most channels are prepared in single precision, as many at once as a register has lanes. Those that are too badly
conditioned for that are found by the pivots of their Gram matrices, and prepared in double precision
(``lib/detection/precise_filter.h``). docs/guide/detectors.md says how near the estimates are to those of `linear`.
"""

from __future__ import annotations

from typing import Any

from ..native import extension
from ..signals.constellation import Constellation
from .kernel_plan import KernelPlan

__all__ = ["NativeLinearPlan"]


class NativeLinearPlan(KernelPlan):
    """A `KernelPlan` for a filter.

    Args:
        name: ``"lmmse"`` or ``"zf"``.
        constellation: what every stream carries.
        shape: num_channels, num_rx, num_tx.
        options: as for `KernelPlan`.
    """

    def __init__(self, name: str, constellation: Constellation, *shape: int, **options: Any):
        network = extension().LinearNetwork(
            type=name,
            bits_per_dimension=constellation.bits_per_dimension,
            half_distance=constellation.half_distance,
        )
        super().__init__(extension().LinearPlan, network, constellation, shape, **options)
