# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that say who interferes: a dict whose entries are the arguments of an `Interferer`, or some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pmt

from ..channels.interference import Interferer
from .base import dict_of

__all__ = ["INTERFERER_ENTRIES", "settings_after"]

STRINGS = ("kind", "on")
MAX_TEXT = 80
INTERFERER_ENTRIES = tuple(field.name for field in fields(Interferer))


def settings_after(settings: Mapping[str, Any], message: Any, entries: tuple[str, ...]) -> dict[str, Any]:
    """The settings that a message leaves: those before, but for its entries; none after an empty dict or PMT_NIL.

    Args:
        settings: those before.
        message: a PMT, which may be anything: a dict of numbers, strings and, for `band`, an f64vector of two.
        entries: that it may have.

    Raises:
        ValueError: the message is no dict, or an entry is unknown or of the wrong type.
    """
    given = {pmt.symbol_to_string(pmt.car(pair)): pmt.cdr(pair) for pair in _pairs(dict_of(message))}
    unknown = sorted(given.keys() - set(entries))
    if unknown:
        raise ValueError(f"unknown entry {unknown[0][:MAX_TEXT]!r}; of {', '.join(entries)} expected")
    return {**settings, **{key: _value(key, value) for key, value in given.items()}} if given else {}


def _pairs(entries: Any) -> list[Any]:
    found = []
    while pmt.is_pair(entries):
        found.append(pmt.car(entries))
        entries = pmt.cdr(entries)
    return found


def _value(key: str, value: Any) -> Any:
    if key in STRINGS:
        if pmt.is_symbol(value):
            return pmt.symbol_to_string(value)[:MAX_TEXT]
        raise ValueError(f"`{key}` is no string")
    if key == "band":
        if pmt.is_f64vector(value) and pmt.length(value) == 2:
            return tuple(pmt.f64vector_elements(value))
        raise ValueError("`band` is no f64vector of two numbers")
    if pmt.is_integer(value):
        return pmt.to_long(value)
    if pmt.is_real(value):
        return pmt.to_double(value)
    if key == "direction" and pmt.is_null(value):
        return None
    raise ValueError(f"`{key}` is no number")
