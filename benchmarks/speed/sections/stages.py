# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time goes: each stage is the difference between running everything up to it and up to the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq import native
from gr_kaq.commands.long_run import progress_bar
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.native_kernel import network

from .. import contestants as c
from .. import limits
from ..data import Link
from ..results import size
from ..settings import Settings
from ..timing import Timed, number
from ..timing import measure as measure_side_by_side

TITLE = "Where the time goes"

NUM_CHANNELS = 64
PRECISIONS = ("int8", "fp32")
CASES = (
    (16, 16, 14),
    (16, 16, 1),
    (16, 16, 112),
    (4, 4, 14),
    (4, 4, 1),
    (64, 16, 14),
    (64, 16, 1),
)
"""num_rx, num_tx and T; the first is looked at more closely."""
OF_ESTIMATES = (
    "levels and laws",
    "channels to lanes",
    "Gram matrix",
    "inverse",
    "values of the layers",
    "filter matrix",
)
OF_VECTORS = ("filter", "layers", "symbols", "LLRs")
STAGES = (*OF_ESTIMATES, *OF_VECTORS)
LAYERS_ALONE = "layers alone"


def measure(settings: Settings) -> dict[str, Any]:
    """Time everything up to each stage."""
    rng = np.random.default_rng(settings.seed)
    model, kernel = c.load_model(c.ADMM), instruction_set()
    points = []
    for num_rx, num_tx, num_vectors in progress_bar(settings.pick(CASES, CASES[:1]), unit="case", desc="stages"):
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        contestants = limits.contestants()
        for precision in PRECISIONS:
            for stage in STAGES:
                contestants[until(stage, precision)] = up_to(stage, model, link, precision)
        # many short rounds: the fastest is one that nothing else on the machine has disturbed
        results = measure_side_by_side(contestants, settings.num_rounds(60), settings.slot_s / 10, rng)
        keys = {"num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors, "num_channels": NUM_CHANNELS}
        points.append({**keys, "results": results})
    return {"points": points, "model": c.ADMM, "num_layers": len(model.layers), "instruction_set": kernel}


def instruction_set() -> str:
    """The one that detectors use; where its stages are not built, the best one whose are."""
    names = (native.selected_instruction_set(), *native.instruction_sets())
    found = next((name for name in names if c.kernels().stages(name)), None)
    if found is None:
        raise RuntimeError(f"no stages are built for {', '.join(names)}")
    return found


def until(stage: str, precision: str) -> str:
    """A contestant's name."""
    return f"{precision}, until {stage}"


def up_to(stage: str, model: DetectorModel, link: Link, precision: str) -> c.Variants:
    """Everything up to a stage: of the preparation, or of the detection after all of the preparation."""
    data = c.native_data(link)
    whole = stage in ("symbols", "LLRs")
    plan = c.kernels().Plan(network(model, precision), data, instruction_set(), "" if whole else stage)
    if stage in OF_ESTIMATES:
        yield lambda: Timed(lambda repeats: plan.prepare(data, repeats), link.num_channels)
    else:
        plan.prepare(data, 1)
        yield lambda: Timed(lambda repeats: plan.detect(data, stage == "LLRs", repeats), link.vectors)


def layers_alone(model: DetectorModel, link: Link, precision: str) -> c.Variants:
    """The layers of all vectors, without a filter before them."""
    yield from up_to(LAYERS_ALONE, model, link, precision)


def per_vector(point: dict[str, Any], precision: str) -> dict[str, float]:
    """ns of each stage, an estimate's shared by its vectors."""
    prepared = differences({stage: least(point, stage, precision) for stage in OF_ESTIMATES})
    shared = {stage: ns / point["num_vectors"] for stage, ns in prepared.items()}
    return shared | differences({stage: least(point, stage, precision) for stage in OF_VECTORS})


def least(point: dict[str, Any], stage: str, precision: str) -> float:
    """The fastest round: what disturbs only ever adds, and would spoil the small differences of medians."""
    return float(min(point["results"][until(stage, precision)]["ns"]))


def differences(up_to_here: dict[str, float]) -> dict[str, float]:
    """Of each to the one before."""
    before = (0.0, *up_to_here.values())
    return {name: after - b for (name, after), b in zip(up_to_here.items(), before, strict=False)}


def bounds(data: dict[str, Any], point: dict[str, Any], precision: str) -> dict[str, float]:
    """ns of each stage that multiplies, at the processor's peaks."""
    work = limits.multiply_adds(point["num_rx"], point["num_tx"], point["num_vectors"], data["num_layers"])
    found = {stage: limits.at_best(point["results"], {stage: of}, precision) for stage, of in work.items() if of}
    return {stage: min(ns) for stage, ns in found.items() if ns}


def title(point: dict[str, Any], precision: str) -> str:
    """As int8, 16x16, T = 14."""
    return f"{precision}, {size(point)}, T = {point['num_vectors']}"


def markdown(data: dict[str, Any]) -> str:
    """The first case stage by stage, the largest first, with its bounds; then all cases."""
    return md.joined(
        f"`{data['model']}` at {size(data['points'][0])}, T = {data['points'][0]['num_vectors']}, in nanoseconds per "
        "vector, the largest in int8 first. An estimate's stages are shared by its T vectors; all are from the fastest "
        "round. 'At best' is the number of multiply-adds over the peak that was measured beside them.",
        md.table(
            ("stage", *(f"{precision}{what}" for precision in PRECISIONS for what in ("", ", at best"))), _closely(data)
        ),
        "All cases, in nanoseconds per vector; the sum is without LLRs:",
        md.table(("", *OF_ESTIMATES, *OF_VECTORS[:-1], "sum", "at best", "LLRs"), _all_cases(data)),
        md.figure("stages", "Nanoseconds per vector by stage, what is due per estimate shared by T vectors"),
    )


def _closely(data: dict[str, Any]) -> list[list[str]]:
    point = data["points"][0]
    found = {precision: (per_vector(point, precision), bounds(data, point, precision)) for precision in PRECISIONS}
    rows = []
    for stage in sorted(STAGES, key=lambda stage: -found["int8"][0][stage]):
        cells = [stage]
        for times, best in found.values():
            cells += [number(times[stage]), number(best[stage]) if stage in best else "-"]
        rows.append(cells)
    return rows


def _all_cases(data: dict[str, Any]) -> list[list[str]]:
    rows = []
    for point in data["points"]:
        for precision in PRECISIONS:
            times = per_vector(point, precision)
            llrs = times.pop("LLRs")
            best = bounds(data, point, precision)
            sums = sum(times.values()), sum(best.values())
            rows.append([title(point, precision), *(number(ns) for ns in (*times.values(), *sums, llrs))])
    return rows


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """A stacked bar per case and precision."""
    bars = {title(p, precision): per_vector(p, precision) for p in data["points"] for precision in PRECISIONS}
    figure, axes = plots.axes(1, width=7.6, height=0.4 * len(bars) + 1.8)
    axis = axes[0][0]
    colours = [*plots.COLOURS, *(f"{shade}" for shade in (0.25, 0.5, 0.75))]
    left = np.zeros(len(bars))
    totals = np.array([sum(times.values()) for times in bars.values()])
    for stage, colour in zip(STAGES, colours, strict=False):
        widths = np.array([max(0.0, times[stage]) for times in bars.values()]) / totals
        axis.barh(range(len(bars)), widths, left=left, color=colour, label=stage)
        left += widths
    axis.set_yticks(range(len(bars)), [f"{name}: {number(t)} ns" for name, t in zip(bars, totals, strict=True)])
    axis.tick_params(axis="y", labelsize="small")
    axis.invert_yaxis()
    axis.set(xlabel="share of the time per vector, with LLRs", xlim=(0, 1))
    axis.legend(fontsize="x-small", ncols=5, loc="upper center", bbox_to_anchor=(0.3, -0.5 / len(bars) - 0.05))
    return [plots.save(figure, folder, "stages")]
