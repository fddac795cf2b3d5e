# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of files: what sends one in PDUs, and what collects it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pmt
from gnuradio import gr

from gr_kaq.blocks.pdu import MAX_PDU_BYTES, make_pdu
from gr_kaq.blocks.pdu_file_sink import pdu_file_sink
from gr_kaq.blocks.pdu_file_source import pdu_file_source
from gr_kaq.frames.file_transfer import MIN_PDU_BYTES, FileSender
from tests.fuzz.plumbing import connect_silence
from tests.fuzz.target import Target, Verdict, within
from tests.fuzz.targets.frames import pdu
from tests.fuzz.values import Choices

__all__ = ["FileSink", "FileSource"]


class FileSink(Target):
    name = "pdu_file_sink"
    message_inputs = ("pdus",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.data = choices.randbytes(choices.choice((0, 1, 500, 5000)))
        source = folder / "sent"
        source.write_bytes(self.data)
        self.path = folder / "received"
        self.block = pdu_file_sink(self.path)
        self.sender = FileSender(source, choices.choice((MIN_PDU_BYTES, 100)))
        if choices.one_in(5):
            self.path.mkdir()  # it cannot be written

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "pdus")

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if choices.one_in(3):
            message, verdict = pdu(choices, 200)
            return message, True if verdict is False and _is_pdu(message) else verdict
        data = bytearray(next(self.sender))
        if choices.one_in(10):
            data[choices.randrange(len(data))] ^= 1 << choices.randrange(8)
        if choices.one_in(10):
            data = data[: choices.randrange(len(data) + 1)]
        if choices.one_in(40):  # announces the largest file there is
            data = bytearray(struct.pack("<4sIQI32s", data[:4], 0, 1 << 30, 44, bytes(32)))
        return make_pdu(bytes(data)), True

    def _sane(self, case: Any) -> tuple[int, int]:
        refused = sum(not _is_pdu(message) for message, _ in case.messages["pdus"])
        return self.block.bad_pdus(), refused

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"messages that are no PDU": self._sane(case)}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        counted, expected = self._sane(case)
        yield from within("bad_pdus", counted, expected, expected)
        if self.block.complete() and self.path.read_bytes() != self.data:
            yield "the file is another one"


def _is_pdu(message: Any) -> bool:
    """Whether a message is a pair whose second part is a u8vector, and no longer than any PDU."""
    if message is None or not pmt.is_pair(message):
        return False
    data = pmt.cdr(message)
    return data is not None and pmt.is_u8vector(data) and pmt.length(data) <= MAX_PDU_BYTES


class FileSource(Target):
    name = "pdu_file_source"
    message_inputs = ("ready",)
    message_outputs = ("pdus",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        path = folder / "sent"
        path.write_bytes(choices.randbytes(choices.choice((0, 1, 5000))))
        self.block = pdu_file_source(path, choices.randint(1, 4), repeats=choices.choice((0, 0, 1, 3)))
        self.wanted = 0

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if choices.one_in(2):
            return pmt.from_long(choices.choice((0, 1, 16, 200))), True
        message = choices.pmt()
        good = message is not None and pmt.is_integer(message) and 0 <= pmt.to_long(message) <= 4096
        return message, good

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        refused = sum(not verdict for _, verdict in case.messages["ready"])
        return {"refused messages on ready": (self.block.bad_messages(), refused)}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        refused = sum(not verdict for _, verdict in case.messages["ready"])
        asked = sum(pmt.to_long(message) for message, verdict in case.messages["ready"] if verdict)
        yield from within("bad_messages", self.block.bad_messages(), refused, refused)
        yield from within("pdus", self.block.pdus(), 0, asked)
