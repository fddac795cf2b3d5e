# SPDX-License-Identifier: GPL-3.0-or-later
"""How long what `auto` and `auto-fast` take needs, from y and H to LLRs: the times of docs/guide/detectors.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gr_kaq
from benchmarks.report import markdown as md
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from ..data import Link
from ..results import size, time_of
from ..settings import Settings
from ..timing import measure as measure_side_by_side
from ..timing import number

TITLE = "What auto takes"

SIZES = ((2, 2), (4, 4), (8, 8), (16, 16), (16, 4), (64, 16))
CONSTELLATIONS = ("qpsk", "16qam", "64qam", "256qam")
VECTORS = (14, 1)
QUICK_CASES = ((4, 4, "16qam"),)


def measure(settings: Settings) -> dict[str, Any]:
    """Time the detectors that either name chooses and LMMSE, one size and constellation after the other."""
    cases = [(*of, constellation) for constellation in CONSTELLATIONS for of in SIZES]
    rng = np.random.default_rng(settings.seed)
    points = []
    for num_rx, num_tx, constellation in progress_bar(settings.pick(cases, list(QUICK_CASES)), desc="choice"):
        names = {n: _chosen(n, constellation, num_rx, num_tx) for n in ("auto", "auto-fast")}
        num_channels = settings.pick(528 if num_tx <= 4 else 128, 16)
        for num_vectors in VECTORS:
            link = Link(num_rx, num_tx, num_channels, num_vectors, settings.seed)
            contestants = {
                name: c.ours(name, link, constellation=constellation, with_llrs=True)
                for name in dict.fromkeys([*names.values(), c.LMMSE])
            }
            results = measure_side_by_side(contestants, settings.num_rounds(7), settings.slot_s, rng)
            keys = {"num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors, "num_channels": num_channels}
            points.append({**keys, "constellation": constellation, "names": names, "results": results})
    return {"points": points}


def _chosen(name: str, constellation: str, num_rx: int, num_tx: int) -> str:
    return gr_kaq.load_detector(name, constellation=constellation).at_size(num_rx, num_tx).name


def markdown(data: dict[str, Any]) -> str:
    """Nanoseconds of each choice."""
    rows = []
    for many in data["points"]:
        if many["num_vectors"] != VECTORS[0]:
            continue
        (one,) = (p for p in data["points"] if _place(p) == _place(many) and p["num_vectors"] == VECTORS[1])
        row = [size(many), many["constellation"], str(many["num_channels"])]
        for name in ("auto", "auto-fast"):
            detector = many["names"][name]
            row += [f"`{detector}`", _times(many, one, detector)]
        rows.append([*row, _times(many, one, c.LMMSE)])
    head = ("size", "constellation", "subcarriers", "auto takes", "ns", "auto-fast takes", "ns", "lmmse, ns")
    return md.joined(
        "Nanoseconds per vector from samples and channel estimates to symbols and LLRs, through the Python API as the "
        "block calls it, on one core. In front, 14 vectors share an estimate; in brackets, each has its own.",
        md.table(head, rows),
    )


def _place(point: dict[str, Any]) -> tuple[Any, ...]:
    return point["num_rx"], point["num_tx"], point["constellation"]


def _times(many: dict[str, Any], one: dict[str, Any], detector: str) -> str:
    found = [time_of(p["results"], detector) for p in (many, one)]
    return "{} ({})".format(*(number(t.median) if t else "-" for t in found))


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """None: the table says it."""
    return []
