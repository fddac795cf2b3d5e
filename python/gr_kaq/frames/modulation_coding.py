# SPDX-License-Identifier: GPL-3.0-or-later
"""Modulation and coding schemes (MCS) of frames with a header, and how much a frame carries with each.

The header takes a few data carriers of the first data symbol, `header_places`; all others carry one *transport block*:

    transport block | CRC-32   -> convolutional code, K = 7, rate 1/2, terminated -> rate matching (`transport_coding`)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation, constellation_named
from .frame_format import CRC_BYTES, TAIL_BITS, FrameFormat

__all__ = [
    "HEADER_CARRIERS",
    "MCS_TABLE",
    "ModulationCoding",
    "header_places",
    "num_payload_bits",
    "payload_places",
    "transport_block_bytes",
]

HEADER_CARRIERS = 48, 96
"""Data carriers of a header: all of the first data symbol with 64 carriers; of wider frames twice as many, for which it
is repeated once."""


@dataclass(frozen=True)
class ModulationCoding:
    """One MCS.

    Attributes:
        constellation_name: of each stream.
        numerator, denominator: of the code rate.
    """

    constellation_name: str
    numerator: int
    denominator: int

    @property
    def constellation(self) -> Constellation:
        """Of each stream."""
        return constellation_named(self.constellation_name)

    @property
    def rate(self) -> float:
        """Of the code."""
        return self.numerator / self.denominator

    @property
    def bits_per_symbol(self) -> float:
        """Information bits of a symbol."""
        return self.constellation.bits_per_symbol * self.rate

    def __str__(self) -> str:
        return f"{self.constellation_name} {self.numerator}/{self.denominator}"


MCS_TABLE = tuple(
    ModulationCoding(*entry)
    for entry in (
        ("qpsk", 1, 3),
        ("qpsk", 1, 2),
        ("qpsk", 2, 3),
        ("qpsk", 3, 4),
        ("16qam", 1, 2),
        ("16qam", 2, 3),
        ("16qam", 3, 4),
        ("16qam", 5, 6),
        ("64qam", 2, 3),
        ("64qam", 3, 4),
        ("64qam", 5, 6),
        ("256qam", 2, 3),
        ("256qam", 3, 4),
        ("256qam", 5, 6),
    )
)
"""In ascending order of the bits that a symbol carries."""


@lru_cache(maxsize=64)
def header_places(frame_format: FrameFormat) -> NDArray[np.int64]:
    """The data carriers of the header: places in [data symbol][data carrier], ascending, evenly over the first one."""
    narrow, wide = HEADER_CARRIERS
    count = narrow if frame_format.num_data <= narrow else wide
    return np.arange(count) * frame_format.num_data // count


@lru_cache(maxsize=64)
def payload_places(frame_format: FrameFormat) -> NDArray[np.int64]:
    """The other data carriers: places in [data symbol][data carrier], ascending."""
    return np.setdiff1d(np.arange(frame_format.data_per_stream), header_places(frame_format))


def num_payload_bits(frame_format: FrameFormat, mcs: int, rank: int) -> int:
    """Coded bits that the payload of a frame has room for.

    Raises:
        ValueError: `mcs` or `rank` is out of range.
    """
    if not 0 <= mcs < len(MCS_TABLE):
        raise ValueError(f"mcs is {mcs}; 0 to {len(MCS_TABLE) - 1} expected")
    if not 1 <= rank <= frame_format.num_tx:
        raise ValueError(f"rank is {rank}; 1 to {frame_format.num_tx}, the antennas that send, expected")
    return len(payload_places(frame_format)) * rank * MCS_TABLE[mcs].constellation.bits_per_symbol


def transport_block_bytes(frame_format: FrameFormat, mcs: int, rank: int) -> int:
    """Bytes of the transport block of a frame, without CRC: a block has exactly as many.

    Args:
        frame_format: of the frame; its constellation does not matter.
        mcs: index in `MCS_TABLE`.
        rank: streams that carry the payload, 1 to num_tx.

    Raises:
        ValueError: `mcs` or `rank` is out of range.
    """
    coding = MCS_TABLE[min(max(mcs, 0), len(MCS_TABLE) - 1)]
    bits = num_payload_bits(frame_format, mcs, rank) * coding.numerator // coding.denominator
    return (bits - TAIL_BITS) // 8 - CRC_BYTES
