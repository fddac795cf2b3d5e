# SPDX-License-Identifier: GPL-3.0-or-later
"""How the cost grows with the number of streams, and how it falls with the vectors that share an estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from ..data import Link
from ..results import FP32, INT8, LMMSE, NUMPY, time_of
from ..settings import Settings
from ..timing import measure as measure_side_by_side
from ..timing import number

TITLE = "How the cost grows"

NUM_CHANNELS = 64
STREAMS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
VECTORS = (1, 2, 4, 7, 14, 28, 56, 112, 224, 448, 896, 1792)
NAMES = (INT8, FP32, LMMSE, NUMPY)
COMMON_T, COMMON_STREAMS = 14, 16


def measure(settings: Settings) -> dict[str, Any]:
    """Time the contestants along both curves."""
    rng = np.random.default_rng(settings.seed)
    model = c.load_model(c.ADMM, any_size=True)  # more streams than it was trained for: the time is the same
    curves: dict[str, list[dict[str, Any]]] = {"num_tx": [], "num_vectors": []}
    cases = [("num_tx", n, COMMON_T) for n in settings.pick(STREAMS, (2, 4))]
    cases += [("num_vectors", COMMON_STREAMS, t) for t in settings.pick(VECTORS, (1, 4))]
    for curve, num_tx, num_vectors in progress_bar(cases, unit="point", desc="growth"):
        link = Link(num_tx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        contestants = {
            INT8: c.unfolded(model, link, "int8"),
            FP32: c.unfolded(model, link, "fp32"),
            LMMSE: c.ours(c.LMMSE, link),
            NUMPY: c.numpy_lmmse(link),
        }
        results = measure_side_by_side(contestants, settings.num_rounds(5), settings.slot_s / 2, rng)
        curves[curve].append({"num_tx": num_tx, "num_vectors": num_vectors, "results": results})
    return {"curves": curves}


def exponent(points: list[dict[str, Any]], name: str) -> float | None:
    """Of num_tx, from the last octave of the curve."""
    found = [(p["num_tx"], t.median) for p in points if (t := time_of(p["results"], name))]
    if len(found) < 2:
        return None
    last = [(n, t) for n, t in found if n >= found[-1][0] / 2]
    first = last[0] if len(last) > 1 else found[-2]
    return float(np.log(found[-1][1] / first[1]) / np.log(found[-1][0] / first[0]))


def markdown(data: dict[str, Any]) -> str:
    """Both curves as tables."""
    parts = []
    for curve, first, fixed in (
        ("num_tx", "num_tx = num_rx", f"T = {COMMON_T}"),
        ("num_vectors", "T", f"{COMMON_STREAMS}x{COMMON_STREAMS}"),
    ):
        rows = []
        for p in data["curves"][curve]:
            times = (time_of(p["results"], name) for name in NAMES)
            rows.append([str(p[curve]), *(number(t.median) if t else "-" for t in times)])
        parts += [f"Nanoseconds per vector, {fixed}:", md.table((first, *NAMES), rows)]
    grows = {name: exponent(data["curves"]["num_tx"], name) for name in NAMES}
    text = ", ".join(f"{name} {e:.1f}" for name, e in grows.items() if e is not None)
    return md.joined(
        *parts,
        f"In the last octave of num_tx the time grows with this power of it: {text}.",
        md.figure("growth", "Nanoseconds per vector over the number of streams and over vectors per estimate"),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Two panels."""
    figure, axes = plots.axes(2, width=4.8)
    labels = {"num_tx": "streams = antennas", "num_vectors": "vectors per estimate"}
    for axis, (curve, points) in zip(axes[0], data["curves"].items(), strict=True):
        for index, name in enumerate(NAMES):
            found = [(p[curve], t.median) for p in points if (t := time_of(p["results"], name))]
            look = {"color": plots.COLOURS[index], "marker": plots.MARKERS[index], "markersize": 4, "label": name}
            axis.plot([x for x, _ in found], [t for _, t in found], **look)
        axis.set(xscale="log", yscale="log", xlabel=labels[curve], ylabel="ns per vector")
        plots.grid(axis)
        plots.legend(axis)
    axes[0][0].set_title(f"T = {COMMON_T}", fontsize="medium")
    axes[0][1].set_title(f"{COMMON_STREAMS}x{COMMON_STREAMS}", fontsize="medium")
    return [plots.save(figure, folder, "growth")]
