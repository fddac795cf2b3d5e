# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving side of selective repeat: blocks in, PDUs in order out, acknowledgements out."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..frames.frame_header import NUM_CLASSES, FrameHeader
from .acknowledgement import BITMAP_BLOCKS, SEQUENCE_MASK, Acknowledgement
from .counting import MODULUS, count, distance
from .incoming import IncomingClass
from .transport_block import Forward, InvalidBlock, OtherVersion, Segment, TransportBlock

__all__ = ["ArqReceiver", "DeliveredPdu", "ReceiverCounts"]

MAX_BYTES = 1 << 23  # of all PDUs that are not complete, or wait for earlier ones
MAX_RETIRED = 64
ALL = (1 << BITMAP_BLOCKS) - 1


@dataclass(frozen=True)
class DeliveredPdu:
    """A PDU that has arrived.

    Attributes:
        data: its bytes.
        traffic_class: 0 to 3.
    """

    data: bytes
    traffic_class: int


@dataclass
class ReceiverCounts:
    """What a receiver counts."""

    blocks: int = count("blocks", "Transport blocks taken.")
    failed_blocks: int = count("frames", "Frames of which only the header could be read.")
    duplicate_blocks: int = count("blocks", "Blocks that came again.")
    late_blocks: int = count("blocks", "Blocks that were too old, or of a sender that is gone.")
    malformed_blocks: int = count("blocks", "Payloads that are no transport block, or contradict others.")
    other_versions: int = count("blocks", "Payloads of another version, or of another kind.")
    overflows: int = count("blocks", "Blocks that would have taken too much memory; a sender here sends none.")
    delivered_pdus: int = count("PDUs", "PDUs given out.")
    senders: int = count("sessions", "Senders met: one more each time that one was started again.")


class ArqReceiver:
    """Puts PDUs together, and gives those of each class out in order; none twice.

    A PDU that its sender has given up is skipped. One that is complete waits for earlier ones up to its deadline.

    Args:
        session: 32 bits, not 0; of each start of a process another one.
        counts: where to count; None: in one of its own.

    Raises:
        ValueError: the session is out of range.
    """

    def __init__(self, session: int, counts: ReceiverCounts | None = None):
        if not 0 < session < 1 << 32:
            raise ValueError(f"session is {session}; 1 to {(1 << 32) - 1} expected")
        self.counts = ReceiverCounts() if counts is None else counts
        self._session = session
        self._sender = 0
        self._retired: deque[int] = deque(maxlen=MAX_RETIRED)
        self._latest: tuple[int, int] | None = None
        self._answer: Acknowledgement | None = None  # to somebody who does not know us yet
        self._begin(0, 0)

    def _begin(self, sender: int, sequence: int) -> None:
        """Expect the blocks of this sender, from about this one on."""
        self._sender = sender
        self._classes = [IncomingClass(sender >> 16) for _ in range(NUM_CLASSES)]
        self._newest = (sequence - 1) % MODULUS
        self._bitmap = 0
        self._latest = None

    def push(self, header: FrameHeader | None, block: bytes | None, now: float) -> list[DeliveredPdu]:
        """Take what was received of a frame.

        Args:
            header: of the frame; None: it has none, and the block says which one it is.
            block: the payload; None: it could not be decoded.
            now: the time, in seconds.

        Returns:
            The PDUs that are there now, in order.
        """
        if block is None:
            self.counts.failed_blocks += 1
            self._see(header, None)
            return []
        try:
            content = TransportBlock.unpack(block)
        except OtherVersion:
            self.counts.other_versions += 1
            return []
        except InvalidBlock:
            self.counts.malformed_blocks += 1
            return []
        if content.sender in self._retired:
            self.counts.late_blocks += 1
            return []
        if content.receiver != self._session:
            self._introduce(content)
            return []
        delivered = []
        if content.sender != self._sender:
            delivered = self._flush()
            self._begin(content.sender, content.sequence)
            self.counts.senders += 1
        self._answer = None
        self._see(header, content)
        return delivered + self._take(content, now)

    def _see(self, header: FrameHeader | None, content: TransportBlock | None) -> None:
        """Remember the latest transmission."""
        if header is not None:
            self._latest = (header.sequence, header.redundancy_version)
        elif content is not None:
            self._latest = (content.sequence & SEQUENCE_MASK, 0)

    def _introduce(self, content: TransportBlock) -> None:
        """Have the next acknowledgement tell a sender who we are."""
        self._answer = Acknowledgement(self._session, content.sender, (content.sequence - 1) % MODULUS, 0, 0, 0)

    def _take(self, content: TransportBlock, now: float) -> list[DeliveredPdu]:
        """Take a block of the sender."""
        ahead = distance(self._newest, content.sequence)
        if ahead <= -BITMAP_BLOCKS:
            self.counts.late_blocks += 1
            return []
        if ahead <= 0 and self._bitmap >> -ahead & 1:
            self.counts.duplicate_blocks += 1
            return []
        if not self._has_room(content):
            return []
        if ahead > 0:
            self._bitmap = (self._bitmap << ahead & ALL) if ahead < BITMAP_BLOCKS else 0
            self._newest = content.sequence
            ahead = 0
        self._bitmap |= 1 << -ahead
        self.counts.blocks += 1
        touched: list[int] = []
        for part in content.parts:
            if isinstance(part, Segment):
                self._classes[part.traffic_class].add(part, now)
                touched.append(part.traffic_class)
        delivered = []
        for traffic_class in sorted(set(touched)):
            delivered += self._named(traffic_class, self._classes[traffic_class].ready())
        for part in content.parts:
            if isinstance(part, Forward):
                pdus = self._classes[part.traffic_class].forward(part.number)
                delivered += self._named(part.traffic_class, pdus)
        return delivered

    def _has_room(self, content: TransportBlock) -> bool:
        """Whether all segments of a block may be held."""
        needed = 0
        for part in content.parts:
            if isinstance(part, Segment):
                room = self._classes[part.traffic_class].room_for(part)
                if room is None:
                    self.counts.malformed_blocks += 1
                    return False
                needed += room
        if needed + sum(one.num_bytes for one in self._classes) > MAX_BYTES:
            self.counts.overflows += 1
            return False
        return True

    def _named(self, traffic_class: int, pdus: list[bytes]) -> list[DeliveredPdu]:
        self.counts.delivered_pdus += len(pdus)
        return [DeliveredPdu(data, traffic_class) for data in pdus]

    def _flush(self) -> list[DeliveredPdu]:
        """The sender is gone: what it has left here."""
        if not self._sender:
            return []
        self._retired.append(self._sender)
        return [pdu for place, one in enumerate(self._classes) for pdu in self._named(place, one.flush())]

    def poll(self, now: float) -> list[DeliveredPdu]:
        """The PDUs that have waited for earlier ones up to their deadline."""
        return [pdu for place, one in enumerate(self._classes) for pdu in self._named(place, one.due(now))]

    def next_deadline(self) -> float:
        """When `poll` has something to give out; infinity: never."""
        return min((one.next_deadline() for one in self._classes), default=math.inf)

    def skipped_pdus(self) -> int:
        """PDUs of this sender that were skipped."""
        return sum(one.skipped for one in self._classes)

    def repeated_segments(self) -> int:
        """Segments of this sender that came again."""
        return sum(one.repeated for one in self._classes)

    def held_bytes(self) -> int:
        """Bytes of PDUs that are not complete, or wait for earlier ones."""
        return sum(one.num_bytes for one in self._classes)

    def acknowledgement(self, report: bytes = b"") -> bytes | None:
        """What to tell the sender now; None: there is nobody to tell.

        Args:
            report: what else it is to know, up to 64 bytes.

        Raises:
            ValueError: the report is too long.
        """
        answer = self._answer
        if answer is None:
            if not self._sender or self._latest is None:
                return None
            answer = Acknowledgement(self._session, self._sender, self._newest, self._bitmap, *self._latest, report)
        return answer.pack()
