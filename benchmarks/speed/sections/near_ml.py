# SPDX-License-Identifier: GPL-3.0-or-later
"""What near-maximum-likelihood detection costs: the list detectors from y and H to LLRs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq import native
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from ..data import Link
from ..results import INT8_LLRS, KBEST, LMMSE, size, time_of, times_as_long
from ..settings import Settings
from ..timing import measure as measure_side_by_side
from ..timing import number

TITLE = "Near maximum likelihood"

LISTS = ("list8-16qam", "list16-16qam")
SIZES = ((2, 2), (4, 4), (8, 8), (16, 16), (16, 4), (64, 16))
VECTORS = (1, 14)
NUM_CHANNELS = 64
FRAME = (4, 4, 528, 1)
"""num_rx, num_tx, channels and vectors of a frame of the receiver, of which every channel is estimated."""
QUICK_CASES = ((4, 4, 16, 1),)
NAMES = (*LISTS, INT8_LLRS, LMMSE, KBEST)


def measure(settings: Settings) -> dict[str, Any]:
    """Time all contestants, one size and T after the other, and each instruction set."""
    cases = [(*of, NUM_CHANNELS, count) for of in SIZES for count in VECTORS] + [FRAME]
    rng = np.random.default_rng(settings.seed)
    points = []
    for num_rx, num_tx, num_channels, num_vectors in progress_bar(
        settings.pick(cases, list(QUICK_CASES)), desc="near_ml"
    ):
        link = Link(num_rx, num_tx, num_channels, num_vectors, settings.seed)
        results = measure_side_by_side(_contestants(link), settings.num_rounds(7), settings.slot_s, rng)
        keys = {"num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors, "num_channels": num_channels}
        points.append({**keys, "results": results})
    return {"points": points, "instruction_sets": native.instruction_sets()}


def _contestants(link: Link) -> dict[str, c.Variants]:
    first, *others = native.instruction_sets()
    found = {name: c.our_list(name, link, first) for name in LISTS}
    found |= {_with(LISTS[0], name): c.our_list(LISTS[0], link, name) for name in others}
    return found | {
        INT8_LLRS: c.ours(c.ADMM, link, precision="int8", with_llrs=True),
        LMMSE: c.ours(c.LMMSE, link, with_llrs=True),
        KBEST: c.sionna_detector("sionna-kbest64", link),
    }


def _with(name: str, instruction_set: str) -> str:
    return f"{name}, {instruction_set}"


def markdown(data: dict[str, Any]) -> str:
    """Nanoseconds, ratios, and instruction sets."""
    times, ratios, sets = [], [], []
    first, *others = data["instruction_sets"]
    for p in data["points"]:
        results, place = p["results"], [size(p), str(p["num_channels"]), str(p["num_vectors"])]
        found = (time_of(results, name) for name in NAMES)
        times.append([*place, *(number(t.median) if t else "-" for t in found)])
        pairs = ((KBEST, LISTS[0]), (LISTS[0], LMMSE), (LISTS[1], LISTS[0]))
        ratios.append([*place, *(f"{r.median:.3g}" if (r := times_as_long(results, *pair)) else "-" for pair in pairs)])
        compared = (times_as_long(results, _with(LISTS[0], name), LISTS[0]) for name in others)
        sets.append([*place, *(f"{r.median:.3g}" if r else "-" for r in compared)])
    head = ("size", "channels", "T")
    return md.joined(
        "From received vectors and channels to LLRs, through the Python API as the block calls it, on one core. "
        "Nanoseconds per vector, medians:",
        md.table((*head, *NAMES), times),
        "How many times as long: Sionna's K-best 64 over the list of 8, the list of 8 over LMMSE, the list of 16 over "
        "that of 8:",
        md.table((*head, f"{KBEST} / list8", f"list8 / {LMMSE}", "list16 / list8"), ratios),
        f"The list of 8 with other instruction sets over {first}:",
        md.table((*head, *others), sets),
        md.figure("near_ml", "Nanoseconds per vector over the size"),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Nanoseconds by size, a panel per T."""
    figure, axes = plots.axes(2, width=4.8)
    for axis, num_vectors in zip(axes[0], VECTORS, strict=True):
        points = [p for p in data["points"] if p["num_vectors"] == num_vectors and p["num_channels"] != FRAME[2]]
        for index, name in enumerate(NAMES):
            found = [(i, t.median) for i, p in enumerate(points) if (t := time_of(p["results"], name))]
            look = {"color": plots.COLOURS[index], "marker": plots.MARKERS[index], "label": name}
            axis.plot([i for i, _ in found], [t for _, t in found], linestyle="none", **look)
        axis.set(yscale="log", ylabel="ns per vector", title=f"T = {num_vectors}")
        axis.set_xticks(range(len(points)), [size(p) for p in points])
        plots.grid(axis)
        plots.legend(axis)
    return [plots.save(figure, folder, "near_ml")]
