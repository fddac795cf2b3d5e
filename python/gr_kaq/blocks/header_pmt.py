# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a frame as metadata of a PDU: a dict with its fields."""

from __future__ import annotations

import dataclasses
from typing import Any

import pmt

from ..frames.frame_header import FrameHeader
from .base import python_to_pmt

__all__ = ["header_from_pmt", "header_to_pmt"]

FIELDS = {field.name: pmt.intern(field.name) for field in dataclasses.fields(FrameHeader)}


def header_to_pmt(header: FrameHeader) -> Any:
    """A dict with the fields of a header."""
    return python_to_pmt(dataclasses.asdict(header))


def header_from_pmt(entries: Any) -> FrameHeader | None:
    """The header in a dict of `base.dict_of`; None: it says nothing of one.

    Raises:
        ValueError: a field is missing, or out of range.
    """
    values = {name: pmt.dict_ref(entries, key, pmt.PMT_NIL) for name, key in FIELDS.items()}
    there = {name: value for name, value in values.items() if value is not None and not pmt.is_null(value)}
    if not there:
        return None
    for name in FIELDS:
        if name not in there:
            raise ValueError(f"the header has no {name}")
        if not pmt.is_integer(there[name]):
            raise ValueError(f"{name} is no whole number")
    return FrameHeader(**{name: pmt.to_long(value) for name, value in there.items()})
