# SPDX-License-Identifier: GPL-3.0-or-later
"""Mean squared error of channel estimates over SNR, Doppler and delay spread, and the time that estimators take.

The error is that of the whole grid, |h_est - h|^2 for pairs with E|h|^2 = 1, averaged over frames of 4x4 antennas; 95 %
intervals are those of that mean (16 pairs share a frame's statistics, so a frame is one sample).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.estimation.estimator import FrequencyWienerInterpolator, Observation
from gr_kaq.estimation.learned import LearnedEstimator, LearnedInterpolator, network_input

from .frames import Conditions, FrameSource, format_of, interpolators
from .genie import genie_lmmse

matplotlib.use("Agg")
from matplotlib import pyplot

__all__ = ["SQUARE", "Cell", "measure", "mse_table", "plot", "speed", "speed_table", "summary"]

SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
DOPPLER_HZ = (200.0, 400.0, 700.0, 1000.0)
DELAY_SPREAD_NS = (50.0, 100.0, 300.0)
PROFILES = ("tdl-a", "tdl-b", "tdl-c")
PLOTTED_DELAY_SPREAD = 100.0
SQUARE = "4x4"
OTHERS = {
    "TDL-D, not trained on": (4, 64, "tdl-d"),
    "TDL-E, not trained on": (4, 64, "tdl-e"),
    "flat, not trained on": (4, 64, "flat"),
    "256 carriers": (4, 256, "tdl-a"),
    "256 carriers, flat, not trained on": (4, 256, "flat"),
    "4x2": (2, 64, "tdl-a"),
    "4x1": (1, 64, "tdl-a"),
}
"""Streams, carriers and profile of what is measured beside the 4x4 frames of 64 carriers."""
OTHERS_AT = [(snr_db, doppler_hz, 100.0) for snr_db in (5.0, 15.0, 25.0) for doppler_hz in (200.0, 1000.0)]
TIMING = 1.0
REPETITIONS = 1000
HEADINGS = {
    "set": "frames",
    "snr_db": "SNR, dB",
    "doppler_hz": "Doppler, Hz",
    "delay_spread_ns": "delay spread, ns",
}
NAMES = {"ls": "LS", "lmmse-frequency": "LMMSE, frequency", "lmmse": "LMMSE, 2-D", "genie": "genie LMMSE"}

Interpolate = Callable[[Observation], NDArray[np.complex64]]
Cell = dict[str, Any]


def measure(estimators: dict[str, Any], frames: int, seed: int) -> list[Cell]:
    """The error of every estimate under every condition.

    Returns:
        A mapping for each condition: ``set``, ``snr_db``, ``doppler_hz``, ``delay_spread_ns``, ``frames``, and ``mse``
        and ``interval`` (half of the 95 % one), each by estimate; ``over_lmmse``, for learned ones: lowest and highest
        end of the 95 % interval of how much lower than that of LMMSE the error on the same frame is.
    """
    loaded = {name: LearnedEstimator(source) for name, source in estimators.items()}
    plan: list[tuple[str, int, int, str | None, float, float, float]] = [
        (SQUARE, 4, 64, None, snr_db, doppler_hz, delay_spread_ns)
        for delay_spread_ns in DELAY_SPREAD_NS
        for doppler_hz in DOPPLER_HZ
        for snr_db in SNR_DB
    ]
    plan += [(name, *shape, *condition) for name, shape in OTHERS.items() for condition in OTHERS_AT]
    cells = []
    for number, (label, num_tx, fft_size, profile, snr_db, doppler_hz, delay_spread_ns) in enumerate(
        progress_bar(plan, desc="conditions", mininterval=0.5)
    ):
        frame_format = format_of(num_tx, fft_size)
        linear, wiener = interpolators(frame_format)
        estimates: dict[str, Interpolate] = {
            "ls": linear,
            "lmmse-frequency": FrequencyWienerInterpolator(frame_format),
            "lmmse": wiener,
            **{name: LearnedInterpolator(frame_format, estimator) for name, estimator in loaded.items()},
        }
        source = FrameSource(TIMING, seed + 1000 * number)
        errors: dict[str, list[float]] = {name: [] for name in [*estimates, "genie"]}
        for i in range(frames):
            own = profile or PROFILES[i % len(PROFILES)]
            frame = source.draw(Conditions(frame_format, own, snr_db, doppler_hz, delay_spread_ns))
            made = {name: interpolate(frame.observation) for name, interpolate in estimates.items()}
            for name, estimate in (*made.items(), ("genie", genie_lmmse(frame))):
                errors[name].append(float(np.mean(np.abs(estimate - frame.channel) ** 2)))
        cells.append(
            {
                "set": label,
                "snr_db": snr_db,
                "doppler_hz": doppler_hz,
                "delay_spread_ns": delay_spread_ns,
                "frames": frames,
                "mse": {name: float(np.mean(values)) for name, values in errors.items()},
                "interval": {name: _half_interval(values) for name, values in errors.items()},
                "over_lmmse": {name: _interval(np.subtract(errors["lmmse"], errors[name])) for name in loaded},
            }
        )
    return cells


def speed(estimator: LearnedEstimator) -> dict[str, float]:
    """Microseconds of a run for all pairs of a 4x4 frame, on one thread: ``median`` and ``fastest``."""
    frame = FrameSource(TIMING, 0).draw(Conditions(format_of(4, 64), "tdl-a", 15.0, 400.0, 100.0))
    linear, wiener = interpolators(frame.conditions.frame_format)
    seen = frame.observation
    given = network_input(frame.conditions.frame_format, seen, linear.at_training_symbols(seen), wiener(seen))
    microseconds = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        estimator.refine(given.ls, given.lmmse, given.statistics)
        microseconds.append(1e6 * (time.perf_counter() - began))
    return {"median": float(np.median(microseconds)), "fastest": min(microseconds)}


def _half_interval(values: ArrayLike) -> float:
    samples = np.asarray(values, np.float64)
    return float(1.96 * samples.std(ddof=1) / len(samples) ** 0.5)


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(values.mean() + sign * _half_interval(values)) for sign in (-1, 1)]


def _db(value: float) -> float:
    return 10 * float(np.log10(value))


def _label(name: str) -> str:
    return NAMES.get(name, f"`{name}`")


def mse_table(cells: list[Cell], *keys: str) -> str:
    """One row per condition, which the keys tell; errors in dB."""
    names = list(cells[0]["mse"])
    headings = [HEADINGS[key] for key in keys] + [_label(name) for name in names]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for cell in cells:
        values = [str(cell[key]).removesuffix(".0") for key in keys]
        values += [f"{_db(cell['mse'][name]):.2f}" for name in names]
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines)


def summary(cells: list[Cell], frames: int, seed: int) -> str:
    """Smallest and largest gain of each estimator over the others, in dB, over the 4x4 frames."""
    own = [cell for cell in cells if cell["set"] == SQUARE]
    learned = [name for name in own[0]["mse"] if name not in NAMES]
    fast = [cell for cell in own if cell["doppler_hz"] >= 400]
    headings = [
        "estimator",
        "over LS",
        "over LMMSE, frequency, from 400 Hz",
        "over LMMSE, 2-D",
        "the same from 400 Hz",
        "short of the genie",
    ]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]

    def gains(name: str, other: str, where: list[Cell], sign: int = 1) -> str:
        values = [sign * (_db(cell["mse"][other]) - _db(cell["mse"][name])) for cell in where]
        return f"{min(values):.2f} to {max(values):.2f} dB, mean {np.mean(values):.2f}"

    for name in ("lmmse", *learned):
        columns = [
            gains(name, "ls", own),
            gains(name, "lmmse-frequency", fast),
            "" if name == "lmmse" else gains(name, "lmmse", own),
            "" if name == "lmmse" else gains(name, "lmmse", fast),
            gains(name, "genie", own, -1),
        ]
        lines.append(f"| {_label(name)} | " + " | ".join(columns) + " |")
    widest = max(_db(1 + c["interval"][n] / c["mse"][n]) for c in own for n in c["mse"])
    lines.append("")
    lines.append(
        f"{len(own)} conditions, {frames} frames of 4x4 antennas each ({', '.join(PROFILES).upper()} in turns), "
        f"seed {seed}. 95 % intervals are at most ±{widest:.2f} dB; all estimates see the same frames, so their "
        "differences are known better than that:"
    )
    lines.append("")
    for name in learned:
        better, worse = (
            sum(sign * cell["over_lmmse"][name][end] > 0 for cell in cells) for sign, end in ((1, 0), (-1, 1))
        )
        lines.append(
            f"- `{name}`, of {len(cells)} conditions over all tables: better than LMMSE, 2-D in {better} beyond the "
            f"95 % interval of the difference, worse in {worse}."
        )
    name, loss, cell = max(
        ((name, _db(cell["mse"][name]) - _db(cell["mse"]["lmmse"]), cell) for cell in cells for name in learned),
        key=lambda found: found[1],
    )
    if loss > 0:
        lines.append(
            f"- The largest loss against it is {loss:.2f} dB: {_label(name)}, {cell['set']}, {cell['snr_db']:g} dB, "
            f"{cell['doppler_hz']:g} Hz, {cell['delay_spread_ns']:g} ns."
        )
    for name in learned:
        twin = f"{name}-fp"
        if twin in learned:
            cost = [_db(cell["mse"][name]) - _db(cell["mse"][twin]) for cell in cells]
            lines.append(
                f"- INT8 costs `{name}` {min(cost):.3f} to {max(cost):.3f} dB over all tables, "
                f"mean {np.mean(cost):.3f} dB."
            )
    return "\n".join(lines)


def speed_table(times: dict[str, dict[str, float]]) -> str:
    """Microseconds for a frame."""
    lines = ["| estimator | median | fastest |", "|---|---|---|"]
    lines += [f"| `{name}` | {run['median']:.0f} us | {run['fastest']:.0f} us |" for name, run in times.items()]
    return "\n".join(lines)


def plot(cells: list[Cell], path: Path) -> None:
    """MSE over the SNR, a panel for each Doppler."""
    figure, (axes,) = pyplot.subplots(1, len(DOPPLER_HZ), figsize=(4 * len(DOPPLER_HZ), 4), sharey=True, squeeze=False)
    for axis, doppler_hz in zip(axes, DOPPLER_HZ, strict=True):
        own = [
            cell
            for cell in cells
            if (cell["set"], cell["doppler_hz"], cell["delay_spread_ns"]) == (SQUARE, doppler_hz, PLOTTED_DELAY_SPREAD)
        ]
        for name in own[0]["mse"]:
            style = {"linestyle": "--", "color": "black"} if name == "genie" else {"marker": "."}
            axis.plot(
                [c["snr_db"] for c in own], [_db(c["mse"][name]) for c in own], label=NAMES.get(name, name), **style
            )
        axis.set(title=f"Doppler {doppler_hz:g} Hz, {PLOTTED_DELAY_SPREAD:g} ns", xlabel="SNR (dB)")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("MSE (dB)")
    axes[0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
