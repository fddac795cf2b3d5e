# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the kernel aims at, one by one, from the other sections' data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import markdown as md

from .. import limits
from ..results import FP32, INT8, LMMSE, NUMPY, rounds, size, times_as_long
from ..settings import ROOT
from ..timing import Spread, number, ratio, spread
from . import latency, table

TITLE = "The aims, met and not met"

CLOCK_GHZ = 2.8
"""Of the core that the aims in nanoseconds are for."""

REASONS = ROOT / "docs" / "guide" / "performance" / "reasons.md"
"""Why a figure is not met: a heading with the claim's key, then a paragraph."""

MET, NOT_MET, NOT_MEASURED = "met", "**not met**", "not measured"

Sections = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A figure and what was measured.

    Args:
        key: of its reason in REASONS.
        text: what is aimed at.
        limit: of the value.
        value: what was measured; None where it was not.
        at_most: whether the limit is the largest value, and not the smallest.
        percent: whether to show it in per cent.
        note: what belongs to the value.
        best: what the processor allows, if nothing but multiply-adds took time; None where that says nothing.
    """

    key: str
    text: str
    limit: float
    value: Spread | None
    at_most: bool = False
    percent: bool = False
    note: str = ""
    best: float | None = None

    @property
    def answer(self) -> str:
        """By the median; whether the rounds agree is added."""
        if self.value is None:
            return NOT_MEASURED

        def holds(value: float) -> bool:
            return value <= self.limit if self.at_most else value >= self.limit

        agree = holds(self.value.low) == holds(self.value.high)
        return (MET if holds(self.value.median) else NOT_MET) + ("" if agree else " (rounds disagree)")

    @property
    def shown(self) -> str:
        """The value with its range over the rounds."""
        if self.value is None:
            return "-"
        factor, unit = (100, " %") if self.percent else (1, "")
        low, middle, high = (number(factor * v) for v in (self.value.low, self.value.median, self.value.high))
        return f"{middle}{unit} [{low}, {high}]" + (f"; {self.note}" if self.note else "")


def claims(sections: Sections) -> list[Claim]:
    """Every figure."""
    return [*_precisions(sections), *_times(sections), *_lmmse(sections), *_flowgraph(sections)]


def _precisions(sections: Sections) -> Iterator[Claim]:
    """int8 beside fp32."""
    data = sections.get("table")
    for num_rx, num_tx in ((16, 16), (64, 16)):
        for num_vectors in table.VECTORS if num_rx > num_tx else table.VECTORS[1:]:
            point = _point(data, num_rx, num_tx, num_vectors)
            best = limits.best_ratio(point["results"], table.work(data, point)) if data and point else None
            yield Claim(
                "int8",
                f"int8 at least 1.5 times as fast as fp32, {num_rx}x{num_tx}, T = {num_vectors}",
                1.5,
                times_as_long(point["results"], FP32, INT8) if point else None,
                best=best.median if best else None,
            )
    found = [
        (value, f"at {size(p)}, T = {p['num_vectors']}, where it is least")
        for p in (data or {}).get("points", ())
        if (value := times_as_long(p["results"], FP32, INT8))
    ]
    value, note = min(found, key=lambda item: item[0].median, default=(None, ""))
    yield Claim("never-slower", "int8 not slower than fp32 at any size and T: fp32 / int8", 1, value, note=note)


def _times(sections: Sections) -> Iterator[Claim]:
    """Nanoseconds per vector, as a core with CLOCK_GHZ would have them."""
    data = sections.get("table")
    for num_streams, num_vectors, limit in ((4, 14, 40), (16, 14, 140), (16, 1, 900)):
        point = _point(data, num_streams, num_streams, num_vectors)
        value, note, best = None, "", None
        if data and point and (ns := rounds(point["results"], INT8)) and (ghz := limits.clock_ghz(point["results"])):
            value = spread([ns_of_round * ghz / CLOCK_GHZ for ns_of_round in ns])
            note = f"{number(spread(ns).median)} ns at {ghz:.2f} GHz"
            if at_best := limits.at_best(point["results"], table.work(data, point), "int8"):
                best = spread(at_best).median * ghz / CLOCK_GHZ
        text = (
            f"int8 at most {limit} ns per vector on a core of {CLOCK_GHZ} GHz, {num_streams}x{num_streams}, "
            f"T = {num_vectors}"
        )
        yield Claim("time", text, limit, value, at_most=True, note=note, best=best)


def _lmmse(sections: Sections) -> Iterator[Claim]:
    """LMMSE beside NumPy's."""
    data = sections.get("table")
    for num_streams in (4, 16):
        point = _point(data, num_streams, num_streams, 14)
        value = times_as_long(point["results"], NUMPY, LMMSE) if point else None
        best = None
        if data and point and value:
            at_best = limits.at_best(point["results"], table.work(data, point, layers=False))
            best = ratio(rounds(point["results"], NUMPY) or [], at_best).median if at_best else None
        text = f"LMMSE at least 8 times as fast as NumPy's in its fastest form, {num_streams}x{num_streams}, T = 14"
        yield Claim("lmmse", text, 8, value, best=best)


def _flowgraph(sections: Sections) -> Iterator[Claim]:
    data = sections.get("latency")
    measured = latency.sizes(data) if data else {}
    for (num_rx, num_tx), limit in (((16, 16), 0.8), ((4, 4), 0.85)):
        rates = measured.get((num_rx, num_tx), {}).get(latency.DETECTORS[0], {})
        for kind in (latency.SYMBOLS, latency.LLRS):
            text = (
                f"{num_rx}x{num_tx} with vector ports: flowgraph at {100 * limit:.0f} % of the bare kernel or more, "
                f"{kind}"
            )
            yield Claim("flowgraph", text, limit, latency.share(rates, latency.VECTOR, kind), percent=True)


def _point(data: dict[str, Any] | None, num_rx: int, num_tx: int, num_vectors: int) -> dict[str, Any] | None:
    """The first point of a section with this size and T."""
    wanted = (num_rx, num_tx, num_vectors)
    found = (p for p in (data or {}).get("points", ()) if (p["num_rx"], p["num_tx"], p["num_vectors"]) == wanted)
    return next(found, None)


def reasons(path: Path = REASONS) -> dict[str, str]:
    """By the claim's key."""
    if not path.exists():
        return {}
    parts = re.split(r"^## +(\S+)\s*$", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {key: " ".join(text.split()) for key, text in zip(parts[::2], parts[1::2], strict=True)}


def derive(sections: Sections) -> dict[str, Any]:
    """The answers, for the JSON."""
    return {
        "claims": [
            {
                "key": x.key,
                "claim": x.text,
                "answer": x.answer,
                "measured": x.shown,
                "at_best": number(x.best) if x.best is not None else "-",
                "limit": x.limit,
            }
            for x in claims(sections)
        ]
    }


def markdown(data: dict[str, Any], reason_of: Callable[[], dict[str, str]] = reasons) -> str:
    """A table; below it why, once for each key with an aim that is not met."""
    rows = [(x["claim"], x["answer"], x["measured"], x["at_best"]) for x in data["claims"]]
    missed = dict.fromkeys(x["key"] for x in data["claims"] if x["answer"].startswith(NOT_MET))
    known = reason_of()
    why = "\n".join(f"- *{key}*: {known.get(key, 'no reason is written down yet.')}" for key in missed)
    return md.joined(
        "What was measured are medians over the rounds. The smallest and the largest value of a round are in "
        "brackets; 'rounds disagree' says that the aim lies between them. Nanoseconds are those that were measured, "
        f"times the clock that was measured, over {CLOCK_GHZ} GHz. At best, nothing but multiply-adds takes time, as "
        "fast as this processor can; for a ratio of two of our detectors, of both.",
        md.table(("aim", "answer", "measured", "at best"), rows),
        f"Why the others are not met:\n\n{why}" if why else "",
    )
