# SPDX-License-Identifier: GPL-3.0-or-later
"""A file from the PDUs of a `frame_decoder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pmt

from ..frames.file_transfer import FileReceiver
from .base import KaqBlock, printable
from .counters import Counters, counter, reading
from .pdu import InvalidPdu, pdu_bytes

__all__ = ["pdu_file_sink"]


@dataclass
class FileSinkCounters(Counters):
    """What a `pdu_file_sink` counts."""

    bad_pdus: int = counter("messages", "Messages that are no PDU.")
    failed_writes: int = counter("attempts", "How often the complete file could not be written.")


class pdu_file_sink(KaqBlock[FileSinkCounters]):
    """Collects the file that a `pdu_file_source` sends, and writes it once it is complete and its SHA-256 is right.

    The log says when it is there.

    Messages:
        pdus (in): PDUs, as from the port of that name of a `frame_decoder`, in any order; none that is lost is missed,
            as long as the sender repeats it.

    Args:
        path: where the file goes. What is there already is replaced.

    Raises:
        FileNotFoundError: the directory does not exist.
    """

    def __init__(self, path: str | Path):
        self._path, self._receiver = path, FileReceiver(path)
        super().__init__("KAQ PDU file sink", [], [])
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle_pdu)

    def handle_pdu(self, message: Any) -> None:
        """A message on port `pdus`."""
        try:
            was_complete = self._receiver.complete()
            self._receiver.push(pdu_bytes(message))
            if self._receiver.complete() and not was_complete:
                blocks = self._receiver.progress()[1]
                self.logger.info(f"{printable(str(self._path))} is there: {blocks} blocks, SHA-256 right")
        except InvalidPdu as error:
            self.counters.bad_pdus += 1
            self.warn_once("bad PDU", f"PDU rejected: {error}")
        except OSError as error:
            self.counters.failed_writes += 1
            self.warn_once("write", f"the file cannot be written, will try again: {error}")
        except Exception as error:
            self.failed(error)

    def complete(self) -> bool:
        """Whether the file is whole, and written."""
        return self._receiver.complete()

    def progress(self) -> tuple[int, int]:
        """Blocks of the file that are there, and how many it has; (0, 0) before the first announcement."""
        return self._receiver.progress()

    # What the receiver of the file counts

    @reading("blocks")
    def duplicates(self) -> int:
        """Blocks that came again."""
        return self._receiver.duplicates()

    @reading("PDUs")
    def foreign(self) -> int:
        """PDUs of another transfer."""
        return self._receiver.foreign()

    @reading("PDUs")
    def malformed(self) -> int:
        """PDUs of no `pdu_file_source`, or that do not fit what was announced."""
        return self._receiver.malformed()

    @reading("blocks")
    def early(self) -> int:
        """Blocks that came before the first announcement, and are not kept."""
        return self._receiver.early()

    @reading("files")
    def wrong_digests(self) -> int:
        """How often all blocks were there and the SHA-256 was wrong; collecting begins again then."""
        return self._receiver.wrong_digests()
