# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the kernel aims at, one by one, from the other sections' data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import markdown as md

from .. import contestants as c
from ..results import (
    EP,
    LMMSE,
    NUMPY,
    NUMPY_DOUBLE,
    OURS,
    OURS_CPP,
    OURS_LMMSE,
    PGD_CPP,
    TORCH_CHOLESKY,
    TORCH_INVERSE,
    times_as_long,
)
from ..settings import ROOT
from ..timing import Spread, number
from . import latency, roofline

TITLE = "Appendix: the aims, met and not met"

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
    """

    key: str
    text: str
    limit: float
    value: Spread | None
    at_most: bool = False
    percent: bool = False
    note: str = ""

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
    return [*_layers(sections), *_detectors(sections), *_flowgraph(sections)]


def _layers(sections: Sections) -> Iterator[Claim]:
    data = sections.get("roofline")
    for num_vectors in (14, 112):
        point = _point(data, 16, 16, num_vectors)
        where = f"16x16, T = {num_vectors}"
        faster = roofline.speedup(point) if point else None
        yield Claim("layers", f"integer layers at least 4 times as fast as in fp32, {where}", 4, faster)
        share = roofline.share_of_peak(data, point) if data and point else None
        yield Claim("peak", f"integer layers at 35 % of the int8 peak or more, {where}", 0.35, share, percent=True)


def _detectors(sections: Sections) -> Iterator[Claim]:
    data = sections.get("table")

    def compared(num_vectors: int, slower: str, faster: str, size: tuple[int, int] = (16, 16)) -> Spread | None:
        point = _point(data, *size, num_vectors)
        return times_as_long(point["results"], slower, faster) if point else None

    at_14, at_1 = "from y and H to symbols, 16x16, T = 14", "from y and H to symbols, 16x16, T = 1"
    yield Claim("numpy", f"{at_14}: at least 10 times as fast as NumPy's batched LMMSE", 10, compared(14, NUMPY, OURS))
    yield Claim(
        "numpy-double", "the same against `gr_kaq.detection.linear`, which prepares in double precision", 10,
        compared(14, NUMPY_DOUBLE, OURS),
    )  # fmt: skip
    for num_rx, num_tx in ((4, 4), (16, 16)):
        yield Claim(
            "lmmse-numpy", f"`lmmse` with LLRs at least 8 times as fast as NumPy's, {num_rx}x{num_tx}, T = 14",
            8, compared(14, NUMPY, OURS_LMMSE, (num_rx, num_tx)),
        )  # fmt: skip
    fastest = min(
        (found for name in (TORCH_CHOLESKY, TORCH_INVERSE) if (found := compared(14, name, OURS))),
        key=lambda found: found.median,
        default=None,
    )
    yield Claim("torch", f"{at_14}: at least 20 times as fast as torch's", 20, fastest)
    yield Claim(
        "torch-cholesky", f"{at_1}: at least 5 times as fast as torch's batched Cholesky LMMSE", 5,
        compared(1, TORCH_CHOLESKY, OURS),
    )  # fmt: skip
    yield Claim("ep", f"{at_1}: at least 200 times as fast as Sionna's EP x10", 200, compared(1, EP, OURS))
    yield Claim("ep", f"{at_14}: at least 1000 times as fast as Sionna's EP x10", 1000, compared(14, EP, OURS))
    for num_vectors in (14, 112, 896):
        text = f"at most 1.5 times the time of our own fp32 LMMSE kernel, 16x16, T = {num_vectors}"
        yield Claim("lmmse", text, 1.5, compared(num_vectors, OURS_CPP, LMMSE), at_most=True)
    for num_vectors in (1, 14, 112, 896):
        text = f"PGD-Net int8 at 64x16 faster than our own fp32 LMMSE kernel, T = {num_vectors}"
        value = compared(num_vectors, LMMSE, PGD_CPP, (64, 16))
        yield Claim("pgd", text, 1, value, note=_ber_of_pgd() if num_vectors == 1 else "")


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


def _ber_of_pgd() -> str:
    """From the model file: at how many points it is better than LMMSE."""
    points = [p for p in c.load_model(c.PGD).measured_ber if (p["num_rx"], p["num_tx"]) == (64, 16)]
    better = sum(p["bit_errors"] <= p["lmmse_bit_errors"] for p in points)
    return f"fewer bit errors than LMMSE at {better} of {len(points)} points of the model file"


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
            {"key": x.key, "claim": x.text, "answer": x.answer, "measured": x.shown, "limit": x.limit}
            for x in claims(sections)
        ]
    }


def markdown(data: dict[str, Any], reason_of: Callable[[], dict[str, str]] = reasons) -> str:
    """A table; below it why, once for each key with an aim that is not met."""
    rows = [(x["claim"], x["answer"], x["measured"]) for x in data["claims"]]
    missed = dict.fromkeys(x["key"] for x in data["claims"] if x["answer"].startswith(NOT_MET))
    known = reason_of()
    why = "\n".join(f"- *{key}*: {known.get(key, 'no reason is written down yet.')}" for key in missed)
    return md.joined(
        "What the kernel aims at, and what was measured: medians over the rounds. The smallest and the "
        "largest ratio within a round are in brackets; 'rounds disagree' says that the aim lies between them.",
        md.table(("aim", "answer", "measured"), rows),
        f"Why the others are not met:\n\n{why}" if why else "",
    )
