# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what `timing.measure` found, and the names that tables and plots show."""

from __future__ import annotations

from typing import Any

from .timing import Spread, ratio, spread

__all__ = [
    "EP",
    "FP32",
    "KBEST",
    "LMMSE",
    "NUMPY",
    "NUMPY_DOUBLE",
    "OURS",
    "OURS_CPP",
    "OURS_INT4",
    "OURS_LLRS",
    "OURS_LMMSE",
    "PGD_CPP",
    "PGD_FP32",
    "SIONNA_LMMSE",
    "TORCH_CHOLESKY",
    "TORCH_INVERSE",
    "rounds",
    "size",
    "time_of",
    "times_as_long",
    "variant",
]

OURS, OURS_LLRS, OURS_INT4 = "KAQ int8", "KAQ int8, with LLRs", "KAQ int4"
OURS_LMMSE = "KAQ LMMSE, with LLRs"
OURS_CPP, FP32, LMMSE = "KAQ int8 (C++)", "fp32 network (C++)", "LMMSE fp32 (C++)"
PGD_CPP, PGD_FP32 = "PGD-Net int8 (C++)", "PGD-Net fp32 (C++)"
NUMPY, NUMPY_DOUBLE = "NumPy LMMSE", "NumPy LMMSE, double"
TORCH_CHOLESKY, TORCH_INVERSE = "torch Cholesky LMMSE", "torch inverse LMMSE"
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


def variant(results: Results, name: str) -> str:
    """Which variant was taken."""
    return str(results.get(name, {}).get("variant", ""))


def size(point: dict[str, Any]) -> str:
    """As 16x16."""
    return f"{point['num_rx']}x{point['num_tx']}"
