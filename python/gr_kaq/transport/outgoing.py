# SPDX-License-Identifier: GPL-3.0-or-later
"""The PDUs of one traffic class on the sender's side: earliest deadline first, cut into segments, until they are there.

A PDU gets its number when its first segment is sent. So one whose deadline passes before leaves no gap.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from .counting import MODULUS, distance, following
from .transport_block import Segment

__all__ = ["MAX_PDUS", "WINDOW_BYTES", "WINDOW_PDUS", "OutgoingClass", "OutgoingPdu", "Piece"]

WINDOW_PDUS, WINDOW_BYTES = 512, 1 << 20
"""From the first PDU of a class that its receiver may still wait for to the newest one: what it may have to hold."""
MAX_PDUS = 4096
SMOOTHING = 16  # PDUs


@dataclass(eq=False)
class OutgoingPdu:
    """A PDU that is to be sent.

    Attributes:
        data: its bytes.
        deadline: when it is of no more use; infinity: it always is.
        arrived: when it was given to the sender.
        order: in which it was.
        number: 16 bits; None before its first segment is sent.
        unsent: ranges of bytes that are neither under way nor there, ascending.
        missing: bytes that are not known to be there.
        begun: when its first segment was sent.
        reached: bytes that were sent at least once, from the first one on.
        over: whether it is there, or given up.
    """

    data: bytes
    deadline: float
    arrived: float
    order: int
    number: int | None = None
    unsent: list[tuple[int, int]] = field(default_factory=list)
    missing: int = 0
    begun: float = 0.0
    reached: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        self.missing = len(self.data)
        self.unsent = [(0, len(self.data))]

    def take(self, limit: int) -> tuple[int, int]:
        """The next range to send, at most so many bytes."""
        start, stop = self.unsent.pop(0)
        if stop - start > limit:
            self.unsent.insert(0, (start + limit, stop))
            stop = start + limit
        self.reached = max(self.reached, stop)
        return start, stop

    def give_back(self, start: int, stop: int) -> None:
        """A range has to be sent again."""
        bisect.insort(self.unsent, (start, stop))
        merged = [self.unsent[0]]
        for begin, end in self.unsent[1:]:
            if begin == merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((begin, end))
        self.unsent = merged


@dataclass(frozen=True)
class Piece:
    """A segment under way, and whose it is."""

    pdu: OutgoingPdu
    segment: Segment

    def failed(self) -> None:
        """It has to be sent again, unless the PDU is given up."""
        if not self.pdu.over:
            self.pdu.give_back(self.segment.offset, self.segment.offset + len(self.segment.data))


class OutgoingClass:
    """The PDUs of one class.

    Args:
        traffic_class: 0 to 3.
        first: number of the first PDU.
        max_bytes: of PDUs that are not there yet.
    """

    def __init__(self, traffic_class: int, first: int, max_bytes: int):
        self._class, self._first, self._max_bytes = traffic_class, first % MODULUS, max_bytes
        self._order = 0
        self._waiting: list[tuple[float, int, OutgoingPdu]] = []  # a heap: deadline, order of arrival
        self.num_bytes = 0  # of PDUs that are not there yet
        self.delay_s = 0.0  # from when a PDU came to the word that it is there; smoothed
        self._takes_s = 0.0  # from the first segment of a PDU to the word that it is there; smoothed
        self._renumber()

    def _renumber(self) -> None:
        self._next = self._first
        self._started: dict[int, OutgoingPdu] = {}  # by number, ascending
        self._span: deque[tuple[int, int]] = deque()  # number and length, from the first that the receiver may wait for
        self._span_bytes = 0
        self._given_up: set[int] = set()  # numbers in the span, of which the receiver may not know it
        self._open: list[OutgoingPdu] = []  # those of them that have something to send, by number
        self._next_deadline = math.inf  # of those that are started
        self.forward_due = False  # whether the receiver has to hear of `oldest`

    # What comes in

    def push(self, data: bytes, deadline: float, now: float) -> bool:
        """Queue a PDU; False if there is no room."""
        if len(self) >= MAX_PDUS or self.num_bytes + len(data) > self._max_bytes:
            return False
        self._wait(OutgoingPdu(data, deadline, now, self._order))
        self._order += 1
        self.num_bytes += len(data)
        return True

    def _wait(self, pdu: OutgoingPdu) -> None:
        heapq.heappush(self._waiting, (pdu.deadline, pdu.order, pdu))

    # What goes out

    def __len__(self) -> int:
        """PDUs that are not there yet."""
        return len(self._waiting) + len(self._started)

    @property
    def oldest(self) -> int:
        """Number of the first PDU that is not there, or of the next one."""
        return next(iter(self._started), self._next)

    def sendable(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._open) or self._may_start()

    def _may_start(self) -> bool:
        if not self._waiting:
            return False
        if not self._span:
            return True
        full = distance(self._span[0][0], self._next) >= WINDOW_PDUS
        return not full and self._span_bytes + len(self._waiting[0][2].data) <= WINDOW_BYTES

    def oldest_wait(self, now: float) -> float:
        """How long the PDU that is next, or on its way, has waited; 0 without one."""
        firsts = [pdu.arrived for pdu in list(self._started.values())[:1]]
        firsts += [self._waiting[0][2].arrived] if self._waiting else []
        return now - min(firsts, default=now)

    def take(self, room: int, now: float) -> Piece | None:
        """The next segment, in at most so many bytes of a block; None if nothing fits."""
        pdu = self._open[0] if self._open else self._waiting[0][2]
        start = pdu.unsent[0][0]
        lifetime_s = pdu.deadline - now if not start and pdu.deadline < math.inf else None
        empty = Segment(self._class, 0, start, b"", False, lifetime_s)
        limit = room - empty.overhead()
        if limit < 1:
            return None
        if pdu.number is None:
            self._start(now)
        start, stop = pdu.take(limit)
        if not pdu.unsent:
            self._open.remove(pdu)
        assert pdu.number is not None
        last = stop == len(pdu.data)
        return Piece(pdu, Segment(self._class, pdu.number, start, pdu.data[start:stop], last, lifetime_s))

    def _start(self, now: float) -> None:
        """Number the next PDU."""
        pdu = heapq.heappop(self._waiting)[2]
        pdu.begun = now
        pdu.number, self._next = self._next, following(self._next)
        self._started[pdu.number] = pdu
        self._span.append((pdu.number, len(pdu.data)))
        self._span_bytes += len(pdu.data)
        self._open.append(pdu)
        self._next_deadline = min(self._next_deadline, pdu.deadline)

    # What becomes of it

    def arrived(self, piece: Piece, now: float) -> OutgoingPdu | None:
        """A segment is there; the PDU, if it is as a whole, and was not given up."""
        pdu = piece.pdu
        pdu.missing -= len(piece.segment.data)
        if pdu.missing or pdu.over:
            return None
        self.delay_s += (now - pdu.arrived - self.delay_s) / (SMOOTHING if self.delay_s else 1)
        self._takes_s += (now - pdu.begun - self._takes_s) / SMOOTHING
        self._drop(pdu)
        return pdu

    def failed(self, piece: Piece) -> None:
        """A segment has to be sent again."""
        pdu = piece.pdu
        piece.failed()
        if not pdu.over and pdu not in self._open:
            oldest = self.oldest
            bisect.insort(self._open, pdu, key=lambda other: distance(oldest, other.number or 0))

    def _drop(self, pdu: OutgoingPdu) -> None:
        assert pdu.number is not None
        pdu.over = True
        del self._started[pdu.number]
        self.num_bytes -= len(pdu.data)
        if pdu in self._open:
            self._open.remove(pdu)
        self._shorten()

    def _shorten(self) -> None:
        """Forget the PDUs that the receiver does not wait for."""
        while self._span and self._span[0][0] not in self._started and self._span[0][0] not in self._given_up:
            self._span_bytes -= self._span.popleft()[1]

    def forwarded(self, number: int) -> None:
        """The receiver knows that nothing before this number is sent any more."""
        self._given_up = {one for one in self._given_up if distance(one, number) <= 0}
        self._shorten()

    def expire(self, now: float, one_way_s: float) -> int:
        """Give up the PDUs that cannot be there by their deadline; how many.

        One that has not begun has to begin as long before as PDUs take. Without that, whatever is sent comes too late
        once there is more than the link can carry: the earliest deadline is always the next one to pass. But a PDU is
        not given up in the first half of its life, however long others took.

        Args:
            now: the time.
            one_way_s: from a transmission to the receiver.
        """
        count, takes_s = 0, max(one_way_s, self._takes_s - one_way_s)
        while self._waiting:
            pdu = self._waiting[0][2]
            if pdu.deadline - now > min(takes_s, (pdu.deadline - pdu.arrived) / 2):
                break
            heapq.heappop(self._waiting)
            pdu.over = True
            self.num_bytes -= len(pdu.data)
            count += 1
        now += one_way_s
        if self._next_deadline <= now:
            late = [pdu for pdu in self._started.values() if pdu.deadline <= now]
            for pdu in late:
                assert pdu.number is not None
                self._given_up.add(pdu.number)
                self.forward_due = True
                self._drop(pdu)
            self._next_deadline = min((pdu.deadline for pdu in self._started.values()), default=math.inf)
            count += len(late)
        return count

    def begin_again(self) -> int:
        """The receiver is a new one: give up the PDUs that the one before may have, and number the others anew.

        Returns:
            How many were given up.
        """
        started = list(self._started.values())
        certain = [pdu for pdu in started if pdu.reached < len(pdu.data)]
        uncertain = [pdu for pdu in started if pdu.reached == len(pdu.data)]
        for pdu in uncertain:
            self._drop(pdu)
        self._renumber()
        for pdu in certain:
            pdu.over = True  # for what is under way
            self._wait(OutgoingPdu(pdu.data, pdu.deadline, pdu.arrived, pdu.order))
        return len(uncertain)
