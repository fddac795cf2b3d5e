# SPDX-License-Identifier: GPL-3.0-or-later
"""Every contestant at every size and number of vectors per estimate; first, the same network in int8 and in fp32."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from .. import limits
from ..data import Link
from ..results import (
    EP,
    FP32,
    INT8,
    INT8_LLRS,
    KBEST,
    LIST,
    LMMSE,
    NUMPY,
    SIONNA_LMMSE,
    TORCH_CHOLESKY,
    TORCH_INVERSE,
    size,
    time_of,
    times_as_long,
)
from ..settings import Settings
from ..timing import measure as measure_side_by_side
from ..timing import number, spread

TITLE = "Vectors per second"

SIZES = ((2, 2), (4, 4), (8, 8), (16, 16), (16, 4), (64, 16))
VECTORS = (1, 14, 112, 896)
QUICK_SIZES, QUICK_VECTORS = ((4, 4), (16, 4)), (1, 14)
NUM_CHANNELS = 64

NAMES = (
    INT8, INT8_LLRS, FP32, LMMSE, LIST,
    NUMPY, TORCH_CHOLESKY, TORCH_INVERSE, SIONNA_LMMSE, EP, KBEST,
)  # fmt: skip
PLOTTED = (INT8, FP32, LMMSE, LIST, NUMPY, TORCH_CHOLESKY, SIONNA_LMMSE, EP, KBEST)
OTHERS = (LMMSE, LIST, NUMPY, TORCH_CHOLESKY, SIONNA_LMMSE, EP, KBEST)


def measure(settings: Settings) -> dict[str, Any]:
    """Time all contestants, one size and T after the other."""
    sizes = settings.pick(SIZES, QUICK_SIZES)
    vectors = settings.pick(VECTORS, QUICK_VECTORS)
    rng = np.random.default_rng(settings.seed)
    points = []
    for (num_rx, num_tx), num_vectors in progress_bar(
        list(itertools.product(sizes, vectors)), unit="point", desc="table"
    ):
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        side_by_side = contestants(link) | limits.contestants()
        results = measure_side_by_side(side_by_side, settings.num_rounds(7), settings.slot_s, rng)
        keys = {"num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors, "num_channels": NUM_CHANNELS}
        points.append({**keys, "results": results})
    return {
        "points": points,
        "bits_per_symbol": c.BITS,
        "model": c.ADMM,
        "num_layers": len(c.load_model(c.ADMM).layers),
    }


def contestants(link: Link) -> dict[str, c.Variants]:
    """By the name that tables show."""
    return {
        INT8: c.ours(c.ADMM, link, precision="int8"),
        INT8_LLRS: c.ours(c.ADMM, link, precision="int8", with_llrs=True),
        FP32: c.ours(c.ADMM, link, precision="fp32"),
        LMMSE: c.ours(c.LMMSE, link),
        LIST: c.ours(c.LIST, link),
        NUMPY: c.numpy_lmmse(link),
        TORCH_CHOLESKY: c.torch_lmmse(link, "cholesky"),
        TORCH_INVERSE: c.torch_lmmse(link, "inverse"),
        SIONNA_LMMSE: c.sionna_lmmse(link),
        EP: c.sionna_detector("sionna-ep10", link),
        KBEST: c.sionna_detector("sionna-kbest64", link),
    }


def work(data: dict[str, Any], point: dict[str, Any], *, layers: bool = True) -> dict[str, float]:
    """Multiply-adds of a vector, stage by stage; without layers, LMMSE's."""
    count = data["num_layers"] if layers else 0
    return limits.multiply_adds(point["num_rx"], point["num_tx"], point["num_vectors"], count)


def markdown(data: dict[str, Any]) -> str:
    """int8 beside fp32; our rates, and how many times as long the others take; then nanoseconds of all."""
    points = data["points"]
    shown = [name for name in NAMES if any(time_of(p["results"], name) for p in points)]
    precisions, rates, times = [], [], []
    for p in points:
        place, results = [size(p), str(p["num_vectors"])], p["results"]
        int8, fp32 = time_of(results, INT8), time_of(results, FP32)
        times.append([*place, *(number(t.median) if (t := time_of(results, name)) else "-" for name in shown)])
        if int8 is None or fp32 is None:
            continue
        ratios = times_as_long(results, FP32, INT8), times_as_long(results, INT8, FP32)
        best = limits.best_ratio(results, work(data, p))
        precisions.append(
            [
                *place,
                number(int8.median),
                number(fp32.median),
                *(r.text() if r else "-" for r in ratios),
                number(best.median) if best else "-",
            ]
        )
        bits = p["num_tx"] * data["bits_per_symbol"]
        others = (times_as_long(results, name, INT8) for name in OTHERS)
        rates.append(
            [
                *place,
                f"{1e3 / int8.median:.3g}",
                f"{bits / int8.median:.3g}",
                *(f"{r.median:.3g}" if r else "-" for r in others),
            ]
        )
    missing = {
        name: p["results"][name]["missing"] for p in points for name in NAMES if "missing" in p["results"].get(name, {})
    }
    head = ("size", "T")
    return md.joined(
        f"The network of `{data['model']}` in int8 and in fp32, in nanoseconds per vector{_clock(points)}. Then, how "
        "many times as long each takes as the other. At best, fp32 takes as many times as long as the last column "
        "says: if either did nothing but multiply and add, as fast as this processor can.",
        md.table((*head, "int8 (ns)", "fp32 (ns)", "fp32 / int8", "int8 / fp32", "fp32 / int8 at best"), precisions),
        "How many vectors KAQ int8 detects in a second, on one core, and how many coded bits that is. Then, how many "
        "times as long others take: above 1, KAQ int8 is faster.",
        md.table((*head, "10^6 vectors/s", "Gb/s", *(f"{n} / KAQ int8" for n in OTHERS)), rates),
        md.figure("table", "Vectors per second and core over the number of vectors that share a channel"),
        f"All of them in nanoseconds per vector, medians ({NUM_CHANNELS} channels per estimate):",
        md.table((*head, *shown), times),
        "\n".join(f"- Without {name}: {why}." for name, why in missing.items()),
    )


def _clock(points: list[dict[str, Any]]) -> str:
    found = [ghz for p in points if (ghz := limits.clock_ghz(p["results"]))]
    return f" on a core that was found to run at {spread(found).median:.2f} GHz" if found else ""


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Rates over T, a panel per size."""
    points = data["points"]
    sizes = list(dict.fromkeys(size(p) for p in points))
    columns = min(3, len(sizes))
    figure, axes = plots.axes(columns + 1, -(-len(sizes) // columns), width=3.8, height=3.3)
    panels = list(axes[:, :columns].flat)
    for axis, which in zip(panels, sizes, strict=False):
        for index, name in enumerate(PLOTTED):
            found = [(p["num_vectors"], t) for p in points if size(p) == which and (t := time_of(p["results"], name))]
            if not found:
                continue
            low, high = ([1e9 / getattr(t, end) for _, t in found] for end in ("high", "low"))
            middle = [1e9 / t.median for _, t in found]
            colour = "#000000" if name == INT8 else plots.COLOURS[index % len(plots.COLOURS)]
            axis.fill_between([n for n, _ in found], low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(
                [n for n, _ in found], middle, color=colour, marker=plots.MARKERS[index % 8], markersize=4, label=name
            )
        axis.set(xscale="log", yscale="log", xlabel="vectors per estimate")
        axis.set_title(which, fontsize="medium")
        plots.grid(axis)
    panels[0].set_ylabel("vectors per second")
    for axis in (*panels[len(sizes) :], *axes[:, columns]):
        axis.set_axis_off()
    handles, labels = max((axis.get_legend_handles_labels() for axis in panels), key=lambda found: len(found[1]))
    axes[0][columns].legend(handles, labels, loc="upper left", fontsize="small", frameon=False)
    return [plots.save(figure, folder, "table")]
