# SPDX-License-Identifier: GPL-3.0-or-later
"""PDUs, pairs of metadata and u8vector: what they hold, or why they are none."""

from __future__ import annotations

from typing import Any

import pmt

from .access import _gnuradio
from .base import dict_of

__all__ = ["MAX_PDU_BYTES", "InvalidPdu", "make_pdu", "pdu_bytes", "pdu_entries"]

MAX_PDU_BYTES = 1 << 16
"""More than a frame carries."""


class InvalidPdu(ValueError):
    """Says what is wrong with a PDU."""


def pdu_bytes(message: Any, limit: int = MAX_PDU_BYTES) -> bytes:
    """The bytes of a PDU.

    Raises:
        InvalidPdu: the message is none, or it has more than `limit` bytes: of these, none is copied.
    """
    if message is None or not pmt.is_pair(message):
        raise InvalidPdu("it is no pair of metadata and u8vector")
    data = pmt.cdr(message)
    if data is None or not pmt.is_u8vector(data):
        raise InvalidPdu("its second part is no u8vector")
    if pmt.length(data) > limit:
        raise InvalidPdu(f"it has {pmt.length(data)} bytes; at most {limit} expected")
    return bytes(pmt.u8vector_elements(data))


def pdu_entries(message: Any) -> Any:
    """The metadata of a PDU that has bytes, for `pmt.dict_ref`: empty if it is no dict."""
    metadata = pmt.car(message)
    return pmt.make_dict() if metadata is None or not pmt.is_dict(metadata) else dict_of(metadata)


def make_pdu(data: bytes, metadata: Any = None) -> Any:
    """A PDU of these bytes, with this dict as metadata, or an empty one."""
    return _gnuradio.make_pdu(data, pmt.make_dict() if metadata is None else metadata)
