# SPDX-License-Identifier: GPL-3.0-or-later
"""What estimation errors, correlation, and channels that were not trained on cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import markdown as md
from .. import plots
from ..names import LMMSE, MEASURED_16QAM, ROBUST_16QAM, installed, label
from ..perturbations import PERFECT, rows
from ..points import rate_cells, run_points
from ..settings import Settings
from ..simulate import bit_errors, level_snrs, levels_reached, pair_of, rate_of
from ..statistics import Crossing, Interval, crossing, distance

TITLE = "Robustness"

LEVELS = (0.15, 0.1, 0.07, 0.05, 0.035, 0.02, 0.01, 0.003)
QUICK_LEVELS = (0.1, 0.05, 0.02)
FINE_SNRS = (17.0, 17.5, 18.0, 18.5, 19.5, 20.0, 20.5)
"""Where detectors better than LMMSE fall through 1e-2 at 16x16, so that what an error costs can be read off."""
COST_LEVELS = (1e-2, 1e-3)


def measure(settings: Settings) -> dict[str, Any]:
    """For every row: the SNRs at which LMMSE has certain error rates, then every detector's BER there."""
    levels = settings.pick(LEVELS, QUICK_LEVELS)
    wanted = rows()
    common = {"constellation": "16qam", "seed": settings.seed}
    pilots = [
        {**common, **row.what, "levels": list(levels), "highest_snr_db": row.highest_snr_db}
        | {"max_bits": settings.pick(1_000_000, 10_000)}
        for row in wanted
        if row.grid is None
    ]
    found = run_points(settings, "robustness", level_snrs, pilots)
    names = [row.name for row in wanted if row.grid is None]
    grids = {name: levels_reached(result["snr_db"], levels) for name, result in zip(names, found, strict=True)}
    general = settings.pick(installed(*ROBUST_16QAM), installed(*ROBUST_16QAM)[:1])
    jobs = []
    for row in wanted:
        own = installed(row.own) if row.own else []
        fine = [(None, snr_db) for snr_db in settings.pick(FINE_SNRS, ())] if PERFECT in (row.name, row.grid) else []
        for level, snr_db in [*grids[row.grid or row.name], *fine]:
            jobs.append(
                {
                    **common,
                    "row": row.name,
                    "group": row.group,
                    "level": level,
                    **row.what,
                    "snr_db": snr_db,
                    "num_vectors": row.num_vectors,
                    "detectors": [*general, LMMSE, *own],
                    "min_errors": settings.pick(5_000, 30),
                    "max_bits": settings.pick(4_000_000, 20_000),
                    "peer_max_bits": 0,
                }
            )
    results = run_points(settings, "robustness", bit_errors, jobs, rate_cells)
    return {
        "levels": list(levels),
        "points": [{**job, **result} for job, result in zip(jobs, results, strict=True)],
    }


def row_names(data: dict[str, Any]) -> list[str]:
    """Rows that have points."""
    return list(dict.fromkeys(point["row"] for point in data["points"]))


def row(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The points of a row, by SNR."""
    return sorted((p for p in data["points"] if p["row"] == name), key=lambda p: p["snr_db"])


def general(data: dict[str, Any]) -> list[str]:
    """Detectors that were measured in every row; the first is the one that is compared with LMMSE in pairs."""
    shared = [d for d in data["points"][0]["detectors"] if d != LMMSE]
    return [d for d in shared if all(d in p["detectors"] for p in data["points"])]


def falls_to(points: list[dict[str, Any]], detector: str, level: float) -> Crossing | None:
    """Where a detector's curve of a row falls through a BER."""
    snrs, rates = [], []
    for point in points:
        rate = rate_of(point, detector)
        if rate is not None:
            snrs.append(point["snr_db"])
            rates.append(rate)
    return crossing(snrs, rates, level)


def cost(data: dict[str, Any], name: str, detector: str, level: float) -> Interval | None:
    """dB that a detector needs more in a row than with perfect estimates on the same channel."""
    perfect = row(data, PERFECT)
    return distance(falls_to(perfect, detector, level), falls_to(row(data, name), detector, level))


def gain(data: dict[str, Any], name: str, detector: str, level: float) -> Interval | None:
    """dB that LMMSE needs more than a detector in a row."""
    points = row(data, name)
    return distance(falls_to(points, detector, level), falls_to(points, LMMSE, level))


def worse_than_lmmse(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Points at which the first detector makes more errors than LMMSE, beyond the 95 % interval of the difference.

    Nothing is said of less than ten errors.
    """
    found = []
    for point in row(data, name):
        pair = pair_of(point, LMMSE)
        assert pair is not None
        if max(pair.first.errors, pair.second.errors) >= 10 and pair.difference().low > 0:
            found.append(point)
    return found


def perturbed(data: dict[str, Any]) -> list[str]:
    """Rows on the channel of the unperturbed one."""
    channel = row(data, PERFECT)[0]["channel"]
    return [name for name in row_names(data) if name != PERFECT and row(data, name)[0]["channel"] == channel]


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Two heat maps: BER over LMMSE's, and dB lost to estimation errors."""
    return [_plot_ratio(data, folder), _plot_cost(data, folder)]


def _plot_ratio(data: dict[str, Any], folder: Path) -> str:
    names, detectors, levels = row_names(data), general(data), data["levels"]
    figure, axes = plots.axes(
        len(detectors), width=0.55 * len(levels) + 3 / len(detectors), height=0.29 * len(names) + 1.3, sharey=True
    )
    image = None
    for axis, detector in zip(axes[0], detectors, strict=True):
        values = np.full((len(names), len(levels)), np.nan)
        for i, name in enumerate(names):
            for point in row(data, name):
                if point["level"] is None:
                    continue
                own, lmmse = rate_of(point, detector), rate_of(point, LMMSE)
                assert own is not None and lmmse is not None
                if own.trials and lmmse.errors:
                    values[i, levels.index(point["level"])] = own.log10 - lmmse.log10
        image = axis.imshow(values, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{10**value:.2g}" if value > -2.5 else "<.003"
                axis.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if abs(value) > 1.3 else "k")
        axis.set_title(label(detector), fontsize="medium")
        axis.set_xticks(range(len(levels)), [f"{level:g}" for level in levels], fontsize="small")
        axis.set_yticks(range(len(names)), names, fontsize="small")
        axis.set_xlabel("SNR where LMMSE's BER is about")
        axis.set_facecolor("0.85")
        groups = [row(data, name)[0]["group"] for name in names]
        for i in range(1, len(names)):
            if groups[i] != groups[i - 1]:
                axis.axhline(i - 0.5, color="k", linewidth=1)
    bar = figure.colorbar(image, ax=axes[0].tolist(), shrink=0.8, pad=0.01)
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["0.01", "0.1", "1", "10", "100"])
    bar.set_label("BER / LMMSE's BER")
    return plots.save(figure, folder, "robustness-ratio")


def _plot_cost(data: dict[str, Any], folder: Path) -> str:
    names, detectors = perturbed(data), [*general(data), LMMSE]
    levels = COST_LEVELS
    figure, axes = plots.axes(
        len(levels), width=1.05 * len(detectors) + 1.8, height=0.3 * len(names) + 1.6, sharey=True
    )
    image = None
    for axis, level in zip(axes[0], levels, strict=True):
        values = np.full((len(names), len(detectors)), np.nan)
        for i, name in enumerate(names):
            for j, detector in enumerate(detectors):
                lost = cost(data, name, detector, level)
                if lost is not None:
                    values[i, j] = lost.value
        image = axis.imshow(values, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                axis.text(
                    j, i, f"{value:+.2f}", ha="center", va="center", fontsize=8, color="w" if abs(value) > 2 else "k"
                )
        axis.set_title(f"at BER {level:g}", fontsize="medium")
        axis.set_xticks(range(len(detectors)), map(label, detectors), fontsize="small", rotation=25, ha="right")
        axis.set_yticks(range(len(names)), names, fontsize="small")
        axis.set_facecolor("0.85")
    bar = figure.colorbar(image, ax=axes[0].tolist(), shrink=0.8, pad=0.01)
    bar.set_label("dB lost to the error")
    return plots.save(figure, folder, "robustness-cost")


def _setting(point: dict[str, Any]) -> str:
    return f"{point['channel']['num_rx']}x{point['channel']['num_tx']}"


def markdown(data: dict[str, Any]) -> str:
    """Heat maps, costs in dB, and every rate."""
    detectors = general(data)
    ours = detectors[0]
    names = row_names(data)
    costs = [
        [name, *(md.decibels(cost(data, name, d, level)) for d in [*detectors, LMMSE] for level in COST_LEVELS)]
        for name in perturbed(data)
    ]
    gains = []
    for name in names:
        flagged = worse_than_lmmse(data, name)
        verdict = "**worse** at " + ", ".join(f"{p['snr_db']:g} dB" for p in flagged) if flagged else "never worse"
        own = [d for d in row(data, name)[0]["detectors"] if d not in detectors and d != LMMSE]
        cells = [md.decibels(gain(data, name, d, COST_LEVELS[0])) for d in detectors]
        special = "; ".join(f"{d}: {md.decibels(gain(data, name, d, COST_LEVELS[0]))}" for d in own)
        gains.append([name, *cells, special or "-", verdict])
    rates = []
    for name in names:
        for point in row(data, name):
            own = [d for d in point["detectors"] if d not in detectors and d != LMMSE]
            special = "; ".join(f"{label(d)}: {md.rate(rate_of(point, d))}" for d in own)
            cells = [md.rate(rate_of(point, d)) for d in (*detectors, LMMSE)]
            ratio = md.ratio(pair_of(point, LMMSE))
            mark = " **worse**" if point in worse_than_lmmse(data, name) else ""
            rates.append([name, _setting(point), f"{point['snr_db']:g}", *cells, ratio + mark, special or "-"])
    return md.joined(
        "What do estimation errors and other channels cost? All rows are 16-QAM.",
        "- *SNR*: the receiver's SNR estimate is off by a constant (bias), or by a normal random number per estimate "
        "(jitter, standard deviation).\n"
        "- *Channel error*: the channel estimate carries an error of variance x times noise_var / num_tx per entry. "
        "With x = 1 that is least squares with orthogonal training over num_tx symbols. The receiver adds this error "
        "to the noise variance it is told.\n"
        "- *Kronecker*: exponential correlation at both ends.\n"
        "- *Weak*: the last two streams arrive so many dB weaker than the others. The BER is that of these two. "
        "Where LMMSE's is 0.01, the noise is about 22 dB below a weak stream.\n"
        "- *Beside a stream of -60 dB*: one stream does not arrive. The BER is that of the others.\n"
        "- *Alike*: two columns of H are the same but for a part that is 20 dB weaker, so that H is nearly singular. "
        "The BER is that of these two streams.\n"
        "- *CDL-D*: 3GPP TR 38.901, line of sight.\n"
        f"- *Recordings*: the general detectors were not trained on any of them. {MEASURED_16QAM} was trained on the "
        "first half of its own. Whatever differs from a detector's training is a mismatch between training and test. "
        "The recordings are short: their intervals are those of the noise on these channels, not of other places.",
        "SNRs are those at which LMMSE, in the same row, has the error rate that heads the column. In rows with "
        "estimation errors at 16x16 it is LMMSE with perfect estimates.",
        md.figure(
            "robustness-ratio", "BER over LMMSE's BER in the same row: below 1 (blue) the detector is better than LMMSE"
        ),
        md.figure("robustness-cost", "dB more than with perfect estimates, 16x16 i.i.d.; grey: the BER is not reached"),
        "### dB lost to estimation errors",
        md.table(["row", *(f"{label(d)}, BER {lv:g}" for d in [*detectors, LMMSE] for lv in COST_LEVELS)], costs),
        f"### Gain over LMMSE at BER {COST_LEVELS[0]:g}",
        f"dB that LMMSE needs more under the same perturbation. The last column compares {label(ours)} with LMMSE on "
        "the same vectors: worse where the 95 % interval of the difference is above zero.",
        md.table(["row", *map(label, detectors), "trained on it", f"{label(ours)} against LMMSE"], gains),
        "### Every rate",
        md.table(
            ["row", "size", "SNR (dB)", *map(label, (*detectors, LMMSE)), f"{label(ours)} / LMMSE", "trained on it"],
            rates,
        ),
    )
