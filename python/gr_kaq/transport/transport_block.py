# SPDX-License-Identifier: GPL-3.0-or-later
"""Transport blocks: what a frame carries.

    version (1 byte) | sender's session (4) | receiver's session (4) | sequence (2) | parts | zeros

    segment of a PDU   flags (1) | PDU number (2) | length (2) | [offset (2)] | [lifetime in ms (2)] | bytes
    forward            flags (1) | PDU number (2)

Numbers are little-endian. Flags: bits 0 and 1 the traffic class; bit 2 the last segment of the PDU; bit 3 an offset,
which is 0 otherwise; bit 4 a lifetime; bit 5 a forward: nothing before this PDU is sent any more; bit 7 is 1, which
tells a part from the zeros behind the last one.

A block without parts asks the receiver for its session. The block has no checksum: the frame's payload has one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = [
    "HEADER_BYTES",
    "MAX_LIFETIME_S",
    "MAX_PDU_BYTES",
    "VERSION",
    "Forward",
    "InvalidBlock",
    "OtherVersion",
    "Segment",
    "TransportBlock",
]

VERSION = 1
MAX_PDU_BYTES = (1 << 16) - 1
MAX_LIFETIME_S = 65.535
HEADER = struct.Struct("<BIIH")
HEADER_BYTES = HEADER.size
START, FIELD = struct.Struct("<BH"), struct.Struct("<H")
CLASS_BITS, LAST, OFFSET, LIFETIME, FORWARD, PART = 3, 4, 8, 16, 32, 128


class InvalidBlock(ValueError):
    """Says what is wrong with a transport block or an acknowledgement."""


class OtherVersion(InvalidBlock):
    """It is of a peer of another version."""


@dataclass(frozen=True)
class Segment:
    """Consecutive bytes of a PDU.

    Attributes:
        traffic_class: 0 to 3; 0 is the most urgent one.
        number: of the PDU within its class, 16 bits.
        offset: of the first byte in the PDU.
        data: at least one byte.
        last: whether the PDU ends here.
        lifetime_s: until the deadline of the PDU, when the block was made; None: it has none, or this is not its first
            segment.
    """

    traffic_class: int
    number: int
    offset: int
    data: bytes
    last: bool
    lifetime_s: float | None = None

    def overhead(self) -> int:
        """Bytes of the segment in a block beside its data."""
        return START.size + FIELD.size * (1 + (self.offset > 0) + (self.lifetime_s is not None))

    def pack(self) -> bytes:
        """The segment in a block."""
        flags = PART | self.traffic_class | LAST * self.last
        fields = FIELD.pack(len(self.data))
        if self.offset:
            flags, fields = flags | OFFSET, fields + FIELD.pack(self.offset)
        if self.lifetime_s is not None:
            ms = round(1000 * min(max(self.lifetime_s, 0.0), MAX_LIFETIME_S))
            flags, fields = flags | LIFETIME, fields + FIELD.pack(ms)
        return START.pack(flags, self.number) + fields + self.data


@dataclass(frozen=True)
class Forward:
    """Nothing of a class that comes before this number is sent any more.

    Attributes:
        traffic_class: 0 to 3.
        number: of a PDU, 16 bits.
    """

    traffic_class: int
    number: int

    def pack(self) -> bytes:
        """The forward in a block."""
        return START.pack(PART | FORWARD | self.traffic_class, self.number)


@dataclass(frozen=True)
class TransportBlock:
    """What a frame carries.

    Attributes:
        sender: its session, 32 bits, not 0.
        receiver: the receiver's, as far as the sender knows; 0: it does not.
        sequence: of the block, 16 bits.
        parts: segments and forwards.
    """

    sender: int
    receiver: int
    sequence: int
    parts: tuple[Segment | Forward, ...] = ()

    def pack(self, size: int) -> bytes:
        """The block in so many bytes.

        Raises:
            ValueError: they are too few.
        """
        parts = b"".join(part.pack() for part in self.parts)
        block = HEADER.pack(VERSION, self.sender, self.receiver, self.sequence) + parts
        if len(block) > size:
            raise ValueError(f"the block has {len(block)} bytes; at most {size} expected")
        return block + bytes(size - len(block))

    @classmethod
    def unpack(cls, block: bytes) -> TransportBlock:
        """The block in these bytes.

        Raises:
            OtherVersion: the peer has another one.
            InvalidBlock: they are no such block.
        """
        if not block or block[0] != VERSION:
            raise OtherVersion(f"version {block[0] if block else 'none'}; {VERSION} expected")
        if len(block) < HEADER.size:
            raise InvalidBlock(f"{len(block)} bytes; at least {HEADER.size} expected")
        _, sender, receiver, sequence = HEADER.unpack_from(block)
        if not sender:
            raise InvalidBlock("the sender's session is 0")
        reader = _Reader(block, HEADER.size)
        parts: list[Segment | Forward] = []
        while reader.left() and not reader.padded():
            parts.append(_part(reader))
        return cls(sender, receiver, sequence, tuple(parts))


class _Reader:
    """Takes one field after the other from a block."""

    def __init__(self, block: bytes, place: int):
        self._block, self._place = block, place

    def left(self) -> int:
        return len(self._block) - self._place

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise InvalidBlock(f"a part has {self.left()} bytes; {count} expected")
        self._place += count
        return self._block[self._place - count : self._place]

    def padded(self) -> bool:
        """Whether no part follows."""
        if self._block[self._place]:
            return False
        if any(self._block[self._place :]):
            raise InvalidBlock("there are no zeros behind the last part")
        return True

    def field(self) -> int:
        return FIELD.unpack(self.take(FIELD.size))[0]


def _part(reader: _Reader) -> Segment | Forward:
    flags, number = START.unpack(reader.take(START.size))
    if flags & ~(CLASS_BITS | LAST | OFFSET | LIFETIME | FORWARD) != PART:
        raise InvalidBlock(f"the flags of a part are {flags:#04x}; bit 7 and no bit 6 expected")
    traffic_class = flags & CLASS_BITS
    if flags & FORWARD:
        if flags != PART | FORWARD | traffic_class:
            raise InvalidBlock(f"the flags of a forward are {flags}; no others expected")
        return Forward(traffic_class, number)
    length = reader.field()
    offset = reader.field() if flags & OFFSET else 0
    lifetime_s = reader.field() / 1000 if flags & LIFETIME else None
    if not length or offset + length > MAX_PDU_BYTES:
        raise InvalidBlock(f"a segment of {length} bytes at {offset}; up to {MAX_PDU_BYTES} bytes expected")
    return Segment(traffic_class, number, offset, reader.take(length), bool(flags & LAST), lifetime_s)
