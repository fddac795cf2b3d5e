# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a receiver with a narrower channel more robust? Bandwidth against robustness, of estimators and of detectors.

    python -m benchmarks.band_robustness --estimators ls lmmse-frequency lmmse estimator out/estimator-band-fp.onnx

"Spatial-frequency channels, shape bias, and adversarial robustness" (arXiv 2309.13190) says so of networks that
recognize images. Here, of estimators: *bandwidth* is that of the Gaussian that fits to their response over bands of
delay, with noise of -15 dB and known statistics (`gr_kaq.probes`); *robustness* is the power of a jammer on 4 of 52
carriers at which 10 % of the blocks are wrong: on the training symbols only, likewise with known statistics (the
estimator alone); and as the receiver is, which looks for interference, on the training symbols and on the whole frame.
Of detectors: half-power width of their sensitivity over left singular vectors at 4x4, and that jammer on the whole
frame.

All see the same frames. Below the tables stands Spearman's rank correlation of width and robustness, positive where
the wider is the more robust one, with its range when thresholds are drawn anew within their standard errors (95 %).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import gr_kaq
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.probes.axes import Carriers, Delay, Space
from gr_kaq.probes.channel_fit import fit_channel
from gr_kaq.probes.probe import Probe, TargetUnreachable
from gr_kaq.probes.probed_link import Link, Receiver
from gr_kaq.probes.thresholds import Threshold
from gr_kaq.sweeps.results import Job, Result

from .units import add_unit_options, run_groups

SNR_DB = 25.0
BANDS, JAMMED = 13, 8  # the jammer is on carriers 6 to 9 above the middle
RESPONSE_DB = -15.0
DELAY_BANDS = 32


def of_estimators(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each estimator."""
    rows: list[dict[str, Any]] = []
    if options.estimators:
        print("| estimator | clean | bandwidth, samples | half-power width | peak, dB | alone | training | all, dB |")
        print("|---|---|---|---|---|---|---|---|", flush=True)

    def show(_: int, units: list[Result]) -> None:
        rows.append(row := units[0])
        parts = [interval(row[key]) for key in ("width", "half_power_width", "peak_db")]
        levels = [level(row[key]) for key in ("alone", "training", "all")]
        print(f"| {' | '.join([row['name'], format(row['clean'], '.4f'), *parts, *levels])} |", flush=True)

    run_groups(options, "estimators", probe_estimator, _jobs(options, "estimator", options.estimators), show)
    return rows


def _jobs(options: argparse.Namespace, kind: str, names: Sequence[str]) -> list[list[Job]]:
    settings = {"frames": options.frames, "max_error": options.max_error, "seed": options.seed}
    return [[{kind: name, **settings}] for name in names]


def probe_estimator(job: Job) -> Result:
    """The row of an estimator."""
    link = Link(FrameFormat(2), 2, snr_db=SNR_DB, seed=job["seed"])
    settings = {"num_frames": job["frames"], "max_error_db": job["max_error"]}
    delays = Probe(Delay(link, DELAY_BANDS), **settings)
    jammed = {on: Probe(Carriers(link, BANDS, on), **settings) for on in ("training", "all")}
    detector = gr_kaq.load_detector("auto", constellation="16qam")
    known, own = (Receiver(link, job["estimator"], detector, statistics) for statistics in (True, False))
    responses = [delays.response(known, band, RESPONSE_DB) for band in range(DELAY_BANDS)]
    channel = fit_channel(delays.axis.positions, *np.array(responses).T)
    clean = jammed["training"].clean(own)
    thresholds = {on: probe.threshold(own, JAMMED, clean) for on, probe in jammed.items()}
    thresholds["alone"] = jammed["training"].threshold(known, JAMMED, clean)
    return {
        "name": Path(job["estimator"]).stem,
        "clean": clean.rate,
        "width": channel.bandwidth,
        "half_power_width": channel.half_power_width,
        "centre": channel.centre,
        "peak_db": channel.peak_db,
        **{on: [t.level_db, t.error_db] for on, t in thresholds.items()},
    }


def of_detectors(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each detector."""
    rows: list[dict[str, Any]] = []
    if options.detectors:
        print("\n| detector | clean | 1, dB | 2 | 3 | 4 | half-power width | all, dB |")
        print("|---|---|---|---|---|---|---|---|", flush=True)

    def show(_: int, units: list[Result]) -> None:
        if "left_out" in (row := units[0]):
            print(f"left out: {row['left_out']}", file=sys.stderr)
            return
        rows.append(row)
        levels = [level(values) for values in row["space"]]
        cells = [row["name"], format(row["clean"], ".4f"), *levels, interval(row["width"]), level(row["all"])]
        print(f"| {' | '.join(cells)} |", flush=True)

    run_groups(options, "detectors", probe_detector, _jobs(options, "detector", options.detectors), show)
    return rows


def probe_detector(job: Job) -> Result:
    """The row of a detector, or why it is left out."""
    link = Link(FrameFormat(4), 4, snr_db=SNR_DB, seed=job["seed"])
    settings = {"num_frames": job["frames"], "max_error_db": job["max_error"]}
    space, jammed = Probe(Space(link), **settings), Probe(Carriers(link, BANDS), **settings)
    receiver = Receiver(link, "lmmse", gr_kaq.load_detector(job["detector"], constellation="16qam"))
    try:
        clean = space.clean(receiver)
    except TargetUnreachable as error:
        return {"left_out": str(error)}
    found: list[Threshold] = [space.threshold(receiver, band, clean) for band in range(4)]
    channel = fit_channel(space.axis.positions, [-t.level_db for t in found], [t.error_db for t in found])
    threshold = jammed.threshold(receiver, JAMMED, clean)
    return {
        "name": job["detector"],
        "clean": clean.rate,
        "space": [[t.level_db, t.error_db] for t in found],
        "width": channel.half_power_width,
        "all": [threshold.level_db, threshold.error_db],
    }


def correlation(rows: list[dict[str, Any]], width: str, robustness: str) -> tuple[float, float, float]:
    """Spearman's, and its 95 % range; `flat` is the widest."""
    widths = np.array([row[width] for row in rows], np.float64)
    spreads = np.array(
        [(row[width][2] - row[width][1]) / 3.92 if math.isfinite(row[width][2]) else 0.0 for row in rows]
    )
    levels, errors = np.nan_to_num(np.array([row[robustness] for row in rows], np.float64), posinf=100.0).T
    values = np.where(np.isfinite(widths[:, 0]), widths[:, 0], 1e6)
    rng = np.random.default_rng(0)
    drawn = [
        spearmanr(values + spreads * rng.standard_normal(len(rows)), levels + errors * rng.standard_normal(len(rows)))[
            0
        ]
        for _ in range(1000)
    ]
    return float(spearmanr(values, levels)[0]), *(float(v) for v in np.percentile(drawn, [2.5, 97.5]))


def draw_directions(rows: list[dict[str, Any]], path: Path) -> None:
    """A picture of the sensitivity of each detector over the left singular vectors, with 95 % intervals."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # only who wants a picture

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for row in rows:
        levels, errors = np.array(row["space"], np.float64).T
        axes.errorbar(range(1, 5), -levels, 1.96 * errors, fmt="o-", capsize=2, markersize=3, label=row["name"])
    axes.set(
        xlabel="left singular vector, the strongest first",
        ylabel="sensitivity: - power that is tolerated [dB]",
        xticks=range(1, 5),
    )
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def interval(values: list[float] | tuple[float, ...]) -> str:
    """A value and its 95 % interval."""
    value, low, high = (f"{v:.1f}" if math.isfinite(v) else "flat" for v in values)
    return f"{value} [{low}, {high}]"


def level(values: list[float]) -> str:
    """A threshold and its standard error."""
    return f"{values[0]:.2f} ± {values[1]:.2f}" if math.isfinite(values[0]) else "not reached"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--estimators",
        nargs="*",
        default=["ls", "lmmse-frequency", "lmmse", "estimator-w4", "estimator-w6", "estimator"],
        help="methods of channel_estimator, or ONNX files",
    )
    parser.add_argument(
        "--detectors",
        nargs="*",
        default=["zf", "lmmse", "admm5-16qam", "admm5-16qam-w2", "list8-16qam", "auto"],
        help="for 16-QAM at 4x4",
    )
    parser.add_argument("--frames", type=int, default=2000, help="at most for a threshold")
    parser.add_argument("--max-error", type=float, default=0.3, help="standard error of a threshold, in dB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the figures (JSON)")
    parser.add_argument("--plot", type=Path, help="where to draw what detectors stand in each direction")
    add_unit_options(parser)
    options = parser.parse_args()
    try:
        for name in options.detectors:  # what fails, fails now
            gr_kaq.load_detector(name, constellation="16qam").at_size(4, 4)
        estimators, detectors = of_estimators(options), of_detectors(options)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = {
        name: correlation(rows, "width", robustness)
        for name, rows, robustness in (
            ("estimators alone", estimators, "alone"),
            ("estimators, jammed training", estimators, "training"),
            ("estimators, jammed frame", estimators, "all"),
            ("detectors, jammed frame", detectors, "all"),
        )
        if len({row[robustness][0] for row in rows}) > 1  # of what is all alike there is none
    }
    for name, (value, low, high) in found.items():
        print(f"rank correlation of width and robustness, {name}: {value:.2f} [{low:.2f}, {high:.2f}]")
    if options.output:
        content = {"seed": options.seed, "estimators": estimators, "detectors": detectors, "correlation": found}
        options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if options.plot:
        draw_directions(detectors, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
