# SPDX-License-Identifier: GPL-3.0-or-later
"""From a transport block to the coded bits that a frame has room for, and from LLRs, of one frame or several, back.

    transport block | CRC-32, XORed with a scrambler -> convolutional code, K = 7, rate 1/2, terminated -> code word
    -> circular buffer, of which redundancy version v takes the E bits from v E on -> interleaver of this version

All versions of a code word are as long: E is what the frame has room for. In the circular buffer, the bits come first
that a pattern keeps which is good at the nominal rate (those of IEEE 802.11-2020, figures 17-9 and 19-10 a), then those
that it punctures, and so on from the beginning. So version 1 of a punctured code word adds what version 0 lacks
(incremental redundancy), and what has been sent is repeated as evenly as can be. Each version has an interleaver of its
own, so that a bit comes on another carrier each time; as every version can be decoded by itself where its rate is at
most 3/4, and none is needed first, sending version 0 again and again is Chase combining.

The code is the one that gr-fec decodes with vector instructions in every GNU Radio. It has one mother rate, 1/2, so
that rate 1/3 is repetition. A lower one (libfec, IT++) would be one more dependency on every radio.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .coding import make_coder
from .frame_format import CRC_BYTES, FrameFormat, known_octets
from .frame_header import NUM_REDUNDANCY_VERSIONS, FrameHeader
from .modulation_coding import MCS_TABLE, num_payload_bits, transport_block_bytes
from .payload import MEDIAN_LEVEL

__all__ = ["SoftBuffers", "TransportCoder", "transport_coder"]

# Which bits of the generators 171 and 133 (octal) are sent, for as many information bits as a pattern is long.
PATTERNS: dict[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {
    (1, 3): ((1,), (1,)),
    (1, 2): ((1,), (1,)),
    (2, 3): ((1, 0), (1, 1)),
    (3, 4): ((1, 0, 1), (1, 1, 0)),
    (5, 6): ((1, 0, 1, 0, 1), (1, 1, 0, 1, 0)),
}
GOLDEN = (math.sqrt(5) - 1) / 2
CACHED_CODERS = 64  # the greatest take 17 MB each


class TransportCoder:
    """Coder of the transport blocks of frames with one MCS and rank, for one thread at a time.

    Args:
        frame_format: of the frames; its constellation does not matter.
        mcs: index in `MCS_TABLE`.
        rank: streams that carry the payload.

    Raises:
        ValueError: `mcs` or `rank` is out of range.

    Attributes:
        block_bytes: of a transport block.
        num_sent: E, bits of each version.
        num_coded: bits of a code word.
    """

    def __init__(self, frame_format: FrameFormat, mcs: int, rank: int):
        self.block_bytes = transport_block_bytes(frame_format, mcs, rank)
        self.num_sent = num_payload_bits(frame_format, mcs, rank)
        num_bytes = self.block_bytes + CRC_BYTES
        scrambler = known_octets("transport scrambler", num_bytes)
        num_coded = self.num_coded = 2 * (8 * num_bytes + 6)
        self._coder = make_coder(
            num_bits=8 * num_bytes,
            scrambler=scrambler,
            places=np.arange(num_coded),
            num_streams=1,
            median_level=MEDIAN_LEVEL,
        )
        buffer = _circular_buffer(num_coded, MCS_TABLE[mcs].numerator, MCS_TABLE[mcs].denominator)
        turns = np.arange(self.num_sent)
        self._places = [  # in the code word, of each bit on the grid, for each version
            buffer[(version * self.num_sent + turns) % num_coded][_interleaver(self.num_sent, version)].astype(np.int32)
            for version in range(NUM_REDUNDANCY_VERSIONS)
        ]

    def encode(self, block: bytes) -> NDArray[np.uint8]:
        """The code word of a transport block, (num_coded,), 0 or 1 each.

        Raises:
            ValueError: the block has another length.
        """
        if len(block) != self.block_bytes:
            raise ValueError(f"the transport block has {len(block)} bytes; {self.block_bytes} expected")
        coded: NDArray[np.uint8] = self._coder.encode(block + struct.pack("<I", zlib.crc32(block)))
        return coded

    def take(self, code_word: NDArray[np.uint8], redundancy_version: int) -> NDArray[np.uint8]:
        """The bits of one version in the order of the grid, [data carrier][stream][bit], (num_sent,)."""
        return code_word[self._places[redundancy_version]]

    def spread(self, llrs: NDArray[np.float32], redundancy_version: int) -> NDArray[np.float64]:
        """LLRs of the code word, (num_coded,), from those of one version, (num_sent,): 0 for bits that it lacks."""
        if llrs.shape != (self.num_sent,):
            raise ValueError(f"LLRs of shape {llrs.shape}; ({self.num_sent},) expected")
        return np.asarray(np.bincount(self._places[redundancy_version], llrs, self.num_coded), np.float64)

    def decode(self, llrs: NDArray[np.floating]) -> bytes | None:
        """The transport block from the LLRs of its code word, (num_coded,); None where its CRC is wrong."""
        with np.errstate(over="ignore"):  # what does not fit becomes Inf
            block = self._coder.decode(np.ascontiguousarray(llrs[None], np.float32))[0]
        if block is None or struct.pack("<I", zlib.crc32(block[:-CRC_BYTES])) != block[-CRC_BYTES:]:
            return None
        return bytes(block[:-CRC_BYTES])


@lru_cache(maxsize=CACHED_CODERS)
def transport_coder(frame_format: FrameFormat, mcs: int, rank: int) -> TransportCoder:
    """A `TransportCoder` that all share; its decoder locks itself."""
    return TransportCoder(frame_format, mcs, rank)


@dataclass
class _SoftBuffer:
    """LLRs of the code word of one process, raw, and what they are of."""

    block: tuple[int, ...]
    llrs: NDArray[np.float64]
    copies: int = 1


class SoftBuffers:
    """Adds the LLRs of the versions of a code word, for each process, and decodes the sum.

    LLRs are raw: they are scaled by how sure they are, so that a bad copy cannot spoil a good one. A buffer begins anew
    when the new-data bit of its process toggles, and also when the sequence number, MCS or rank is another: frames with
    the toggled bit may have been lost.

    Args:
        frame_format: of the frames.
    """

    def __init__(self, frame_format: FrameFormat):
        self._frame_format = frame_format
        self._buffers: dict[int, _SoftBuffer] = {}  # by process

    def decode(self, header: FrameHeader, llrs: NDArray[np.float32]) -> bytes | None:
        """The transport block of a frame, None as long as its CRC is wrong.

        Args:
            header: of the frame.
            llrs: ln P(b=1)/P(b=0) of its bits, in the order of the grid; NaN counts as 0.

        Raises:
            ValueError: the header's rank is more than the frame's antennas, or the number of LLRs is wrong.
        """
        coder = transport_coder(self._frame_format, header.mcs, header.rank)
        received = coder.spread(np.nan_to_num(llrs, posinf=1e18, neginf=-1e18), header.redundancy_version)
        block = header.new_data, header.sequence, header.mcs, header.rank
        buffer = self._buffers.get(header.process)
        if buffer is None or buffer.block != block:
            buffer = self._buffers[header.process] = _SoftBuffer(block, received)
        else:
            buffer.llrs += received
            buffer.copies += 1
        return coder.decode(buffer.llrs)

    def copies(self, process: int) -> int:
        """Frames whose LLRs are in the buffer of a process."""
        buffer = self._buffers.get(process)
        return buffer.copies if buffer else 0


def _circular_buffer(num_coded: int, numerator: int, denominator: int) -> NDArray[np.int64]:
    """Places in the code word, (num_coded,), in the order in which they are sent; each part of it evenly spread."""
    pattern = np.array(PATTERNS[numerator, denominator], bool).T.reshape(-1)
    kept = np.resize(pattern, num_coded)
    parts = [np.flatnonzero(kept), np.flatnonzero(~kept)]
    return np.concatenate([part[_evenly(len(part))] for part in parts])


def _evenly(count: int) -> NDArray[np.intp]:
    """A permutation whose beginnings are all spread evenly: the multiples of the golden ratio, as ranks."""
    return np.argsort(np.argsort(np.arange(count) * GOLDEN % 1.0, kind="stable"), kind="stable")


def _interleaver(count: int, version: int) -> NDArray[np.int64]:
    """The bit on the grid at place i is the one at [i]."""
    octets = known_octets(f"transport interleaver {version}", 8 * count)
    return np.argsort(np.frombuffer(octets, "<u8"), kind="stable")
