# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses modulation, code rate and rank of what a sender sends."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pmt

from ..adaptation.choices import TARGET, Choices
from ..adaptation.link_receiver import unpack_report
from ..adaptation.policies import make_policy
from ..frames.frame_format import MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.frame_header import FrameHeader
from . import _gnuradio
from .base import KaqBlock, check_integer
from .counters import Counters, counter, reading
from .pdu import pdu_bytes

__all__ = ["link_adapter"]

MAX_DELAY = 1024
OUTCOME = ["mcs", "rank", "attempt", "acknowledged"]


@dataclass
class LinkAdapterCounters(Counters):
    """What a `link_adapter` counts."""

    reports: int = counter("messages", "Reports of the other side's channel.")
    outcomes: int = counter("messages", "Transmissions whose outcome is known.")
    first_transmissions: int = counter("messages", "Those of them that were the first of their transport block.")
    first_errors: int = counter("messages", "Those of the first that were not acknowledged.")
    rejected_messages: int = counter("messages", "Messages on its inputs that were refused.")


class link_adapter(KaqBlock[LinkAdapterCounters]):
    """Chooses MCS and rank from what the other side reports, and from what becomes of frames.

    See `gr_kaq.adaptation.policies`. A policy whose reports no longer hold when a frame is sent falls back to what
    holds on the long term; it learns that by itself.

    Messages:
        report (in): PDUs of a `link_decoder` on the other side, as port `report` of an `arq_sender` gives them.
        outcomes (in): of each transmission, as port `outcomes` of an `arq_sender` gives them.
        mcs (out): dict with `mcs` and `rank`, whenever they change, and at the start.
        stats (out): dict with the value of every counter, about every stats_interval_s while messages come, and at the
            end.

    Args:
        num_tx: antennas that send, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        policy: ``"both"`` (inner and outer loop), ``"goodput"``, ``"illa"``, ``"olla"``, ``"arf"`` or ``"salad"``.
        target: share of first transmissions that may fail, between 0 and 1; ``"goodput"`` has none.
        delay: frames from one that is reported of to the one that the report is for, about; 0 where the `link_decoder`
            forecasts as far.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        fft_size: int = 64,
        policy: str = "both",
        *,
        target: float = TARGET,
        delay: int = 4,
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_STREAMS)
        frame = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        self._policy = make_policy(policy, Choices(frame, target=target))
        self._delay = check_integer("delay", delay, 0, MAX_DELAY)
        self._num_tx = num_tx
        super().__init__("KAQ link adapter", [], [])
        self._lock = threading.Lock()
        self._choice: tuple[int, int] | None = None
        for port, handler in {"report": self.handle_report, "outcomes": self.handle_outcome}.items():
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), handler)
        self.message_port_register_out(pmt.intern("mcs"))
        self.announce_stats(stats_interval_s)

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        with self._lock:
            self._choice = None
            self._choose()

    def handle_report(self, message: Any) -> None:
        """A message on port `report`."""

        def take() -> None:
            snrs_db = unpack_report(pdu_bytes(message), self._num_tx)
            with self._lock:
                self.counters.reports += 1
                self._policy.observe_report(self.counters.reports, snrs_db)
                self._choose()

        if self.refused("report", "what was known", take):
            self.counters.rejected_messages += 1
        self.publish_stats()

    def handle_outcome(self, message: Any) -> None:
        """A message on port `outcomes`."""

        def take() -> None:
            entries = _gnuradio.plain_entries(message, OUTCOME)
            values = [entries.get(key) for key in OUTCOME]
            if not all(isinstance(value, int) for value in values):
                raise ValueError("no dict with `mcs`, `rank`, `attempt` and `acknowledged`")
            mcs, rank, attempt, acknowledged = (int(value) for value in values if value is not None)
            FrameHeader(mcs, rank)  # which checks them
            with self._lock:
                self.counters.outcomes += 1
                if attempt == 1:
                    self.counters.first_transmissions += 1
                    self.counters.first_errors += not acknowledged
                    self._policy.observe_ack(mcs, min(rank, self._num_tx), bool(acknowledged))
                    self._choose()

        if self.refused("outcome", "what was known", take):
            self.counters.rejected_messages += 1
        self.publish_stats()

    def _choose(self) -> None:
        """Say what is sent from now on, if it is something else; the lock is held."""
        choice = self._policy.choose(self.counters.reports + self._delay)
        if choice != self._choice:
            self._choice = choice
            self.publish("mcs", {"mcs": choice[0], "rank": choice[1]})

    @reading("index")
    def mcs(self) -> int:
        """MCS that was chosen last."""
        return self._choice[0] if self._choice else 0

    @reading("streams")
    def rank(self) -> int:
        """Rank that was chosen last."""
        return self._choice[1] if self._choice else 1

    @reading("dB")
    def offset_db(self) -> float:
        """Offset of the outer loop; 0 for policies without one."""
        return self._policy.offset_db()

    @reading("errors per block")
    def first_error_rate(self) -> float:
        """Share of the first transmissions that were not acknowledged; NaN before the first."""
        first = self.counters.first_transmissions
        return self.counters.first_errors / first if first else float("nan")
