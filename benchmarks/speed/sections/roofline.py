# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers in int8 and in fp32 against what the processor itself shows in the same run.

A layer is counted as (2 num_tx)^2 multiply-adds. Compulsory traffic is what has to move at least once: the matrix once
per estimate, b and the output once per vector.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from .. import limits
from ..data import Link
from ..results import size, time_of, times_as_long
from ..settings import Settings
from ..timing import Spread, number, ratio, spread
from ..timing import measure as measure_side_by_side
from .stages import PRECISIONS, layers_alone

TITLE = "The layers and the processor's limits"

NUM_CHANNELS = 64
PGD = "pgd8-16qam"
CASES = (
    (c.ADMM, 16, 16, 1),
    (c.ADMM, 16, 16, 14),
    (c.ADMM, 16, 16, 112),
    (c.ADMM, 16, 16, 896),
    (c.ADMM, 2, 2, 112),
    (c.ADMM, 4, 4, 112),
    (c.ADMM, 8, 8, 112),
    (PGD, 64, 16, 14),
    (PGD, 64, 16, 112),
)
INT8, FP32 = "int8 layers", "fp32 layers"
LEVELS = {"L1": 16 << 10, "L2": 512 << 10, "L3": 8 << 20, "memory": 256 << 20}
"""Bytes that are read again and again."""


def measure(settings: Settings) -> dict[str, Any]:
    """Time the layers side by side with the processor's peaks, then its read bandwidths."""
    rng = np.random.default_rng(settings.seed)
    points = []
    for name, num_rx, num_tx, num_vectors in progress_bar(
        settings.pick(CASES, CASES[1:2]), unit="case", desc="roofline"
    ):
        model = c.load_model(name)
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        contestants = {f"{precision} layers": layers_alone(model, link, precision) for precision in PRECISIONS}
        results = measure_side_by_side(
            contestants | limits.contestants(), settings.num_rounds(15), settings.slot_s, rng
        )
        keys = {"model": name, "num_layers": len(model.layers), "num_rx": num_rx, "num_tx": num_tx}
        points.append({**keys, "num_vectors": num_vectors, "num_channels": NUM_CHANNELS, "results": results})
    kernels, total = c.kernels(), settings.pick(1 << 30, 1 << 24)
    levels = settings.pick(LEVELS, {key: LEVELS[key] for key in ("L1", "L2")})
    rounds = settings.num_rounds(5)
    bandwidth = {
        level: [kernels.read_bandwidth(bytes_, total) for _ in range(rounds)] for level, bytes_ in levels.items()
    }
    return {"points": points, "bandwidth": bandwidth}


def multiply_adds(point: dict[str, Any]) -> int:
    """Of a vector in all layers."""
    return int(point["num_layers"] * (2 * point["num_tx"]) ** 2)


def share_of_peak(point: dict[str, Any], precision: str) -> Spread | None:
    """How much of the peak the layers reach, round by round."""
    best = limits.peak(point["results"], precision)
    values = point["results"][f"{precision} layers"].get("ns")
    if best is None or not values:
        return None
    return ratio([multiply_adds(point) * p for p in best[1]], values)


def intensity(point: dict[str, Any], operand_bytes: int, state_bytes: int) -> float:
    """Multiply-adds per byte of compulsory traffic."""
    rows = 2 * point["num_tx"]
    traffic = rows**2 * operand_bytes / point["num_vectors"] + 2 * rows * state_bytes
    return multiply_adds(point) / traffic


def markdown(data: dict[str, Any]) -> str:
    """The layers' table, then the machine's."""
    rows = []
    for point in data["points"]:
        faster = times_as_long(point["results"], FP32, INT8)
        row = [point["model"], size(point), str(point["num_vectors"])]
        for name in (INT8, FP32):
            found = time_of(point["results"], name)
            row.append(number(found.median) if found else "-")
        row.append(faster.text() if faster else "-")
        for precision in PRECISIONS:
            share = share_of_peak(point, precision)
            row.append(f"{100 * share.median:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share else "-")
        rows.append(row)
    head = ("network", "size", "T", "int8 (ns)", "fp32 (ns)", "fp32 / int8", "of the int8 peak", "of the fp32 peak")
    results = data["points"][0]["results"]
    machine = [
        [name.removeprefix(f"{limits.PEAK} "), f"{1 / spread(of['ns']).median:.0f} x 10^9 multiply-adds/s"]
        for name, of in results.items()
        if name.startswith(limits.PEAK) and "ns" in of
    ]
    machine += [
        [f"read from {level}", f"{spread(values).median / 1e9:.0f} GB/s"] for level, values in data["bandwidth"].items()
    ]
    machine.append(["clock", f"{limits.clock_ghz(results):.2f} GHz"])
    return md.joined(
        f"All layers of a vector, without filter and output; {NUM_CHANNELS} channels with a matrix of their own.",
        md.table(head, rows),
        "What the processor reaches on one core:",
        md.table(("microbenchmark", ""), machine),
        md.figure("roofline", "Layers at 16x16 over multiply-adds per byte of compulsory traffic, for T vectors"),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Roofs and points."""
    figure, axes = plots.axes(1, width=6.4, height=4.4)
    axis = axes[0][0]
    xs = np.geomspace(0.1, 400, 200)
    first = data["points"][0]
    roofs = {of: best for of in ("int8", "int16", "fp32") if (best := limits.peak(first["results"], of))}
    top = max(1 / spread(ns).median for _, ns in roofs.values())
    for index, (level, values) in enumerate(data["bandwidth"].items()):
        line = spread(values).median / 1e9 * xs
        axis.plot(xs[line < top], line[line < top], color="0.55", linestyle=("-", "--", "-.", ":")[index], label=level)
    above = math.inf
    for rate, name in sorted(((1 / spread(ns).median, name) for name, ns in roofs.values()), reverse=True):
        axis.axhline(rate, color="0.2", linewidth=1)
        # roofs of about the same height have their names on either side
        axis.annotate(name, (0.11, rate), va="bottom" if above > 2 * rate else "top", fontsize="small")
        above = rate
    for index, (name, operand_bytes, state_bytes) in enumerate(((INT8, 1, 2), (FP32, 4, 4))):
        points = [p for p in data["points"] if size(p) == "16x16" and time_of(p["results"], name)]
        if not points:
            continue
        x = [intensity(p, operand_bytes, state_bytes) for p in points]
        y = [multiply_adds(p) / time_of(p["results"], name).median for p in points]  # type: ignore[union-attr]
        axis.plot(x, y, color=plots.COLOURS[index], marker=plots.MARKERS[index], linewidth=0.8, label=name)
        for place, (point, at) in enumerate(zip(points, zip(x, y, strict=True), strict=True)):
            side = (4, 5) if place % 2 else (4, -10)  # the last ones are next to each other
            axis.annotate(f"T={point['num_vectors']}", at, textcoords="offset points", xytext=side, fontsize="x-small")
    axis.set(xscale="log", yscale="log", xlabel="multiply-adds per byte", ylabel="10^9 multiply-adds per second")
    axis.set_ylim(1, 2 * top)
    plots.grid(axis)
    plots.legend(axis, loc="lower right")
    return [plots.save(figure, folder, "roofline")]
