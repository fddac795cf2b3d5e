# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons of `training.detector.compare`: runs what is missing, and reads the cells in a compact form.

A cell here is {method, bits, seed, ber: {detector: [[snr_db, bit_errors, bits], ...]}, steps, history, seconds}, with
the detectors "quantized", "full_precision" and "lmmse", and a history of [iteration, squared error, MMD]. All cells of
a seed were measured on the same transmissions and started from the same twin, so methods are compared per seed, and
intervals are over the seeds.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .settings import ROOT, Settings
from .statistics import Interval, Rate, crossing, t_interval

__all__ = [
    "Cell",
    "command",
    "curve",
    "log_ber",
    "loss_db",
    "of",
    "over_seeds",
    "paired",
    "pooled",
    "ratio",
    "run",
    "snrs",
    "thinned",
]

Cell = dict[str, Any]
DETECTORS = ("quantized", "full_precision", "lmmse")
MOST_ROWS = 100


def command(settings: Settings, comparison: str, overrides: Sequence[str] = (), folder: str = "") -> list[str]:
    """The command that trains and measures a comparison, without the interpreter."""
    output = settings.pick(Path("out/compare"), settings.output.resolve() / "compare") / folder
    changes = [part for override in overrides for part in ("--set", override)]
    parts = ["-m", "training", "compare", f"training/detector/comparisons/{comparison}.yaml", "--output", str(output)]
    where = [] if settings.cluster is None else ["--cluster", settings.cluster]
    return [*parts, "--jobs", str(settings.jobs), *where, *changes]


def run(settings: Settings, comparison: str, overrides: Sequence[str] = (), folder: str = "") -> list[Cell]:
    """Train and measure what is missing of a comparison, and read all of it.

    Args:
        settings: how many processes; with `quick`, cells lie with the report, as they are of no other use.
        comparison: name of a file in training/detector/comparisons.
        overrides: KEY=VALUE of that file.
        folder: within the directory of comparisons.

    Raises:
        KeyboardInterrupt: the training was interrupted; it goes on where it stopped.
        subprocess.CalledProcessError: it failed.
    """
    arguments = command(settings, comparison, overrides, folder)
    output = Path(arguments[arguments.index("--output") + 1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    status = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise subprocess.CalledProcessError(status, arguments)
    found = sorted((ROOT / output / comparison).glob("cells/*/result.json"))
    return [_compact(json.loads(path.read_text("utf-8"))) for path in found]


def _compact(result: dict[str, Any]) -> Cell:
    """Errors over all sizes together, and a history of three columns."""
    ber: dict[str, list[list[float]]] = {}
    for detector in DETECTORS:
        sums: dict[float, list[int]] = {}
        for row in (row for row in result["ber"] if row["detector"] == detector):
            total = sums.setdefault(row["snr_db"], [0, 0])
            total[0] += row["bit_errors"]
            total[1] += row["bits"]
        ber[detector] = [[snr_db, *sums[snr_db]] for snr_db in sorted(sums)]
    keys = ("method", "bits", "seed", "steps", "seconds")
    history = [[entry["iteration"], entry["mse"], entry["mmd"]] for entry in result["history"]]
    return {**{key: result[key] for key in keys}, "ber": ber, "history": thinned(history)}


def thinned(history: list[list[float]]) -> list[list[float]]:
    """Means over as many rows each as leave `MOST_ROWS`; the iteration is the last one of them."""
    count = -(-len(history) // MOST_ROWS)
    groups = [history[start : start + count] for start in range(0, len(history), max(1, count))]
    return [
        [rows[-1][0], *(sum(column) / len(rows) for column in list(zip(*rows, strict=True))[1:])] for rows in groups
    ]


def of(cells: Sequence[Cell], method: str, bits: int) -> list[Cell]:
    """The cells of a method at a width, by seed."""
    return sorted((c for c in cells if c["method"] == method and c["bits"] == bits), key=lambda c: c["seed"])


def snrs(cells: Sequence[Cell]) -> list[float]:
    """Where the cells were measured."""
    return [row[0] for row in cells[0]["ber"]["quantized"]] if cells else []


def curve(cell: Cell, detector: str = "quantized") -> list[Rate]:
    """Rates by SNR."""
    return [Rate(errors, bits) for _, errors, bits in cell["ber"][detector]]


def pooled(cells: Sequence[Cell]) -> list[Rate]:
    """Rates by SNR of all cells together."""
    return [sum(rates, Rate()) for rates in zip(*map(curve, cells), strict=True)]


def log_ber(snr_db: float, detector: str = "quantized") -> Callable[[Cell], float]:
    """A function that gives log10 of a cell's BER at an SNR."""

    def value(cell: Cell) -> float:
        return next(r.log10 for snr, r in zip(snrs([cell]), curve(cell, detector), strict=True) if snr == snr_db)

    return value


def loss_db(cell: Cell, level: float = 1e-2) -> float | None:
    """dB that a cell needs more than its full-precision twin at a BER; None where one of them does not get there."""
    own, twin = (crossing(snrs([cell]), curve(cell, d), level) for d in DETECTORS[:2])
    return None if own is None or twin is None else own.snr_db - twin.snr_db


def over_seeds(cells: Sequence[Cell], value: Callable[[Cell], float | None]) -> Interval | None:
    """Mean over the seeds with its t interval; None where a seed has no value."""
    values = [value(cell) for cell in cells]
    known = [v for v in values if v is not None]
    return t_interval(known) if known and len(known) == len(values) else None


def paired(first: Sequence[Cell], second: Sequence[Cell], value: Callable[[Cell], float | None]) -> Interval | None:
    """Mean over the seeds of the first's value minus the second's, with its t interval."""
    others = {cell["seed"]: value(cell) for cell in second}
    differences = []
    for cell in first:
        own, other = value(cell), others.get(cell["seed"])
        if own is None or other is None:
            return None
        differences.append(own - other)
    return t_interval(differences)


def ratio(difference: Interval | None) -> Interval | None:
    """Of a difference of log10: the ratio."""
    if difference is None:
        return None
    high = 10**difference.high if math.isfinite(difference.high) else math.inf
    return Interval(10**difference.value, 10**difference.low if math.isfinite(difference.low) else 0.0, high)
