# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving end of a link that repeats what is lost."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pmt

from ..transport.acknowledgement import MAX_REPORT_BYTES
from ..transport.arq_receiver import ArqReceiver, DeliveredPdu, ReceiverCounts
from .base import KaqBlock, check_integer, python_to_pmt
from .counters import Counters, counter, reading
from .header_pmt import header_from_pmt
from .pdu import make_pdu, pdu_bytes, pdu_entries
from .ticker import Ticker

__all__ = ["arq_receiver"]

TICK_S = 5e-3


@dataclass
class ArqReceiverCounters(Counters, ReceiverCounts):
    """What an `arq_receiver` counts."""

    bad_pdus: int = counter("PDUs", "PDUs on its inputs that were malformed, too long, or had no valid header.")


class arq_receiver(KaqBlock[ArqReceiverCounters]):
    """Puts the PDUs of an `arq_sender` together, and gives those of each class out in order; none twice.

    See `gr_kaq.transport.arq_receiver`.

    Messages:
        blocks (in): PDUs from a decoder, with the fields of the frame's header as metadata, if it has one. Without
            bytes: the header was read, but not what it belongs to.
        pdus (out): PDUs as they were given to the sender; metadata dict with `class` (long).
        acks (out): PDUs for the port `acks` of the sender, one after each frame.
        report (in): PDUs of up to 64 bytes, which the next acknowledgements carry.
        stats (out): dict with the value of every counter, about every stats_interval_s, and at the end.

    Args:
        session: of this start, 32 bits; 0: a random one.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, *, session: int = 0, stats_interval_s: float = 1.0):
        session = check_integer("session", session, 0, (1 << 32) - 1) or 1 + secrets.randbelow((1 << 32) - 1)
        super().__init__("KAQ ARQ receiver", [], [])
        self._receiver = ArqReceiver(session, self.counters)
        self._report = b""
        self._lock = threading.Lock()  # messages come in the block's thread, ticks in another one
        self._ticker = Ticker(self._tick, TICK_S)
        for port, handler in {"blocks": self.handle_block, "report": self.handle_report}.items():
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), handler)
        for port in ("pdus", "acks"):
            self.message_port_register_out(pmt.intern(port))
        self.announce_stats(stats_interval_s)

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        self._ticker.begin()

    def end(self) -> None:
        """Called when the flowgraph has ended."""
        self._ticker.end()

    def handle_block(self, message: Any) -> None:
        """A message on port `blocks`."""
        with self._lock:
            try:
                block = pdu_bytes(message)
                entries = pdu_entries(message)
                header = header_from_pmt(entries)
                if header is None and not block:
                    raise ValueError("it has neither header nor bytes")
            except ValueError as error:
                self.counters.bad_pdus += 1
                self.warn_once("bad PDU", f"PDU rejected: {error}")
                return
            except Exception as error:
                self.failed(error)
                return
            try:
                refused = self._refused_blocks()
                self._deliver(self._receiver.push(header, block or None, time.monotonic()))
                if self._refused_blocks() > refused:
                    self.warn_once("block", "a frame carries no transport block of a sender that is known")
                answer = self._receiver.acknowledgement(self._report)
                if answer is not None:
                    self.message_port_pub(pmt.intern("acks"), make_pdu(answer))
            except Exception as error:
                self.failed(error)

    def _refused_blocks(self) -> int:
        counts = self.counters
        return counts.malformed_blocks + counts.other_versions + counts.overflows

    def handle_report(self, message: Any) -> None:
        """A message on port `report`."""

        def take() -> None:
            self._report = pdu_bytes(message, MAX_REPORT_BYTES)

        if self.refused("report", "the one before", take):
            self.counters.bad_pdus += 1

    def _tick(self) -> None:
        try:
            with self._lock:
                self._deliver(self._receiver.poll(time.monotonic()))
            self.publish_stats()
        except Exception as error:
            self.failed(error)

    def _deliver(self, pdus: Sequence[DeliveredPdu]) -> None:
        for pdu in pdus:
            metadata = python_to_pmt({"class": pdu.traffic_class})
            self.message_port_pub(pmt.intern("pdus"), make_pdu(pdu.data, metadata))

    @reading("PDUs")
    def skipped_pdus(self) -> int:
        """PDUs of the sender that is there now that were skipped, as it gave them up, or others had to be on time."""
        return self._receiver.skipped_pdus()

    @reading("bytes")
    def held_bytes(self) -> int:
        """Bytes of PDUs that are not complete, or wait for earlier ones."""
        return self._receiver.held_bytes()
