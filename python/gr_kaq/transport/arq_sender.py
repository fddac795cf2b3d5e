# SPDX-License-Identifier: GPL-3.0-or-later
"""The sending side of selective repeat: PDUs in, transmissions out, acknowledgements in.

A block is sent once for each redundancy version, in their order, while it is not acknowledged. After the last one, what
it carried goes into other blocks, of a size that fits the channel then. The last version is held until another block
has arrived, as far as its class has new data to send meanwhile: what has failed three times in a row fails again in the
same fade. There is no count of attempts for a PDU: it is sent until it is there, or its deadline has passed.

Sessions: a sender and a receiver each have a number of their own from the start of their process. Every block names
both. A sender that hears from a new receiver gives up those PDUs that the one before may have, and goes on with the
others: so none is delivered twice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..frames.frame_header import NUM_CLASSES, NUM_PROCESSES, NUM_REDUNDANCY_VERSIONS, FrameHeader
from .acknowledgement import BITMAP_BLOCKS, SEQUENCE_MASK, Acknowledgement
from .counting import MODULUS, count, distance, following
from .outgoing import OutgoingClass, Piece
from .scheduler import Scheduler, TrafficClass
from .transport_block import HEADER_BYTES, MAX_PDU_BYTES, Forward, InvalidBlock, OtherVersion, TransportBlock

__all__ = ["ArqSender", "Outcome", "SenderCounts", "Transmission"]

MIN_BLOCK_BYTES = HEADER_BYTES + 4 * 3 + 10  # a forward of each class, and a byte
MAX_BYTES = 1 << 22  # of each class, in the queue
MAX_LOG, MAX_OUTCOMES, MAX_RETIRED = 256, 256, 64
INITIAL_TIMEOUT_S, MAX_TIMEOUT_S = 0.1, 2.0
FORWARD_BYTES = 3


@dataclass(frozen=True)
class Transmission:
    """What a frame is to carry.

    Attributes:
        header: of the frame.
        payload: the transport block.
    """

    header: FrameHeader
    payload: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of a transmission.

    Attributes:
        header: of its frame.
        attempt: 1 for the first one of its block.
        acknowledged: whether its block was there after it.
        sent_at: when it was sent.
    """

    header: FrameHeader
    attempt: int
    acknowledged: bool
    sent_at: float


@dataclass
class SenderCounts:
    """What a sender counts."""

    pdus: int = count("PDUs", "PDUs taken.")
    refused_pdus: int = count("PDUs", "PDUs for which there was no room, or whose deadline had passed.")
    delivered_pdus: int = count("PDUs", "PDUs that the receiver has, as a whole.")
    delivered_bytes: int = count("bytes", "Bytes of them.")
    expired_pdus: int = count("PDUs", "PDUs that were given up because of their deadline.")
    uncertain_pdus: int = count("PDUs", "PDUs that were given up as a receiver that is gone may have had them.")
    blocks: int = count("blocks", "Transport blocks begun.")
    transmissions: int = count("frames", "Transmissions, repeated ones and questions for the receiver among them.")
    abandoned_blocks: int = count(
        "blocks", "Blocks given up: after all redundancy versions, for a more urgent one, or as all they held was late."
    )
    timeouts: int = count("frames", "Transmissions of which nothing was heard in time.")
    acknowledgements: int = count("messages", "Acknowledgements taken.")
    malformed_acknowledgements: int = count("messages", "Messages that are no acknowledgement.")
    other_versions: int = count("messages", "Acknowledgements of another version.")
    foreign_acknowledgements: int = count(
        "messages", "Acknowledgements for another sender, or of a receiver that is gone."
    )
    receivers: int = count("sessions", "Receivers met: one more each time that one was started again.")


@dataclass(eq=False)
class _Block:
    """A block that holds a process."""

    header: FrameHeader
    sequence: int
    payload: bytes
    pieces: list[Piece]
    forwards: list[Forward]
    attempt: int = 0
    sent_at: float = 0.0
    waiting: bool = False  # to be sent again
    held: bool = False  # until another block has arrived
    over: bool = False


@dataclass
class _Sent:
    """A transmission in the log."""

    block: _Block
    header: FrameHeader
    attempt: int
    at: float


@dataclass
class _RoundTrip:
    """Smoothed time from a transmission to the word about it, as of RFC 6298, and how long to wait for that."""

    mean: float = math.nan
    deviation: float = 0.0
    factor: float = 1.0  # doubles while nothing comes
    doubled_at: float = -math.inf

    def observe(self, seconds: float) -> None:
        if math.isnan(self.mean):
            self.mean, self.deviation = seconds, seconds / 2
        else:
            self.deviation += (abs(seconds - self.mean) - self.deviation) / 4
            self.mean += (seconds - self.mean) / 8
        self.factor = 1.0

    def timed_out(self, sent_at: float, now: float) -> None:
        if sent_at >= self.doubled_at:
            self.factor, self.doubled_at = 2 * self.factor, now

    def one_way_s(self) -> float:
        return 0.0 if math.isnan(self.mean) else self.mean / 2

    def timeout_s(self) -> float:
        base = INITIAL_TIMEOUT_S if math.isnan(self.mean) else max(1.5 * self.mean, self.mean + 4 * self.deviation)
        return min(MAX_TIMEOUT_S, base * self.factor)


@dataclass
class _Peer:
    """The receiver that is there now."""

    session: int = 0  # not known
    retired: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_RETIRED))


class ArqSender:
    """Takes PDUs with traffic class and deadline, and gives out transmissions, the most urgent first.

    Times are those of the caller's clock, in seconds; they never go back.

    Args:
        session: 32 bits, not 0; of each start of a process another one. Numbers start where it says.
        classes: what each traffic class is promised, at most 4, the most urgent one first.
        num_processes: blocks that may be under way, 1 to 15.
        versions: redundancy versions of a block, in the order in which they are sent.
        counts: where to count; None: in one of its own.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        session: int,
        classes: Sequence[TrafficClass] = (TrafficClass(),) * NUM_CLASSES,
        *,
        num_processes: int = NUM_PROCESSES,
        versions: Sequence[int] = range(NUM_REDUNDANCY_VERSIONS),
        counts: SenderCounts | None = None,
    ):
        if not 0 < session < 1 << 32:
            raise ValueError(f"session is {session}; 1 to {(1 << 32) - 1} expected")
        if not 1 <= num_processes <= NUM_PROCESSES:
            raise ValueError(f"num_processes is {num_processes}; 1 to {NUM_PROCESSES} expected")
        if not versions:
            raise ValueError("versions is empty; at least one redundancy version expected")
        for version in versions:
            FrameHeader(redundancy_version=version)
        self.counts = SenderCounts() if counts is None else counts
        self.report = b""
        """Of the newest acknowledgement."""
        self._session, self._versions = session, tuple(versions)
        self._scheduler = Scheduler(classes)
        self._classes = [OutgoingClass(one, session >> 16, MAX_BYTES) for one in range(len(classes))]
        self._next = session % MODULUS
        self._peer = _Peer()
        self._processes: list[_Block | None] = [None] * num_processes
        self._new_data = [session >> place & 1 for place in range(num_processes)]
        self._log: deque[_Sent] = deque(maxlen=MAX_LOG)
        self._outcomes: deque[Outcome] = deque(maxlen=MAX_OUTCOMES)
        self._round_trip = _RoundTrip()
        self._asked_at = -math.inf

    # PDUs

    def submit(self, data: bytes, traffic_class: int, now: float, deadline: float = math.inf) -> bool:
        """Queue a PDU. It is delivered after those of its class with an earlier deadline, or that came before.

        Args:
            data: 1 to 65535 bytes.
            traffic_class: the lower, the more urgent.
            now: the time.
            deadline: after which the PDU is of no use.

        Returns:
            Whether it was taken: there is no room for more than 4096 PDUs or 4 MiB of a class.

        Raises:
            ValueError: an argument is out of range.
        """
        if not 0 <= traffic_class < len(self._classes):
            raise ValueError(f"traffic class is {traffic_class}; 0 to {len(self._classes) - 1} expected")
        if not 1 <= len(data) <= MAX_PDU_BYTES:
            raise ValueError(f"the PDU has {len(data)} bytes; 1 to {MAX_PDU_BYTES} expected")
        if math.isnan(deadline):
            raise ValueError("deadline is NaN; a time expected")
        if deadline <= now or not self._classes[traffic_class].push(data, deadline, now):
            self.counts.refused_pdus += 1
            return False
        self.counts.pdus += 1
        return True

    def queued_pdus(self) -> list[int]:
        """PDUs of each class that are not there yet."""
        return [len(one) for one in self._classes]

    def queued_bytes(self) -> list[int]:
        """Bytes of them."""
        return [one.num_bytes for one in self._classes]

    def oldest_wait(self, traffic_class: int, now: float) -> float:
        """How long the first PDU of a class has waited, in seconds; 0 if there is none."""
        return self._classes[traffic_class].oldest_wait(now)

    def delay_s(self, traffic_class: int) -> float:
        """Seconds from taking a PDU of a class to the word that it is there, the mean of the newest; 0 before one."""
        return self._classes[traffic_class].delay_s

    # Transmissions

    def next_transmission(self, now: float, mcs: int, rank: int, size: int) -> Transmission | None:
        """What to send now; None if there is nothing, or all processes are under way.

        Args:
            now: the time.
            mcs, rank: of a new block. One that is sent again keeps those that it had.
            size: bytes of a new block, at least 33.

        Raises:
            ValueError: an argument is out of range.
        """
        if size < MIN_BLOCK_BYTES:
            raise ValueError(f"size is {size}; at least {MIN_BLOCK_BYTES} bytes expected")
        self.expire(now)
        if not self._peer.session:
            return self._ask(now, mcs, rank, size)
        again = self._blocks_to_repeat()
        fresh = {*self._with_data(now), *(place for place, one in enumerate(self._classes) if one.forward_due)}
        if not (again or fresh):
            return None
        chosen = self._scheduler.choose(fresh | again.keys())
        repeats = chosen in again and not (again[chosen].held and chosen in fresh)
        if not repeats and not self._process_free(chosen):
            if not again:
                return None
            if chosen not in again:
                chosen = min(again, key=lambda one: distance(self._next, again[one].sequence))
            repeats = True
        if repeats:
            self._scheduler.sent(chosen, len(again[chosen].payload), fresh | again.keys())
            return self._send(again[chosen], now)
        block = self._new_block(chosen, now, mcs, rank, size)
        return self._send(block, now) if block else None

    def _ask(self, now: float, mcs: int, rank: int, size: int) -> Transmission | None:
        """Ask for the receiver's session, if somebody is to get something."""
        if now < self._asked_at + self._round_trip.timeout_s() or not any(map(len, self._classes)):
            return None
        if self._asked_at > -math.inf:
            self.counts.timeouts += 1
            self._round_trip.timed_out(self._asked_at, now)
        self._asked_at = now
        self._new_data[0] ^= 1
        self.counts.transmissions += 1
        header = FrameHeader(mcs, rank, 0, self._versions[0], self._new_data[0], 0, self._next & SEQUENCE_MASK)
        block = TransportBlock(self._session, 0, self._next)
        self._next = following(self._next)
        return Transmission(header, block.pack(size))

    def _blocks_to_repeat(self) -> dict[int, _Block]:
        """The next one of each class: the oldest, of those that are not held if there are some."""
        waiting = [block for block in self._processes if block is not None and block.waiting]
        waiting.sort(key=lambda block: (not block.held, distance(block.sequence, self._next)))
        return {block.header.traffic_class: block for block in waiting}  # of each class, the last one stays

    def _with_data(self, now: float) -> list[int]:
        """The classes that have new segments, and may send them."""
        return [
            place for place, one in enumerate(self._classes) if one.sendable() and self._scheduler.allowed(place, now)
        ]

    def _process_free(self, traffic_class: int) -> bool:
        """Whether a new block of this class may begin; one that is less urgent and not under way makes room."""
        held = [block for block in self._processes if block is not None]
        oldest = max((distance(block.sequence, self._next) for block in held), default=0)
        if len(held) < len(self._processes) and oldest < BITMAP_BLOCKS:
            return True
        idle = [block for block in held if block.waiting and block.header.traffic_class > traffic_class]
        if not idle or oldest >= BITMAP_BLOCKS:
            return False
        self._abandon(max(idle, key=lambda block: (block.header.traffic_class, -block.attempt)))
        return True

    def _new_block(self, chosen: int, now: float, mcs: int, rank: int, size: int) -> _Block | None:
        """A block that begins with this class."""
        room = size - HEADER_BYTES
        forwards = [Forward(place, one.oldest) for place, one in enumerate(self._classes) if one.forward_due]
        for forward in forwards:
            self._classes[forward.traffic_class].forward_due = False
        room -= FORWARD_BYTES * len(forwards)
        pieces: list[Piece] = []
        while candidates := self._with_data(now):
            place = chosen if not pieces and chosen in candidates else self._scheduler.choose(candidates)
            piece = self._classes[place].take(room, now)
            if piece is None:
                break
            pieces.append(piece)
            num_bytes = piece.segment.overhead() + len(piece.segment.data)
            self._scheduler.begun(place, num_bytes)
            self._scheduler.sent(place, num_bytes, candidates)
            room -= num_bytes
        if not (pieces or forwards):
            return None
        process = self._processes.index(None)
        self._new_data[process] ^= 1
        block = TransportBlock(
            self._session, self._peer.session, self._next, (*forwards, *(piece.segment for piece in pieces))
        )
        header = FrameHeader(
            mcs, rank, process, self._versions[0], self._new_data[process], chosen, self._next & SEQUENCE_MASK
        )
        self._processes[process] = made = _Block(header, self._next, block.pack(size), pieces, forwards)
        self._next = following(self._next)
        self.counts.blocks += 1
        return made

    def _send(self, block: _Block, now: float) -> Transmission:
        """Send a block with its next redundancy version."""
        header = block.header
        version = self._versions[block.attempt]
        header = FrameHeader(
            header.mcs, header.rank, header.process, version, header.new_data, header.traffic_class, header.sequence
        )
        block.attempt += 1
        block.sent_at, block.waiting = now, False
        self._log.append(_Sent(block, header, block.attempt, now))
        self.counts.transmissions += 1
        return Transmission(header, block.payload)

    # What becomes of them

    def acknowledge(self, data: bytes, now: float) -> None:
        """Take an acknowledgement, whatever it holds."""
        try:
            acknowledgement = Acknowledgement.unpack(data)
        except OtherVersion:
            self.counts.other_versions += 1
            return
        except InvalidBlock:
            self.counts.malformed_acknowledgements += 1
            return
        known = acknowledgement.receiver and acknowledgement.receiver not in self._peer.retired
        if acknowledgement.sender != self._session or not known:
            self.counts.foreign_acknowledgements += 1
            return
        self.counts.acknowledgements += 1
        if acknowledgement.receiver != self._peer.session:
            self._meet(acknowledgement.receiver, now)
            return
        self.report = acknowledgement.report
        for block in self._processes:
            if block is not None and acknowledgement.has(block.sequence):
                self._arrived(block, now)
        self._fail_up_to(acknowledgement, now)

    def _meet(self, session: int, now: float) -> None:
        """There is another receiver."""
        if self._peer.session:
            self._peer.retired.append(self._peer.session)
        elif self._round_trip.factor == 1.0:  # asked once: so it is known when
            self._round_trip.observe(now - self._asked_at)
        self._peer.session = session
        self.counts.receivers += 1
        for one in self._classes:
            self.counts.uncertain_pdus += one.begin_again()
        self._processes = [None] * len(self._processes)
        self._log.clear()

    def _arrived(self, block: _Block, now: float) -> None:
        """A block is there."""
        self._outcomes.append(Outcome(self._log_header(block), block.attempt, True, block.sent_at))
        self._release(block)
        for other in self._processes:
            if other is not None:
                other.held = False
        for piece in block.pieces:
            pdu = self._classes[piece.segment.traffic_class].arrived(piece, now)
            if pdu is not None:
                self.counts.delivered_pdus += 1
                self.counts.delivered_bytes += len(pdu.data)
        for forward in block.forwards:
            self._classes[forward.traffic_class].forwarded(forward.number)

    def _log_header(self, block: _Block) -> FrameHeader:
        """Of the newest transmission of a block."""
        return next((sent.header for sent in reversed(self._log) if sent.block is block), block.header)

    def _fail_up_to(self, acknowledgement: Acknowledgement, now: float) -> None:
        """Whatever was sent up to the latest transmission that was seen, and is not there, has failed."""
        latest = (acknowledgement.latest, acknowledgement.latest_version)
        place = next(
            (
                place
                for place, sent in enumerate(self._log)
                if (sent.header.sequence, sent.header.redundancy_version) == latest
            ),
            None,
        )
        if place is None:
            return
        self._round_trip.observe(now - self._log[place].at)
        for _ in range(place + 1):
            sent = self._log.popleft()
            if not sent.block.over and sent.attempt == sent.block.attempt and not sent.block.waiting:
                self._failed(sent.block, sent.header)

    def _failed(self, block: _Block, header: FrameHeader) -> None:
        """The newest transmission of a block has failed."""
        self._outcomes.append(Outcome(header, block.attempt, False, block.sent_at))
        if block.attempt == len(self._versions):
            self._abandon(block)
        else:
            block.waiting, block.held = True, block.attempt == len(self._versions) - 1

    def _abandon(self, block: _Block) -> None:
        """Send what a block carries in another one."""
        self.counts.abandoned_blocks += 1
        self._release(block)
        for piece in block.pieces:
            self._classes[piece.segment.traffic_class].failed(piece)
        for forward in block.forwards:
            self._classes[forward.traffic_class].forward_due = True

    def _release(self, block: _Block) -> None:
        block.over, block.waiting = True, False
        self._processes[block.header.process] = None

    def expire(self, now: float) -> None:
        """Give up what is late, and transmissions of which nothing was heard; `next_transmission` does so too."""
        for one in self._classes:
            self.counts.expired_pdus += one.expire(now, self._round_trip.one_way_s())
        limit = now - self._round_trip.timeout_s()
        for block in list(self._processes):
            if block is None:
                continue
            if not block.waiting and block.sent_at <= limit:
                self.counts.timeouts += 1
                self._round_trip.timed_out(block.sent_at, now)
                self._failed(block, self._log_header(block))
            if block.waiting and not block.forwards and all(piece.pdu.over for piece in block.pieces):
                self._abandon(block)

    def take_outcomes(self) -> list[Outcome]:
        """What became of transmissions since this was asked last; of the last 256, at most."""
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes
