# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of 16 bits that wrap around: which of two comes first."""

from __future__ import annotations

__all__ = ["MODULUS", "distance", "following"]

MODULUS = 1 << 16


def following(number: int, steps: int = 1) -> int:
    """The number that comes so many steps later."""
    return (number + steps) % MODULUS


def distance(first: int, second: int) -> int:
    """Steps from `first` to `second`, -32768 to 32767: negative where `second` comes first."""
    return (second - first + MODULUS // 2) % MODULUS - MODULUS // 2
