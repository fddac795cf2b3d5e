# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what `timing.measure` found, and the names that tables and plots show."""

from __future__ import annotations

from typing import Any

from .timing import Spread, ratio, spread

__all__ = [
    "EP",
    "FP32",
    "INT8",
    "INT8_LLRS",
    "KBEST",
    "LIST",
    "LMMSE",
    "NUMPY",
    "SIONNA_LMMSE",
    "TORCH_CHOLESKY",
    "TORCH_INVERSE",
    "rounds",
    "size",
    "time_of",
    "times_as_long",
]

INT8, INT8_LLRS, FP32 = "KAQ int8", "KAQ int8, with LLRs", "KAQ fp32"
LMMSE, LIST = "KAQ LMMSE", "KAQ list8"
NUMPY, TORCH_CHOLESKY, TORCH_INVERSE = "NumPy LMMSE", "torch Cholesky LMMSE", "torch inverse LMMSE"
SIONNA_LMMSE, EP, KBEST = "Sionna LMMSE", "Sionna EP x10", "Sionna K-best 64"

Results = dict[str, Any]


def rounds(results: Results, name: str) -> list[float] | None:
    """Nanoseconds of a contestant in each round; None where it is missing."""
    return results.get(name, {}).get("ns")


def time_of(results: Results, name: str) -> Spread | None:
    """Nanoseconds of a contestant."""
    values = rounds(results, name)
    return spread(values) if values else None


def times_as_long(results: Results, slower: str, faster: str) -> Spread | None:
    """How many times as long `slower` takes."""
    first, second = rounds(results, slower), rounds(results, faster)
    return ratio(first, second) if first and second else None


def size(point: dict[str, Any]) -> str:
    """As 16x16."""
    return f"{point['num_rx']}x{point['num_tx']}"
