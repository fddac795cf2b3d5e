# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped detectors, LMMSE and Sionna's detectors on the same transmissions."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import markdown as md
from .. import plots, references
from ..deep_points import ENOUGH_ERRORS, FAST, REFERENCES, Budget, run_deep_points
from ..exact import EXACT_ML
from ..names import (
    EP,
    GENERAL,
    GENERAL_16QAM,
    KBEST,
    KBEST_REVERSED,
    LMMSE,
    PIC,
    TALL_16QAM,
    installed,
    label,
)
from ..settings import Settings
from ..simulate import iid, missing_peers, pair_of, rate_of
from ..statistics import Interval, paired_distance

TITLE = "Detectors side by side"

CASES: dict[str, tuple[int, int, str, tuple[float, ...]]] = {
    "16x16-16qam": (16, 16, "16qam", (10, 15, 18, 20, 22, 25)),
    "32x16-16qam": (32, 16, "16qam", (5, 8, 10, 12, 14, 15)),
    "4x4-16qam": (4, 4, "16qam", (10, 15, 18, 20, 22, 25)),
    "16x16-qpsk": (16, 16, "qpsk", (4, 8, 10, 12, 14)),
    "16x16-64qam": (16, 16, "64qam", (16, 20, 24, 28, 30, 33)),
}
SIZES: tuple[tuple[int, int, tuple[float, float]], ...] = (
    (2, 2, (20, 25)),
    (4, 4, (20, 25)),
    (8, 8, (20, 25)),
    (16, 16, (20, 25)),
    (16, 4, (8, 12)),
    (64, 16, (8, 12)),
)
"""num_rx, num_tx and two SNRs."""
INT8_LEVELS = (1e-2, 1e-3)
EXACT_ML_FROM_DB = {"16x16-16qam": 15, "16x16-64qam": 24}
"""The lowest SNR of a case at which sphere decoding takes no more than some 2 ms per vector; elsewhere it is faster."""


def measure(settings: Settings) -> dict[str, Any]:
    """BER of every case and size."""
    reason = missing_peers()
    peers = [] if reason else [EP, PIC, KBEST, KBEST_REVERSED]
    no_exact_ml = references.missing(EXACT_ML)
    budget = {
        "num_vectors": 4,
        "min_errors": settings.pick(3_000, 30),
        "max_bits": settings.pick(4_000_000, 20_000),
        "peer_max_bits": settings.pick(1_000_000, 10_000),
        "seed": settings.seed,
        "csi": {},
    }
    cases, jobs = [], []
    for name, (num_rx, num_tx, constellation, snrs) in CASES.items():
        detectors = installed(*GENERAL[constellation])
        if num_rx >= 2 * num_tx and constellation == "16qam":
            detectors += installed(TALL_16QAM)
        twins = installed(*(f"{d}-fp" for d in detectors))
        for snr_db in settings.pick(snrs, snrs[::2]):
            feasible = no_exact_ml is None and snr_db >= EXACT_ML_FROM_DB.get(name, -math.inf)
            exact = [EXACT_ML] if feasible else []
            cases.append(name)
            jobs.append(
                {
                    "channel": iid(num_rx, num_tx),
                    "constellation": constellation,
                    "snr_db": float(snr_db),
                    "detectors": [*detectors, LMMSE, *twins, *peers, *exact],
                    **budget,
                }
            )
    for num_rx, num_tx, snrs in SIZES:
        for snr_db in settings.pick(snrs, snrs[:1]):
            cases.append("sizes")
            jobs.append(
                {
                    "channel": iid(num_rx, num_tx),
                    "constellation": "16qam",
                    "snr_db": float(snr_db),
                    "detectors": [*installed(*GENERAL_16QAM), LMMSE],
                    **budget,
                }
            )
    results = run_deep_points(settings, "detectors", jobs)
    return {
        "further": {"fast": asdict(FAST), "references": asdict(REFERENCES)},
        "missing": "; ".join(filter(None, (reason, no_exact_ml))) or None,
        "left_out": [n for names in GENERAL.values() for n in names if n not in installed(n)],
        "points": [{"case": name, **job, **result} for name, job, result in zip(cases, jobs, results, strict=True)],
    }


def case(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The points of a case."""
    return [point for point in data["points"] if point["case"] == name]


def measured(points: list[dict[str, Any]]) -> list[str]:
    """All detectors of some points, in their order: exact ML is not at each."""
    return list(dict.fromkeys(detector for point in points for detector in point["detectors"]))


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """BER versus SNR: 16-QAM at three sizes; the other constellations."""
    names = []
    for name, cases in {
        "detectors-16qam": ("16x16-16qam", "32x16-16qam", "4x4-16qam"),
        "detectors-constellations": ("16x16-qpsk", "16x16-64qam"),
    }.items():
        figure, axes = plots.axes(len(cases), width=5.0, height=4.6)
        for axis, which in zip(axes[0], cases, strict=True):
            points = case(data, which)
            detectors = measured(points)
            plots.ber_axis(axis, f"{which.replace('-', ', ')}, i.i.d. Rayleigh")
            for detector in detectors:
                rates = [rate_of(point, detector) for point in points]
                look = plots.style(detector, detectors)
                plots.curve(axis, [p["snr_db"] for p in points], rates, look, label(detector))
            plots.legend(axis, loc="lower left")
        names.append(plots.save(figure, folder, name))
    return names


def int8_losses(data: dict[str, Any], which: str, level: float) -> dict[str, Interval | None]:
    """dB that each quantized detector needs more than its full-precision twin at a BER, from the same vectors."""
    points = case(data, which)
    snrs = [point["snr_db"] for point in points]
    losses = {}
    for twin in (d for d in points[0]["detectors"] if d.endswith("-fp")):
        pairs = [pair for point in points if (pair := pair_of(point, twin)) is not None]
        losses[twin.removesuffix("-fp")] = paired_distance(snrs, pairs, level)
    return losses


def _further(data: dict[str, Any]) -> str:
    """Which detectors went on after the first unit; nothing of data from before there were further ones."""
    if "further" not in data:
        return ""
    first = data["points"][0]
    fast, references = (Budget(**data["further"][kind]) for kind in ("fast", "references"))
    return (
        f"A detector that has made fewer than {ENOUGH_ERRORS} errors after {first['max_bits']:.0e} bits (Sionna's and "
        f"exact ML {first['peer_max_bits']:.0e}) goes on: up to {fast.units} more units of {fast.bits:.0e} bits, "
        f"Sionna's and exact ML up to {references.units} of {references.bits:.0e}. It stops after {fast.trial} "
        f"({references.trial}) of them where these say that all would not be enough. Full-precision twins have the "
        "first unit only."
    )


def few_errors(points: list[dict[str, Any]], names: list[str]) -> str:
    """Where detectors have made fewer than `ENOUGH_ERRORS` errors, and in how many bits."""
    found = [
        f"{label(name)} at {point['snr_db']:g} dB ({rate.errors} in {rate.trials:.1e} bits)"
        for name in names
        for point in points
        if (rate := rate_of(point, name)) is not None and rate.errors < ENOUGH_ERRORS
    ]
    return f"Fewer than {ENOUGH_ERRORS} errors: {', '.join(found)}." if found else ""


def markdown(data: dict[str, Any]) -> str:
    """Plots, tables and what the first detector gains."""
    parts = [
        "All detectors see the same channels, bits and noise, with perfect estimates of H and of the noise variance. "
        "SNR is num_tx / noise_var. Intervals are 95 %, from the errors of each channel, as errors cluster in bad "
        "channels. Detectors run through the native kernel (W8A8). Dashed curves in a detector's colour are its "
        "full-precision twin.",
        _further(data),
        f"Left out: {data['missing']}." if data["missing"] else "",
        f"Not among the installed detectors: {', '.join(data['left_out'])}." if data["left_out"] else "",
        md.figure("detectors-16qam", "BER versus SNR, 16-QAM, at 16x16, 32x16 and 4x4"),
        md.figure("detectors-constellations", "BER versus SNR at 16x16, QPSK and 64-QAM"),
    ]
    for name in CASES:
        points = case(data, name)
        columns = [d for d in measured(points) if not d.endswith("-fp")]
        head = ["SNR (dB)", *map(label, columns), f"{label(columns[0])} / LMMSE"]
        compared = [name for name in (EP, PIC, KBEST_REVERSED, EXACT_ML) if name in columns]
        head += [f"{label(columns[0])} / {label(name)}" for name in compared]
        rows = []
        for point in points:
            cells = [md.ratio(pair_of(point, other)) for other in (LMMSE, *compared)]
            rows.append([f"{point['snr_db']:g}", *(md.rate(rate_of(point, d)) for d in columns), *cells])
        losses = [
            f"{detector} needs {md.decibels(loss)} dB more than in full precision at BER {level:g}"
            for level in INT8_LEVELS
            for detector, loss in int8_losses(data, name, level).items()
            if loss is not None
        ]
        parts += [f"### {name.replace('-', ', ')}", md.table(head, rows), few_errors(points, columns)]
        parts += ["; ".join(losses) + "." if losses else ""]
    points = case(data, "sizes")
    columns = points[0]["detectors"]
    rows = [
        [
            f"{p['channel']['num_rx']}x{p['channel']['num_tx']}",
            f"{p['snr_db']:g}",
            *(md.rate(rate_of(p, d)) for d in columns),
        ]
        for p in points
    ]
    parts += ["### One model, many sizes", md.table(["size", "SNR (dB)", *map(label, columns)], rows)]
    return md.joined(*parts)
