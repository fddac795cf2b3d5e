# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of 16 bits that wrap around: which of two comes first; and what ends count."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["MODULUS", "count", "distance", "following"]

MODULUS = 1 << 16


def following(number: int, steps: int = 1) -> int:
    """The number that comes so many steps later."""
    return (number + steps) % MODULUS


def distance(first: int, second: int) -> int:
    """Steps from `first` to `second`, -32768 to 32767: negative where `second` comes first."""
    return (second - first + MODULUS // 2) % MODULUS - MODULUS // 2


def count(unit: str, meaning: str) -> Any:
    """A field that starts at 0, with what the documentation of a block says of it."""
    return field(default=0, metadata={"unit": unit, "meaning": meaning})
