# SPDX-License-Identifier: GPL-3.0-or-later
"""Known QAM symbols as a GNU Radio block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import constellation_named
from ..signals.known_symbols import KnownSymbols
from .base import MAX_ANTENNAS, MAX_SUBCARRIERS, KaqBlock, check_integer, ports, rows

__all__ = ["qam_source"]


class qam_source(KaqBlock):
    """Pseudo-random QAM symbols on num_tx streams, which a `ber_meter` with the same arguments knows.

    Gray mapping after 3GPP TS 38.211 section 5.1, E|x|^2 = 1. (GNU Radio's `digital.chunks_to_symbols` behind a
    `blocks.vector_source` per stream would repeat after a few items, and the meter would need all of them wired to it.)

    The sequence begins anew when the flowgraph is started again.

    Outputs: num_tx complex ports; an item is a vector of num_subcarriers symbols. With vector_ports, one port for all
    streams: [tx][subcarrier], as `detector` has it.

    Args:
        num_tx: streams.
        num_subcarriers: length of an item.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        seed: the same seed gives the same symbols.
        num_items: end after so many items; 0: never.
        vector_ports: whether all streams share a port.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        num_subcarriers: int = 1,
        constellation: str = "16qam",
        seed: int = 0,
        num_items: int = 0,
        *,
        vector_ports: bool = False,
    ):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_ANTENNAS)
        self._num_subcarriers = check_integer("num_subcarriers", num_subcarriers, 1, MAX_SUBCARRIERS)
        self._num_items = check_integer("num_items", num_items, 0, 2**62)
        mapping = constellation_named(constellation)
        self._points = mapping.points
        self._arguments = num_tx, self._num_subcarriers, mapping, check_integer("seed", seed, 0, 2**63)
        self._num_tx = num_tx
        outputs = ports(np.complex64, self._num_subcarriers, num_tx, vector_ports=vector_ports)
        super().__init__("KAQ QAM source", [], outputs)
        if vector_ports:
            self.enlarge_buffers(num_tx)

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        self._symbols = KnownSymbols(*self._arguments)

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Map the next items."""
        num_items, first = len(output_items[0]), self.nitems_written(0)
        if self._num_items:
            num_items = min(num_items, self._num_items - first)
            if not num_items:
                return -1
        indices = self._symbols.draw(num_items)
        for stream, items in enumerate(rows(output_items, num_items, self._num_subcarriers, self._num_tx)):
            items[:] = self._points[indices[:, stream]]
        return num_items
