# SPDX-License-Identifier: GPL-3.0-or-later
"""The sending end of a link that repeats what is lost."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pmt

from ..frames.frame_format import MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.frame_header import NUM_CLASSES, NUM_PROCESSES, NUM_REDUNDANCY_VERSIONS, FrameHeader
from ..frames.modulation_coding import transport_block_bytes
from ..frames.payload import max_payload
from ..transport.arq_sender import ArqSender, SenderCounts
from ..transport.scheduler import TrafficClass
from ..transport.transport_block import MAX_PDU_BYTES
from .base import KaqBlock, check_integer, dict_of
from .counters import Counters, counter, reading
from .header_pmt import header_to_pmt
from .pdu import InvalidPdu, make_pdu, pdu_bytes, pdu_entries
from .ticker import Ticker

__all__ = ["arq_sender"]

TICK_S = 5e-3
WANTED = 64  # PDUs in the queue, or under way to it, for one who sends on request
MAX_CREDITS = 4096
CLASS, DEADLINE, MCS, RANK = (pmt.intern(name) for name in ("class", "deadline", "mcs", "rank"))


@dataclass
class ArqSenderCounters(Counters, SenderCounts):
    """What an `arq_sender` counts."""

    bad_pdus: int = counter("PDUs", "PDUs that were malformed, empty or too long, or with metadata out of range.")
    bad_messages: int = counter("messages", "Messages on ports `ready` and `mcs` that were refused.")


class arq_sender(KaqBlock[ArqSenderCounters]):
    """Sends PDUs over frames that may be lost, until an `arq_receiver` has them or their deadline passes.

    It cuts PDUs into transport blocks, one for each frame; see `gr_kaq.transport.arq_sender`.

    Messages:
        pdus (in): PDUs of 1 to 65535 bytes. Of the metadata, `class` (long, 0 to 3) and `deadline` (seconds from now)
            are used. ``pmt.PMT_EOF``: the block sends one too, once nothing is left to deliver.
        ready (out): long, how many more PDUs are wanted. What sends as many, and no others, loses none.
        blocks (out): PDUs for the port `pdus` of a `frame_transmitter`, with the header's fields as metadata.
        ready (in): long, how many of them that one wants.
        acks (in): PDUs of an `arq_receiver`, which may be lost.
        mcs (in): dict with `mcs` and `rank` of the blocks from now on.
        outcomes (out): of each transmission, when it is known, a dict with the header's fields, `attempt` (1 for the
            first one of a block), `acknowledged` (0 or 1) and `age` (seconds).
        report (out): PDUs with what the receiver reports beside its acknowledgements.
        stats (out): dict with the value of every counter, about every stats_interval_s, and at the end.

    Args:
        num_tx: antennas that send, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        constellation: empty: frames have a header, and their transport blocks a size by MCS and rank. Otherwise, that
            of the `frame_transmitter` and `frame_decoder` in use: each block is then sent once, and what it carried in
            another one if it is lost.
        mcs, rank: of the first blocks; a rank of 0 is num_tx.
        traffic_class: of PDUs that do not say it.
        lifetime_s: of PDUs without a deadline; 0: for ever.
        min_shares: of the bytes that are sent, for each class, as long as it has something to send.
        rates: bytes per second of each class, at most; 0: as many as it can.
        num_processes: blocks that may be under way, 1 to 15.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56.
        session: of this start, 32 bits; 0: a random one.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "",
        *,
        mcs: int = 0,
        rank: int = 0,
        traffic_class: int = NUM_CLASSES - 1,
        lifetime_s: float = 0.0,
        min_shares: Sequence[float] = (0.0,) * NUM_CLASSES,
        rates: Sequence[float] = (0.0,) * NUM_CLASSES,
        num_processes: int = NUM_PROCESSES,
        num_symbols: int = SYMBOL_COUNTS[0],
        session: int = 0,
        stats_interval_s: float = 1.0,
    ):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_STREAMS)
        self._frame = FrameFormat(num_tx, fft_size, constellation or "qpsk", num_symbols)
        self._plain = bool(constellation)
        self._traffic_class = check_integer("traffic_class", traffic_class, 0, NUM_CLASSES - 1)
        if not 0 <= lifetime_s < math.inf:
            raise ValueError(f"lifetime_s is {lifetime_s}; a number from 0 on expected")
        self._lifetime_s = lifetime_s or math.inf
        if len(min_shares) != NUM_CLASSES or len(rates) != NUM_CLASSES:
            raise ValueError(f"{len(min_shares)} min_shares and {len(rates)} rates; {NUM_CLASSES} of each expected")
        classes = [TrafficClass(share, rate or None) for share, rate in zip(min_shares, rates, strict=True)]
        session = check_integer("session", session, 0, (1 << 32) - 1) or 1 + secrets.randbelow((1 << 32) - 1)
        super().__init__("KAQ ARQ sender", [], [])
        self._sender = ArqSender(
            session,
            classes,
            num_processes=check_integer("num_processes", num_processes, 1, NUM_PROCESSES),
            versions=(0,) if constellation else range(NUM_REDUNDANCY_VERSIONS),
            counts=self.counters,
        )
        self._set_mcs(mcs, rank or num_tx)
        self._lock = threading.Lock()  # messages come in the block's thread, ticks in another one
        self._ticker = Ticker(self._tick, TICK_S)
        self._credits = self._requested = 0
        self._ending = self._ended = False
        for port, handler in {
            "pdus": self.handle_pdu,
            "ready": self.handle_ready,
            "acks": self.handle_acknowledgement,
            "mcs": self.handle_mcs,
        }.items():
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), handler)
        for port in ("ready", "blocks", "outcomes", "report"):
            self.message_port_register_out(pmt.intern(port))
        self.announce_stats(stats_interval_s)

    def begin(self) -> None:
        """Called when the flowgraph starts: what is queued stays; everybody asks anew."""
        with self._lock:
            self._credits = self._requested = 0
            self._ending = self._ended = False
            self._request()
        self._ticker.begin()

    def end(self) -> None:
        """Called when the flowgraph has ended."""
        self._ticker.end()

    # Messages

    def handle_pdu(self, message: Any) -> None:
        """A message on port `pdus`."""
        with self._lock:
            try:
                if message is not None and pmt.is_eof_object(message):
                    self._ending = True
                else:
                    self._requested = max(0, self._requested - 1)
                    self._submit(message)
            except ValueError as error:
                self.counters.bad_pdus += 1
                self.warn_once("bad PDU", f"PDU rejected: {error}")
            except Exception as error:
                self.failed(error)
            self._send()

    def _submit(self, message: Any) -> None:
        data = pdu_bytes(message, MAX_PDU_BYTES)
        entries = pdu_entries(message)
        traffic_class = _number(entries, CLASS, "class", self._traffic_class)
        lifetime_s = _number(entries, DEADLINE, "deadline", self._lifetime_s)
        now = time.monotonic()
        if not self._sender.submit(data, int(traffic_class), now, now + lifetime_s):
            self.warn_once(
                "refused PDU", "a PDU came too late, or when the queue was full; it is dropped, as are others"
            )

    def handle_ready(self, message: Any) -> None:
        """A message on port `ready`."""
        with self._lock:
            try:
                if message is None or not pmt.is_integer(message) or not 0 <= pmt.to_long(message) <= MAX_CREDITS:
                    self.counters.bad_messages += 1
                    self.warn_once("ready", f"a message on port ready is no number from 0 to {MAX_CREDITS}")
                    return
                self._credits = min(MAX_CREDITS, self._credits + pmt.to_long(message))
            except Exception as error:
                self.failed(error)
            self._send()

    def handle_acknowledgement(self, message: Any) -> None:
        """A message on port `acks`."""
        with self._lock:
            try:
                before, refused = self._sender.report, self._refused_acknowledgements()
                self._sender.acknowledge(pdu_bytes(message), time.monotonic())
                if self._refused_acknowledgements() > refused:
                    self.warn_once("acknowledgement", "an acknowledgement is of another peer, version or format")
                if self._sender.report and self._sender.report is not before:
                    self.message_port_pub(pmt.intern("report"), make_pdu(self._sender.report))
            except InvalidPdu as error:
                self.counters.malformed_acknowledgements += 1
                self.warn_once("acknowledgement", f"an acknowledgement is ignored: {error}")
            except Exception as error:
                self.failed(error)
            self._send()

    def _refused_acknowledgements(self) -> int:
        counts = self.counters
        return counts.malformed_acknowledgements + counts.other_versions + counts.foreign_acknowledgements

    def handle_mcs(self, message: Any) -> None:
        """A message on port `mcs`."""

        def take() -> None:
            entries = dict_of(message)
            mcs, rank = (_number(entries, key, str(key), -1) for key in (MCS, RANK))
            with self._lock:
                self._set_mcs(int(mcs), int(rank))

        if self.refused("MCS", "the one in force", take):
            self.counters.bad_messages += 1

    def _set_mcs(self, mcs: int, rank: int) -> None:
        if self._plain:
            self._mcs, self._rank, self._size = 0, 1, max_payload(self._frame)
            return
        FrameHeader(mcs, rank)
        size = transport_block_bytes(self._frame, mcs, rank)
        self._mcs, self._rank, self._size = mcs, rank, size

    # What goes out

    def _tick(self) -> None:
        with self._lock:
            self._send()
        try:
            self.publish_stats()
        except Exception as error:
            self.failed(error)

    def _send(self) -> None:
        """Send what there is, as far as it is wanted; the lock is held."""
        try:
            now = time.monotonic()
            self._sender.expire(now)
            while self._credits:
                sent = self._sender.next_transmission(now, self._mcs, self._rank, self._size)
                if sent is None:
                    break
                self._credits -= 1
                self.message_port_pub(pmt.intern("blocks"), make_pdu(sent.payload, header_to_pmt(sent.header)))
            for outcome in self._sender.take_outcomes():
                entries = header_to_pmt(outcome.header)
                for key, value in (("attempt", outcome.attempt), ("acknowledged", int(outcome.acknowledged))):
                    entries = pmt.dict_add(entries, pmt.intern(key), pmt.from_long(value))
                entries = pmt.dict_add(entries, pmt.intern("age"), pmt.from_double(now - outcome.sent_at))
                self.message_port_pub(pmt.intern("outcomes"), entries)
            self._request()
            if self._ending and not self._ended and not any(self._sender.queued_pdus()):
                self._ended = True
                self.message_port_pub(pmt.intern("blocks"), pmt.PMT_EOF)
        except Exception as error:
            self.failed(error)

    def _request(self) -> None:
        """Ask for as many PDUs as are wanted."""
        count = WANTED - sum(self._sender.queued_pdus()) - self._requested
        if count >= WANTED // 4 and not self._ending:
            self._requested += count
            self.message_port_pub(pmt.intern("ready"), pmt.from_long(count))

    # Readings

    @reading("PDUs")
    def queued_pdus(self) -> int:
        """PDUs that are not there yet."""
        return sum(self._sender.queued_pdus())

    @reading("seconds")
    def oldest_wait(self) -> list[float]:
        """How long the first PDU of each class has waited; 0 where there is none."""
        now = time.monotonic()
        with self._lock:
            return [self._sender.oldest_wait(one, now) for one in range(NUM_CLASSES)]

    @reading("seconds")
    def delay(self) -> list[float]:
        """From taking a PDU of each class to the word that it is there, the mean of the newest; 0 before the first."""
        return [self._sender.delay_s(one) for one in range(NUM_CLASSES)]


def _number(entries: Any, key: Any, name: str, default: float) -> float:
    """A finite number in a dict.

    Raises:
        ValueError: what is there is none.
    """
    value = pmt.dict_ref(entries, key, pmt.PMT_NIL)
    if value is None or pmt.is_null(value):
        return default
    if not (pmt.is_integer(value) or pmt.is_real(value)) or not math.isfinite(number := pmt.to_double(value)):
        raise ValueError(f"{name} is no finite number")
    return number
