# SPDX-License-Identifier: GPL-3.0-or-later
"""Contestants side by side in one run.

A contestant may have several variants (a form of the algorithm, a batch size, a tile); a short trial keeps the fastest.
Every round then measures every contestant once, in a new order each round, so that what disturbs the machine disturbs
all alike. Ratios are taken within a round; medians and the smallest and largest value are over the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Spread", "Timed", "calls", "measure", "ratio", "spread"]

MAX_REPEATS = 1_000_000


@dataclass(frozen=True)
class Timed:
    """Something to time.

    Args:
        run: seconds that so many repetitions take.
        units: what one repetition does: vectors, channels or the like.
        variant: what is special about it, for the record.
    """

    run: Callable[[int], float]
    units: float
    variant: str = ""


def calls(function: Callable[[], object], units: float, variant: str = "") -> Timed:
    """A Python function to time."""

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        return time.perf_counter() - start

    return Timed(run, units, variant)


@dataclass(frozen=True)
class Spread:
    """Median of the rounds, smallest and largest."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """As 12.3 [11.9, 13.0]."""
        return f"{number(self.median, digits)} [{number(self.low, digits)}, {number(self.high, digits)}]"


def number(value: float, digits: int = 3) -> str:
    """`value` with so many significant digits, without an exponent."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{decimals}f}"


def spread(values: Sequence[float]) -> Spread:
    """Over the rounds."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times as long the first takes, round by round."""
    return spread([s / f for s, f in zip(slower, faster, strict=True)])


def measure(
    contestants: Mapping[str, Iterable[Callable[[], Timed]]], rounds: int, slot_s: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Time contestants side by side.

    Args:
        contestants: by name, the variants of each; making one may fail with ValueError, which leaves it out.
        rounds: how often each is measured.
        slot_s: seconds that one measurement takes, if a single repetition is not longer.
        rng: for the order.

    Returns:
        name -> {"ns": one value per round, nanoseconds per unit; "variant"; "repeats"}; {"missing": why} for those of
        which no variant could be made.
    """
    found: dict[str, Any] = {}
    chosen: dict[str, tuple[Timed, int]] = {}
    for name, variants in contestants.items():
        best, reason = _fastest(variants, slot_s)
        if best is None:
            found[name] = {"missing": reason}
            continue
        chosen[name] = best
        found[name] = {"ns": [], "variant": best[0].variant, "repeats": best[1], "units": best[0].units}
    names = list(chosen)
    for _ in range(rounds):
        for index in rng.permutation(len(names)):
            timed, repeats = chosen[names[index]]
            timed.run(1)  # what the one before has driven out of the caches
            found[names[index]]["ns"].append(1e9 * timed.run(repeats) / repeats / timed.units)
    return found


def _fastest(variants: Iterable[Callable[[], Timed]], slot_s: float) -> tuple[tuple[Timed, int] | None, str]:
    """The fastest variant, and how often to repeat it; without one, why."""
    best: tuple[Timed, int] | None = None
    best_s, reason = float("inf"), "not available here"
    iterator = iter(variants)
    while True:
        try:
            timed = next(iterator)()
            timed.run(1)  # allocates, compiles, fills caches
        except StopIteration:
            return best, reason
        except (ValueError, RuntimeError, ImportError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            continue
        repeats, seconds = 1, timed.run(1)
        while seconds < slot_s / 4 and repeats < MAX_REPEATS:
            repeats = min(MAX_REPEATS, max(2 * repeats, int(repeats * slot_s / 2 / max(seconds, 1e-9))))
            seconds = timed.run(repeats)
        if seconds < 4 * slot_s:  # again: one disturbance does not decide
            seconds = min(seconds, timed.run(repeats), timed.run(repeats))
        per_unit = seconds / repeats / timed.units
        if per_unit < best_s:
            best, best_s = (timed, max(1, round(slot_s * repeats / seconds))), per_unit
