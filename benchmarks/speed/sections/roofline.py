# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers against what the processor itself shows in the same run, and against the same layers in single precision.

A layer is counted as (2 num_tx)^2 multiply-adds. Compulsory traffic is what has to move at least once: the matrix once
per estimate, b and the output once per vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.report import markdown as md
from benchmarks.report import plots

from .. import contestants as c
from ..data import Link
from ..results import size, time_of
from ..settings import Settings
from ..timing import Spread, Timed, number, ratio, spread
from ..timing import measure as measure_side_by_side

TITLE = "The layers and the processor's limits"

NUM_CHANNELS = 64
CASES = (
    (c.ADMM, 16, 16, 1),
    (c.ADMM, 16, 16, 14),
    (c.ADMM, 16, 16, 112),
    (c.ADMM, 16, 16, 896),
    (c.ADMM, 2, 2, 112),
    (c.ADMM, 4, 4, 112),
    (c.ADMM, 8, 8, 112),
    (c.PGD, 64, 16, 14),
    (c.PGD, 64, 16, 112),
)
INT8, FP32 = "int8 layers", "fp32 layers"
ITERATIONS = 1000  # of a microbenchmark's loop, some 50 microseconds
LEVELS = {"L1": 16 << 10, "L2": 512 << 10, "L3": 8 << 20, "memory": 256 << 20}
"""Bytes that are read again and again."""


def measure(settings: Settings) -> dict[str, Any]:
    """Time the layers side by side with the processor's peaks, then its read bandwidths and clock."""
    rng = np.random.default_rng(settings.seed)
    points = []
    for name, num_rx, num_tx, num_vectors in tqdm(settings.pick(CASES, CASES[1:2]), unit="case", desc="roofline"):
        model = c.load_model(name)
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        data = c.native_data(link)
        contestants = {
            INT8: our_layers(model, link, data),
            **{highway(kernel): our_layers(model, link, data, kernel) for kernel in c.kernels().highway_kernels()},
            FP32: c.fp32_network(model, link, data, layers_only=True),
            **peaks(),
        }
        results = measure_side_by_side(contestants, settings.num_rounds(15), settings.slot_s, rng)
        keys = {"model": name, "num_layers": len(model.layers), "num_rx": num_rx, "num_tx": num_tx}
        points.append({**keys, "num_vectors": num_vectors, "num_channels": NUM_CHANNELS, "results": results})
    kernels, total = c.kernels(), settings.pick(1 << 30, 1 << 24)
    levels = settings.pick(LEVELS, {key: LEVELS[key] for key in ("L1", "L2")})
    rounds = settings.num_rounds(5)
    bandwidth = {
        level: [kernels.read_bandwidth(bytes_, total) for _ in range(rounds)] for level, bytes_ in levels.items()
    }
    clock = [kernels.clock_rate(settings.pick(2_000_000, 10_000)) for _ in range(rounds)]
    operands = {dot.name: dot.operand for dot in kernels.dot_products()}
    return {"points": points, "bandwidth": bandwidth, "clock": clock, "operands": operands}


def highway(kernel: str) -> str:
    """Name of the integer layers over Highway, as a contestant."""
    return f"{INT8}, {kernel}"


def our_layers(model: Any, link: Link, data: Any, kernel: str = "") -> c.Variants:
    """The integer layers alone, on what the filter gave."""
    plan = c.kernels().Integer(c.native_network(model), data, kernel=kernel)
    plan.prepare(data, 1)
    plan.filter(data)
    yield lambda: Timed(plan.layers, link.vectors)


def peaks() -> dict[str, c.Variants]:
    """The instructions that multiply and add; a unit is one multiply-add."""

    def variants(index: int, multiply_adds: int) -> c.Variants:
        def run(repeats: int) -> float:
            return float(c.kernels().time_dot_product(index, ITERATIONS * repeats))

        yield lambda: Timed(run, ITERATIONS * multiply_adds)

    found = enumerate(c.kernels().dot_products())
    return {dot.name: variants(index, dot.multiply_adds) for index, dot in found if dot.available}


def peak(data: dict[str, Any], point: dict[str, Any], operand: str) -> tuple[str, list[float]] | None:
    """The fastest instruction for an operand, and its ns per multiply-add in each round."""
    found = [
        (name, point["results"][name]["ns"])
        for name, of in data["operands"].items()
        if of == operand and "ns" in point["results"].get(name, {})
    ]
    return min(found, key=lambda item: spread(item[1]).median, default=None)


def multiply_adds(point: dict[str, Any]) -> int:
    """Of a vector in all layers."""
    return int(point["num_layers"] * (2 * point["num_tx"]) ** 2)


def share_of_peak(data: dict[str, Any], point: dict[str, Any]) -> Spread | None:
    """How much of the int8 peak (of int16, where there is none) the integer layers reach, round by round."""
    best = peak(data, point, "int8") or peak(data, point, "int16")
    values = point["results"][INT8].get("ns")
    if best is None or not values:
        return None
    return ratio([multiply_adds(point) * p for p in best[1]], values)


def speedup(point: dict[str, Any]) -> Spread | None:
    """How many times as long the layers take in single precision."""
    fp32, int8 = (point["results"].get(name, {}).get("ns") for name in (FP32, INT8))
    return ratio(fp32, int8) if fp32 and int8 else None


def intensity(point: dict[str, Any], operand_bytes: int, state_bytes: int) -> float:
    """Multiply-adds per byte of compulsory traffic."""
    rows = 2 * point["num_tx"]
    traffic = rows**2 * operand_bytes / point["num_vectors"] + 2 * rows * state_bytes
    return multiply_adds(point) / traffic


def markdown(data: dict[str, Any]) -> str:
    """The layers' table, then the machine's."""
    rows = []
    for point in data["points"]:
        int8, fp32 = (time_of(point["results"], name) for name in (INT8, FP32))
        faster, share = speedup(point), share_of_peak(data, point)
        rows.append(
            [
                point["model"],
                size(point),
                str(point["num_vectors"]),
                number(int8.median) if int8 else "-",
                number(fp32.median) if fp32 else "-",
                point["results"][FP32].get("variant", ""),
                faster.text() if faster else "-",
                f"{multiply_adds(point) / int8.median:.0f}" if int8 else "-",
                f"{100 * share.median:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share else "-",
            ]
        )
    head = (
        "network", "size", "T", "int8 (ns)", "fp32 (ns)", "fp32 kernel", "fp32 / int8",
        "int8 (10^9 multiply-adds/s)", "of the int8 peak",
    )  # fmt: skip
    machine = [
        [name, f"{1 / spread(ns).median:.0f} x 10^9 multiply-adds/s"]
        for name in data["operands"]
        if (ns := data["points"][0]["results"].get(name, {}).get("ns"))
    ]
    machine += [
        [f"read from {level}", f"{spread(values).median / 1e9:.0f} GB/s"] for level, values in data["bandwidth"].items()
    ]
    machine.append(["clock", f"{spread(data['clock']).median / 1e9:.2f} GHz"])
    return md.joined(
        f"All layers of a vector, without filter and output; {NUM_CHANNELS} channels with a matrix of their own.",
        md.table(head, rows),
        *_highway(data),
        "What the processor reaches on one core:",
        md.table(("microbenchmark", ""), machine),
        md.figure("roofline", "Layers at 16x16 over multiply-adds per byte of compulsory traffic, for T vectors"),
    )


def _highway(data: dict[str, Any]) -> list[str]:
    """The same layers over a SIMD library, beside intrinsics."""
    kernels = [name for name in data["points"][0]["results"] if name.startswith(highway(""))]
    rows = []
    for point in data["points"]:
        if (
            point["num_tx"] < 16
        ):  # where several vectors share a register, the layers over Highway are not written for speed
            continue
        ours = point["results"][INT8].get("ns")
        slower = [point["results"].get(name, {}).get("ns") for name in kernels]
        texts = [ratio(values, ours).text() if values and ours else "-" for values in slower]
        rows.append([point["model"], size(point), str(point["num_vectors"]), *texts])
    if not kernels or not rows:
        return []
    return [
        "The same layers over Google Highway instead of intrinsics: how many times as long they take.",
        md.table(("network", "size", "T", *(name.removeprefix(highway("")) for name in kernels)), rows),
    ]


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Roofs and points."""
    figure, axes = plots.axes(1, width=6.4, height=4.4)
    axis = axes[0][0]
    xs = np.geomspace(0.1, 400, 200)
    first = data["points"][0]
    roofs = {operand: best for operand in ("int8", "int16", "fp32") if (best := peak(data, first, operand))}
    top = max(1 / spread(ns).median for _, ns in roofs.values())
    for index, (level, values) in enumerate(data["bandwidth"].items()):
        line = spread(values).median / 1e9 * xs
        axis.plot(xs[line < top], line[line < top], color="0.55", linestyle=("-", "--", "-.", ":")[index], label=level)
    for name, ns in roofs.values():
        rate = 1 / spread(ns).median
        axis.axhline(rate, color="0.2", linewidth=1)
        axis.annotate(name, (0.11, rate), va="bottom", fontsize="small")
    for index, (name, operand_bytes, state_bytes) in enumerate(((INT8, 1, 2), (FP32, 4, 4))):
        points = [p for p in data["points"] if size(p) == "16x16" and time_of(p["results"], name)]
        if not points:
            continue
        x = [intensity(p, operand_bytes, state_bytes) for p in points]
        y = [multiply_adds(p) / time_of(p["results"], name).median for p in points]  # type: ignore[union-attr]
        axis.plot(x, y, color=plots.COLOURS[index], marker=plots.MARKERS[index], linewidth=0.8, label=name)
        for point, at in zip(points, zip(x, y, strict=True), strict=True):
            axis.annotate(
                f"T={point['num_vectors']}", at, textcoords="offset points", xytext=(4, -10), fontsize="x-small"
            )
    axis.set(xscale="log", yscale="log", xlabel="multiply-adds per byte", ylabel="10^9 multiply-adds per second")
    axis.set_ylim(1, 2 * top)
    plots.grid(axis)
    plots.legend(axis, loc="lower right")
    return [plots.save(figure, folder, "roofline")]
