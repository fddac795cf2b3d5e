# SPDX-License-Identifier: GPL-3.0-or-later
"""A file from the PDUs of a `frame_decoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pmt

from ..frames.file_transfer import FileReceiver
from .base import KaqBlock
from .pdu import InvalidPdu, pdu_bytes

__all__ = ["pdu_file_sink"]


class pdu_file_sink(KaqBlock):
    """Collects the file that a `pdu_file_source` sends, and writes it once it is complete and its SHA-256 is right.

    Messages:
        pdus (in): PDUs, as from the port of that name of a `frame_decoder`, in any order; none that is lost is missed,
            as long as the sender repeats it.

    Args:
        path: where the file goes. What is there already is replaced.

    Raises:
        FileNotFoundError: the directory does not exist.
    """

    def __init__(self, path: str | Path):
        self._receiver = FileReceiver(path)
        super().__init__("KAQ PDU file sink", [], [])
        self._bad_pdus = self._failed_writes = 0
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle_pdu)

    def handle_pdu(self, message: Any) -> None:
        """A message on port `pdus`."""
        try:
            self._receiver.push(pdu_bytes(message))
        except InvalidPdu as error:
            self._bad_pdus += 1
            self.warn_once("bad PDU", f"PDU rejected: {error}")
        except OSError as error:
            self._failed_writes += 1
            self.warn_once("write", f"the file cannot be written, will try again: {error}")
        except Exception as error:
            self.failed(error)

    def complete(self) -> bool:
        """Whether the file is whole, and written."""
        return self._receiver.complete()

    def progress(self) -> tuple[int, int]:
        """Blocks of the file that are there, and how many it has; (0, 0) before the first announcement."""
        return self._receiver.progress()

    def bad_pdus(self) -> int:
        """Messages that are no PDU."""
        return self._bad_pdus

    def failed_writes(self) -> int:
        """How often the complete file could not be written."""
        return self._failed_writes

    def stats(self) -> dict[str, Any]:
        """The value of every counter."""
        receiver = self._receiver
        getters = (receiver.duplicates, receiver.foreign, receiver.malformed, receiver.early, receiver.wrong_digests)
        own = (self.bad_pdus, self.failed_writes, self.internal_errors)
        return {getter.__name__: getter() for getter in (*getters, *own)}
