# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a link that repeats what is lost, and adapts to its channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from gnuradio import gr

from gr_kaq.blocks.arq_receiver import arq_receiver
from gr_kaq.blocks.arq_sender import arq_sender
from gr_kaq.blocks.base import ports, python_to_pmt
from gr_kaq.blocks.link_adapter import link_adapter
from gr_kaq.blocks.link_decoder import link_decoder
from gr_kaq.blocks.pdu import make_pdu
from gr_kaq.transport.acknowledgement import Acknowledgement
from gr_kaq.transport.transport_block import Segment, TransportBlock
from tests.fuzz.plumbing import connect_silence
from tests.fuzz.target import Tag, Target, Verdict, verdicts, within
from tests.fuzz.targets.frames import FRAME, frame_value, pdu
from tests.fuzz.targets.symbols import estimate
from tests.fuzz.values import Choices

__all__ = ["Adapter", "ArqReceiver", "ArqSender", "LinkDecoder"]

SESSION = 9


def spoilt(choices: Choices, content: bytes) -> Any:
    """A PDU of a content, or of what a lossy link may make of it."""
    data = bytearray(content)
    if choices.one_in(4):
        data[choices.randrange(len(data))] ^= 1 << choices.randrange(8)
    if choices.one_in(6):
        data = data[: choices.randrange(len(data) + 1)]
    return make_pdu(bytes(data))


class ArqSender(Target):
    name = "arq_sender"
    message_inputs = ("pdus", "ready", "acks", "mcs")
    message_outputs = ("ready", "blocks", "outcomes", "report", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.block = arq_sender(
            choices.choice((1, 2)),
            constellation=choices.choice(("", "", "16qam")),
            lifetime_s=choices.choice((0.0, 0.01)),
            num_processes=choices.choice((1, 15)),
            session=SESSION,
            stats_interval_s=choices.choice((0, 0.01, 1)),
        )

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "pdus")

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if port == "pdus":
            message, _ = pdu(choices, 2000)
            if choices.one_in(3):
                metadata = python_to_pmt({"class": choices.choice((0, 3, 4, -1)), "deadline": choices.random()})
                message = make_pdu(choices.randbytes(20), metadata)
            return message, None
        if choices.one_in(3):
            return choices.pmt(), None
        if port == "ready":
            return pmt.from_long(choices.choice((0, 1, 20, 4096))), True
        if port == "mcs":
            return python_to_pmt({"mcs": choices.choice((0, 5, 99)), "rank": choices.choice((1, 2, 3))}), None
        newest = choices.choice((0, 1, 2, choices.getrandbits(16)))
        said = Acknowledgement(7, SESSION, newest, choices.getrandbits(8), newest & 0xFFF, 0, b"report")
        return spoilt(choices, said.pack()), None

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        came = sum(len(case.messages[port]) for port in ("ready", "mcs"))
        yield from within("bad_messages", self.block.bad_messages(), 0, came)
        yield from within("bad_pdus", self.block.bad_pdus(), 0, len(case.messages["pdus"]))


class ArqReceiver(Target):
    name = "arq_receiver"
    message_inputs = ("blocks", "report")
    message_outputs = ("pdus", "acks", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.block = arq_receiver(session=SESSION, stats_interval_s=choices.choice((0, 0.01, 1)))
        self.next = 0

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "blocks")

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if port == "report" or choices.one_in(4):
            message, verdict = pdu(choices, 64)
            return message, None if verdict is None or port == "blocks" else verdict
        self.next += choices.choice((0, 1, 1, 1, 2, 1000))
        segments = tuple(
            Segment(choices.randrange(4), self.next & 0xFFFF, choices.choice((0, 0, 7)), b"payload", choices.one_in(2))
            for _ in range(choices.choice((0, 1, 3)))
        )
        session = SESSION if not choices.one_in(8) else 0
        return spoilt(choices, TransportBlock(5, session, self.next & 0xFFFF, segments).pack(99)), None

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        reports = verdicts([verdict for _, verdict in case.messages["report"]])
        total = len(case.messages["blocks"]) + reports.total()
        yield from within("bad_pdus", self.block.bad_pdus(), 0, total)


class Adapter(Target):
    name = "link_adapter"
    message_inputs = ("report", "outcomes")
    message_outputs = ("mcs", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        policy = choices.choice(("both", "goodput", "illa", "olla", "arf", "salad"))
        self.block = link_adapter(choices.choice((1, 2, 4)), policy=policy, stats_interval_s=choices.choice((0, 0.01)))

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "report")

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if choices.one_in(4):
            return choices.pmt(), None
        if port == "report":
            return pdu(choices, choices.choice((2, 8, 64)))[0], None
        values = (0, 1, 2, 3, 5, -1, 28, 99, choices.choice((2**31 - 1, -(2**31))))
        return python_to_pmt({key: choices.choice(values) for key in ("mcs", "rank", "attempt", "acknowledged")}), None

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        block, total = self.block, sum(map(len, case.messages.values()))
        return {"messages": (block.reports() + block.outcomes() + block.rejected_messages(), total)}

    def finish(self, case: Any) -> None:
        case.tb.stop()


class LinkDecoder(Target):
    name = "link_decoder"
    message_outputs = ("pdus", "acks", "report", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        num_tx = choices.choice((1, 2))
        num_rx = num_tx + choices.randint(0, 1)
        horizon = choices.choice((0, 3))
        self.block = link_decoder(num_rx, num_tx, detector="lmmse", horizon=horizon, stats_interval_s=0.01)
        self.shape = self.block.frame_format.data_per_stream, num_rx, num_tx
        self.inputs = ports(np.complex64, self.shape[0], num_rx)

    def items(self) -> int:
        return self.choices.randint(1, 4)

    def tags(self, count: int) -> list[Tag]:
        choices, found = self.choices, super().tags(count)
        for item in range(count):
            if not choices.one_in(4):
                found.append((0, item, FRAME, frame_value(choices), None))
            if not choices.one_in(4):
                found.append((0, item, pmt.intern("mimo_channel"), *estimate(choices, self.shape, False)))
        return found

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}
