# SPDX-License-Identifier: GPL-3.0-or-later
"""Every contestant at every size and number of vectors per estimate."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.report import markdown as md
from benchmarks.report import plots

from .. import contestants as c
from ..data import Link
from ..results import (
    EP,
    FP32,
    KBEST,
    LMMSE,
    NUMPY,
    NUMPY_DOUBLE,
    OURS,
    OURS_CPP,
    OURS_INT4,
    OURS_LLRS,
    OURS_LMMSE,
    PGD_CPP,
    PGD_FP32,
    SIONNA_LMMSE,
    TORCH_CHOLESKY,
    TORCH_INVERSE,
    size,
    time_of,
    times_as_long,
)
from ..settings import Settings
from ..timing import measure as measure_side_by_side
from ..timing import number

TITLE = "Vectors per second"

SIZES = ((2, 2), (4, 4), (8, 8), (16, 16), (16, 4), (64, 16))
VECTORS = (1, 14, 112, 896)
QUICK_SIZES, QUICK_VECTORS = ((4, 4), (16, 4)), (1, 14)
NUM_CHANNELS = 64
BITS = c.BITS

NAMES = (
    OURS, OURS_LLRS, OURS_INT4, OURS_LMMSE, OURS_CPP, PGD_CPP, FP32, PGD_FP32, LMMSE,
    NUMPY, NUMPY_DOUBLE, TORCH_CHOLESKY, TORCH_INVERSE, SIONNA_LMMSE, EP, KBEST,
)  # fmt: skip
PLOTTED = (OURS, PGD_CPP, FP32, LMMSE, NUMPY, TORCH_CHOLESKY, SIONNA_LMMSE, EP, KBEST)


def measure(settings: Settings) -> dict[str, Any]:
    """Time all contestants, one size and T after the other."""
    sizes = settings.pick(SIZES, QUICK_SIZES)
    vectors = settings.pick(VECTORS, QUICK_VECTORS)
    rng = np.random.default_rng(settings.seed)
    points = []
    for (num_rx, num_tx), num_vectors in tqdm(list(itertools.product(sizes, vectors)), unit="point", desc="table"):
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        results = measure_side_by_side(contestants(link), settings.num_rounds(7), settings.slot_s, rng)
        keys = {"num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors, "num_channels": NUM_CHANNELS}
        points.append({**keys, "results": results})
    return {"points": points, "bits_per_symbol": BITS, "models": [c.ADMM, c.PGD]}


def contestants(link: Link) -> dict[str, c.Variants]:
    """By the name that tables show."""
    admm, data = c.load_model(c.ADMM), c.native_data(link)
    found = {
        OURS: c.our_python(admm, link),
        OURS_LLRS: c.our_python(admm, link, with_llrs=True),
        OURS_INT4: c.our_python(c.with_bits(admm, 4), link),
        OURS_LMMSE: c.our_lmmse(link),
        OURS_CPP: c.our_kernel(admm, link, data),
        FP32: c.fp32_network(admm, link, data),
        LMMSE: c.lmmse_kernel(link, data),
        NUMPY: c.numpy_lmmse(link),
        NUMPY_DOUBLE: c.numpy_double(link),
        TORCH_CHOLESKY: c.torch_lmmse(link, "cholesky"),
        TORCH_INVERSE: c.torch_lmmse(link, "inverse"),
        SIONNA_LMMSE: c.sionna_lmmse(link),
        EP: c.sionna_detector("sionna-ep10", link),
        KBEST: c.sionna_detector("sionna-kbest64", link),
    }
    if link.num_rx >= 2 * link.num_tx:  # what PGD-Net is for
        pgd = c.load_model(c.PGD)
        found |= {PGD_CPP: c.our_kernel(pgd, link, data), PGD_FP32: c.fp32_network(pgd, link, data)}
    return found


def markdown(data: dict[str, Any]) -> str:
    """Our rates, and how many times as long the others take; then nanoseconds of all."""
    points = data["points"]
    shown = [name for name in NAMES if any(time_of(p["results"], name) for p in points)]
    rows = []
    for p in points:
        times = [time_of(p["results"], name) for name in shown]
        rows.append([size(p), str(p["num_vectors"]), *(number(t.median) if t else "-" for t in times)])
    rates = []
    for p in points:
        ours = time_of(p["results"], OURS)
        if ours is None:
            continue
        bits = p["num_tx"] * data["bits_per_symbol"]
        others = [times_as_long(p["results"], name, OURS) for name in (NUMPY, TORCH_CHOLESKY, SIONNA_LMMSE, EP, KBEST)]
        own = times_as_long(p["results"], OURS_CPP, LMMSE)
        rates.append(
            [
                size(p),
                str(p["num_vectors"]),
                f"{1e3 / ours.median:.3g}",
                f"{bits / ours.median:.3g}",
                *(f"{r.median:.3g}" if r else "-" for r in others),
                own.text() if own else "-",
            ]
        )
    missing = {
        name: p["results"][name]["missing"] for p in points for name in NAMES if "missing" in p["results"].get(name, {})
    }
    head = (
        "size",
        "T",
        "10^6 vectors/s",
        "Gb/s",
        *(f"{n} / KAQ" for n in (NUMPY, TORCH_CHOLESKY, SIONNA_LMMSE, EP, KBEST)),
    )
    return md.joined(
        "How many vectors KAQ int8 detects in a second, on one core, and how many coded bits that is. Then, how many "
        "times as long others take: above 1, KAQ is faster. The last column is the other way round: it has how many "
        "times as long our kernel takes as an LMMSE kernel in single precision.",
        md.table((*head, "KAQ (C++) / LMMSE (C++)"), rates),
        md.figure("table", "Vectors per second and core over the number of vectors that share a channel"),
        f"The same as nanoseconds per vector, medians ({NUM_CHANNELS} channels per estimate):",
        md.table(("size", "T", *shown), rows),
        "\n".join(f"- Without {name}: {why}." for name, why in missing.items()),
    )


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
            colour = "#000000" if name == OURS else plots.COLOURS[index % len(plots.COLOURS)]
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
