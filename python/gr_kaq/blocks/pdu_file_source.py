# SPDX-License-Identifier: GPL-3.0-or-later
"""A file as PDUs for a `frame_transmitter`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pmt

from ..frames.file_transfer import FileSender
from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from ..frames.payload import max_payload
from .base import KaqBlock
from .counters import Counters, counter
from .pdu import make_pdu

__all__ = ["pdu_file_source"]

MAX_REQUEST = 4096  # PDUs of one message


@dataclass
class FileSourceCounters(Counters):
    """What a `pdu_file_source` counts."""

    pdus: int = counter("PDUs", "PDUs sent.")
    bad_messages: int = counter("messages", "Messages on port `ready` that are no such number.")


class pdu_file_source(KaqBlock[FileSourceCounters]):
    """Sends a file in PDUs that fill the frames of a `frame_transmitter`, as many as that one wants.

    The first PDU and some of the others announce the file, see `gr_kaq.frames.file_transfer`.

    Messages:
        ready (in): long, how many PDUs to send, from the port of that name of the `frame_transmitter`.
        pdus (out): PDUs, to its port `pdus`; after the last one ``pmt.PMT_EOF``.

    Args:
        path: the file. It is read now.
        num_tx, fft_size, constellation, num_symbols: of the transmitter.
        repeats: how often the file is sent; 0: for ever.

    Raises:
        OSError: the file cannot be read.
        ValueError: an argument is out of range, or the file is too large.
    """

    def __init__(
        self,
        path: str | Path,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        repeats: int = 0,
        num_symbols: int = SYMBOL_COUNTS[0],
    ):
        frame_format = FrameFormat(num_tx, fft_size, constellation, num_symbols)
        self._sender = FileSender(path, max_payload(frame_format), repeats)
        super().__init__("KAQ PDU file source", [], [])
        self.message_port_register_in(pmt.intern("ready"))
        self.set_msg_handler(pmt.intern("ready"), self.handle_ready)
        self.message_port_register_out(pmt.intern("pdus"))

    def handle_ready(self, message: Any) -> None:
        """A message on port `ready`."""
        try:
            if message is None or not pmt.is_integer(message) or not 0 <= pmt.to_long(message) <= MAX_REQUEST:
                self.counters.bad_messages += 1
                self.warn_once("ready", f"a message on port ready is no number from 0 to {MAX_REQUEST}")
                return
            for _ in range(pmt.to_long(message)):
                if (pdu := next(self._sender, None)) is None:
                    self.message_port_pub(pmt.intern("pdus"), pmt.PMT_EOF)
                    return
                self.counters.pdus += 1
                self.message_port_pub(pmt.intern("pdus"), make_pdu(pdu))
        except Exception as error:
            self.failed(error)

    def num_blocks(self) -> int:
        """Blocks that the file is sent in."""
        return self._sender.num_blocks
