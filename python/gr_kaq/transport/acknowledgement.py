# SPDX-License-Identifier: GPL-3.0-or-later
"""Acknowledgements: which blocks have arrived, and which transmission was the latest one that was seen.

    version (1 byte) | receiver's session (4) | sender's session (4) | newest block (2) | bitmap (8)
    | latest sequence (2) | latest redundancy version (1) | report (0 to 64 bytes) | CRC-32 (4)

Numbers are little-endian. Bit i of the bitmap is the block that is i before the newest one. As frames do not overtake
each other on the air, whatever was sent up to the latest transmission, and is not in the bitmap, has failed: so one
acknowledgement that arrives makes up for all those that were lost before. The CRC is that of IEEE 802.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .counting import distance
from .transport_block import VERSION, InvalidBlock, OtherVersion

__all__ = ["BITMAP_BLOCKS", "MAX_REPORT_BYTES", "SEQUENCE_MASK", "Acknowledgement"]

BITMAP_BLOCKS = 64
MAX_REPORT_BYTES = 64
SEQUENCE_MASK = (1 << 12) - 1
"""A frame's header has so many bits of a block's sequence."""
FIELDS, CRC = struct.Struct("<BIIHQHB"), struct.Struct("<I")


@dataclass(frozen=True)
class Acknowledgement:
    """What a receiver says.

    Attributes:
        receiver: its session.
        sender: the session of whom it answers.
        newest: sequence of the newest block that has arrived.
        bitmap: bit i: the block i before it has, too.
        latest: sequence, modulo 2^12, of the latest transmission whose header was read, decoded or not.
        latest_version: its redundancy version.
        report: what else the receiver has to say, of its channel for instance; up to 64 bytes.
    """

    receiver: int
    sender: int
    newest: int
    bitmap: int
    latest: int
    latest_version: int
    report: bytes = b""

    def has(self, sequence: int) -> bool:
        """Whether the block of this sequence has arrived."""
        behind = distance(sequence, self.newest)
        return 0 <= behind < BITMAP_BLOCKS and bool(self.bitmap >> behind & 1)

    def pack(self) -> bytes:
        """The bytes of the acknowledgement.

        Raises:
            ValueError: the report is too long.
        """
        if len(self.report) > MAX_REPORT_BYTES:
            raise ValueError(f"the report has {len(self.report)} bytes; at most {MAX_REPORT_BYTES} expected")
        numbers = (self.receiver, self.sender, self.newest, self.bitmap, self.latest, self.latest_version)
        content = FIELDS.pack(VERSION, *numbers) + self.report
        return content + CRC.pack(zlib.crc32(content))

    @classmethod
    def unpack(cls, data: bytes) -> Acknowledgement:
        """The acknowledgement in these bytes.

        Raises:
            OtherVersion: the peer has another one.
            InvalidBlock: they are none.
        """
        low = FIELDS.size + CRC.size
        if not low <= len(data) <= low + MAX_REPORT_BYTES:
            raise InvalidBlock(f"{len(data)} bytes; {low} to {low + MAX_REPORT_BYTES} expected")
        content = data[: -CRC.size]
        if CRC.pack(zlib.crc32(content)) != data[-CRC.size :]:
            raise InvalidBlock("the CRC is wrong")
        version, receiver, sender, newest, bitmap, latest, latest_version = FIELDS.unpack_from(content)
        if version != VERSION:
            raise OtherVersion(f"version {version}; {VERSION} expected")
        return cls(receiver, sender, newest, bitmap, latest, latest_version, content[FIELDS.size :])
