# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time goes: each stage is the difference between running everything up to it and up to the one before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq.signals.signal_model import snr_from_noise_var

from .. import contestants as c
from ..data import Link
from ..results import size
from ..settings import Settings
from ..timing import Timed, number
from ..timing import measure as measure_side_by_side

TITLE = "Where the time goes"

NUM_CHANNELS = 64
CASES = (
    (c.ADMM, 16, 16, 1),
    (c.ADMM, 16, 16, 14),
    (c.ADMM, 16, 16, 112),
    (c.ADMM, 4, 4, 14),
    (c.ADMM, 64, 16, 14),
    (c.PGD, 64, 16, 14),
)
DETECTION = ("filter", "layers", "symbols", "LLRs")
PER_LAYER = "layers of K = "


def measure(settings: Settings) -> dict[str, Any]:
    """Time every prefix of the stages, and the layers of networks cut after 1 to K layers."""
    rng = np.random.default_rng(settings.seed)
    points = []
    for name, num_rx, num_tx, num_vectors in tqdm(settings.pick(CASES, CASES[1:2]), unit="case", desc="stages"):
        model = c.load_model(name)
        link = Link(num_rx, num_tx, NUM_CHANNELS, num_vectors, settings.seed)
        data = c.native_data(link)
        snr_db = float(snr_from_noise_var(link.h, np.asarray(link.noise_var)))
        root = float(1 / np.sqrt(model.law_snr(snr_db)))
        staged = c.kernels().Staged(c.native_network(model), data, root)
        contestants: dict[str, c.Variants] = {"prepare": one(lambda r, s=staged: s.prepare(0, r), NUM_CHANNELS)}
        for index, step in enumerate(staged.steps, 1):
            contestants[f"until {step}"] = one(lambda r, s=staged, i=index: s.prepare(i, r), NUM_CHANNELS)
        for index, step in enumerate(DETECTION, 1):
            contestants[step] = one(lambda r, s=staged, d=data, i=index: s.detect(d, i, r), link.vectors)
        for k in range(1, len(model.layers) + 1):
            plan = c.kernels().Integer(c.native_network(dataclasses.replace(model, layers=model.layers[:k])), data)
            plan.prepare(data, 1)
            plan.filter(data)
            contestants[f"{PER_LAYER}{k}"] = one(lambda r, p=plan: p.layers(r), link.vectors)
        results = measure_side_by_side(contestants, settings.num_rounds(9), settings.slot_s, rng)
        keys = {"model": name, "num_rx": num_rx, "num_tx": num_tx, "num_vectors": num_vectors}
        points.append({**keys, "num_channels": NUM_CHANNELS, "steps": list(staged.steps), "results": results})
    return {"points": points}


def one(run: Any, units: float) -> c.Variants:
    """A contestant without variants."""
    yield lambda: Timed(run, units)


def preparation(point: dict[str, Any]) -> dict[str, float]:
    """ns per channel of each step of the preparation; only their sum where the kernel's steps cannot be told apart."""
    if not point["steps"]:
        return {"preparation": least(point, "prepare")}
    return differences({step: least(point, f"until {step}") for step in point["steps"]})


def detection(point: dict[str, Any]) -> dict[str, float]:
    """ns per vector of each stage of the detection."""
    return differences({step: least(point, step) for step in DETECTION})


def of_layers(point: dict[str, Any]) -> list[float]:
    """ns per vector of the first layer, the second, ..."""
    names = [name for name in point["results"] if name.startswith(PER_LAYER)]
    return list(differences({name: least(point, name) for name in names}).values())


def least(point: dict[str, Any], name: str) -> float:
    """The fastest round: what disturbs only ever adds, and would spoil the small differences of medians."""
    return float(min(point["results"][name]["ns"]))


def differences(until: dict[str, float]) -> dict[str, float]:
    """Of each to the one before."""
    return {name: after - before for (name, after), before in zip(until.items(), (0.0, *until.values()), strict=False)}


def title(point: dict[str, Any]) -> str:
    """As admm5-16qam, 16x16, T = 14."""
    return f"{point['model']}, {size(point)}, T = {point['num_vectors']}"


def markdown(data: dict[str, Any]) -> str:
    """A table of what is due per channel, one of what is due per vector."""
    points = data["points"]
    steps = list(dict.fromkeys(step for p in points for step in preparation(p)))
    prepared, rows = [], []
    for p in points:
        found, layers, all_of_it = preparation(p), of_layers(p), least(p, "prepare")
        cells = [number(found[step]) if step in found else "-" for step in steps]
        prepared.append([title(p), *cells, number(all_of_it)])
        stages, shared = detection(p), all_of_it / p["num_vectors"]
        total = shared + sum(stages[step] for step in DETECTION[:3])
        later = sum(layers[1:]) / max(1, len(layers) - 1)
        values = (shared, *(stages[s] for s in DETECTION[:3]), total, stages[DETECTION[3]], layers[0], later)
        rows.append([title(p), *map(number, values)])
    head = ("", "preparation / T", *DETECTION[:3], "sum", "LLRs", "first layer", "each later layer")
    return md.joined(
        "Per channel and estimate, in nanoseconds (the fastest round, as for all stages):",
        md.table(("", *steps, "all"), prepared),
        "Per vector, in nanoseconds; the sum is without LLRs:",
        md.table(head, rows),
        md.figure("stages", "Nanoseconds per vector by stage, what is due per estimate shared by T vectors"),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """A stacked bar per case."""
    points = data["points"]
    figure, axes = plots.axes(1, width=7.6, height=0.55 * len(points) + 1.8)
    axis = axes[0][0]
    shown = []
    for p in points:
        shown.append({**{step: ns / p["num_vectors"] for step, ns in preparation(p).items()}, **detection(p)})
    colours = [*plots.COLOURS, *(f"{shade}" for shade in (0.25, 0.4, 0.55, 0.7, 0.85))]
    left = np.zeros(len(points))
    totals = np.array([sum(row.values()) for row in shown])
    for index, stage in enumerate(dict.fromkeys(stage for row in shown for stage in row)):
        widths = np.array([max(0.0, row.get(stage, 0.0)) for row in shown]) / totals
        axis.barh(range(len(points)), widths, left=left, color=colours[index % len(colours)], label=stage)
        left += widths
    axis.set_yticks(range(len(points)), [f"{title(p)}: {number(t)} ns" for p, t in zip(points, totals, strict=True)])
    axis.tick_params(axis="y", labelsize="small")
    axis.invert_yaxis()
    axis.set(xlabel="share of the time per vector, with LLRs", xlim=(0, 1))
    axis.legend(fontsize="x-small", ncols=5, loc="upper center", bbox_to_anchor=(0.3, -0.12 - 0.6 / len(points)))
    return [plots.save(figure, folder, "stages")]
