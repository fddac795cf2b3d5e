# SPDX-License-Identifier: GPL-3.0-or-later
"""The PDUs of one traffic class on the receiver's side: put together from segments, and given out in order."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

from .counting import MODULUS, distance, following
from .outgoing import WINDOW_PDUS
from .transport_block import Segment

__all__ = ["IncomingClass", "IncomingPdu"]


@dataclass
class IncomingPdu:
    """A PDU of which something is there.

    Attributes:
        data: its bytes, up to the last one that is there.
        covered: ranges of bytes that are there, ascending, none touching the next.
        size: of the PDU; None: not known yet.
        deadline: when it is given out at the latest, once it is complete.
    """

    data: bytearray = field(default_factory=bytearray)
    covered: list[tuple[int, int]] = field(default_factory=list)
    size: int | None = None
    deadline: float = math.inf

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self.size is not None and self.covered == [(0, self.size)]

    def add(self, segment: Segment, now: float) -> None:
        """Put a segment in its place."""
        start, stop = segment.offset, segment.offset + len(segment.data)
        self.data.extend(bytes(max(0, stop - len(self.data))))
        self.data[start:stop] = segment.data
        if segment.last:
            self.size = stop
        if segment.lifetime_s is not None:
            self.deadline = min(self.deadline, now + segment.lifetime_s)
        bisect.insort(self.covered, (start, stop))
        merged = self.covered[:1]
        for begin, end in self.covered[1:]:
            if begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        self.covered = merged

    def contradicts(self, segment: Segment) -> bool:
        """Whether a segment cannot be of this PDU."""
        stop = segment.offset + len(segment.data)
        if self.size is not None:
            return stop > self.size or (segment.last and stop != self.size)
        return segment.last and stop < len(self.data)


class IncomingClass:
    """The PDUs of one class.

    Args:
        first: number of the first one.
    """

    def __init__(self, first: int):
        self._expected = first % MODULUS
        self._pdus: dict[int, IncomingPdu] = {}
        self.num_bytes = 0
        self.skipped = 0  # PDUs that were not there when later ones were given out
        self.repeated = 0  # segments that came again, or too late

    def room_for(self, segment: Segment) -> int | None:
        """Bytes that a segment needs beyond those that are held; None if it cannot be of this class."""
        ahead = distance(self._expected, segment.number)
        if ahead < 0:
            return 0
        pdu = self._pdus.get(segment.number)
        if ahead > WINDOW_PDUS or (pdu is not None and pdu.contradicts(segment)):
            return None
        stop = segment.offset + len(segment.data)
        return max(0, stop - len(pdu.data) if pdu is not None else stop)

    def add(self, segment: Segment, now: float) -> None:
        """Take a segment that there is room for."""
        pdu = self._pdus.get(segment.number)
        if distance(self._expected, segment.number) < 0 or (pdu is not None and pdu.complete):
            self.repeated += 1
            return
        if pdu is None:
            pdu = self._pdus[segment.number] = IncomingPdu()
        before = len(pdu.data)
        pdu.add(segment, now)
        self.num_bytes += len(pdu.data) - before

    def forward(self, number: int) -> list[bytes]:
        """Nothing before this PDU comes any more: those that are there."""
        if distance(self._expected, number) <= 0:
            return self.ready()
        delivered = self._pass_to(number)
        return delivered + self.ready()

    def ready(self) -> list[bytes]:
        """The next PDUs in order, as far as they are there."""
        delivered = []
        while (pdu := self._pdus.get(self._expected)) is not None and pdu.complete:
            delivered.append(self._remove(self._expected))
            self._expected = following(self._expected)
        return delivered

    def due(self, now: float) -> list[bytes]:
        """The PDUs that must not wait for earlier ones any longer, and what stands before and behind them."""
        late = [number for number, pdu in self._pdus.items() if pdu.complete and pdu.deadline <= now]
        if not late:
            return []
        last = max(late, key=lambda number: distance(self._expected, number))
        return self._pass_to(following(last)) + self.ready()

    def next_deadline(self) -> float:
        """When `due` has something; infinity: never."""
        return min((pdu.deadline for pdu in self._pdus.values() if pdu.complete), default=math.inf)

    def flush(self) -> list[bytes]:
        """The sender is gone: all that are there, in order."""
        if not self._pdus:
            return []
        last = max(self._pdus, key=lambda number: distance(self._expected, number))
        return self._pass_to(following(last))

    def _pass_to(self, number: int) -> list[bytes]:
        """Give out what is complete before this number, and give up the rest."""
        delivered = []
        steps = distance(self._expected, number)
        held = sorted(
            (distance(self._expected, one), one) for one in self._pdus if distance(self._expected, one) < steps
        )
        complete = 0
        for _, one in held:
            whole = self._pdus[one].complete
            data = self._remove(one)
            if whole:
                delivered.append(data)
                complete += 1
        self.skipped += steps - complete
        self._expected = number
        return delivered

    def _remove(self, number: int) -> bytes:
        pdu = self._pdus.pop(number)
        self.num_bytes -= len(pdu.data)
        return bytes(pdu.data)
