# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq ber`: bit error rates of detectors side by side on a simulated link."""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..channels.named import KRONECKER_CORRELATION, channels_named
from ..detection.auto_detector import AUTO_DETECTORS, AutoDetector
from ..detection.detector import Detector
from ..detection.detectors import list_detectors, load_detector
from ..detection.linear_detector import LINEAR_DETECTORS
from ..detection.list_detector import ListDetector
from ..detection.model_file import Model
from ..detection.unfolded_detector import UnfoldedDetector
from ..links.ber_units import digest_of, point_units
from ..links.simulated_link import CsiError
from ..signals.constellation import CONSTELLATIONS
from ..signals.signal_model import from_db
from ..sweeps.results import Results
from ..sweeps.units import Series
from ..sweeps.workers import open_workers
from .arguments import add_numbers, add_workers, antenna_count, number, parse_seed, parse_snrs, whole_number
from .ber_curve import Curve, Point
from .long_run import check_folders, check_picture, exit_status, import_progress
from .optional import import_optional

__all__ = ["add_parser", "plot"]

DEFAULT_ANTENNAS = 16
DEFAULT_SNRS_DB = (10.0, 15.0, 20.0)  # where the model files tell of no better ones


def add_parser(commands: Any) -> None:
    """Add `ber` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "ber",
        help="simulate bit error rates",
        description="Simulate the bit error rate of detectors over the SNR. All see the same received vectors, LMMSE "
        "too. SNR = mean received signal power over noise power per receive antenna. Ctrl-C prints what was measured "
        "so far.",
    )
    add = command.add_argument
    add("detectors", nargs="+", metavar="NAME", help="names of detectors, or paths of *.kaq.json files")
    add(
        "--num-rx",
        type=antenna_count,
        help="receive antennas (default: those of the recording; or 16, or what fits the detectors)",
    )
    add("--num-tx", type=antenna_count, help="transmitted streams (default: the same)")
    text = "SNRs in dB, 10 15 20 or 10:20:5 (default: those that the first model was measured at)"
    add_numbers(command, "--snr", parse_snrs, text, "DB")
    add(
        "--channel",
        default="iid",
        help="iid (Rayleigh), kronecker (correlated antennas), the name of a recording that ships with gr-kaq such as "
        "measured_csi_3x2, or the path of a recording (.npz) (default %(default)s)",
    )
    add(
        "--correlation",
        type=number(0, 1),
        help=f"of neighbouring antennas at both ends, with --channel kronecker (default {KRONECKER_CORRELATION})",
    )
    add("--snr-error-db", type=number(), default=0.0, help="estimated minus true SNR (default 0)")
    add("--snr-jitter-db", type=number(0), default=0.0, help="standard deviation of the SNR estimate (default 0)")
    add(
        "--estimation-error-db",
        type=number(),
        metavar="DB",
        help="power of the error of the channel estimate over that of the channel; least squares with num_tx pilots at "
        "20 dB has -20 (default: none)",
    )
    add("--constellation", choices=CONSTELLATIONS, help="needed where no detector named has one of its own")
    add(
        "--target-errors",
        type=whole_number,
        default=1000,
        help="bit errors of each detector that end a point (default 1000)",
    )
    add("--max-bits", type=whole_number, default=3_000_000, help="bits after which a point ends anyway (default 3e6)")
    add("--seed", type=parse_seed, default=1, help="of bits, channels, noise and estimation errors (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--csv", type=Path, metavar="FILE", help="the same as a table of comma-separated values")
    add("--plot", type=Path, metavar="FILE", help="write a picture (PNG, PDF, SVG) of the curves there")
    add_workers(command)
    add(
        "--keep", type=Path, metavar="FILE", help="keep what is measured there, as JSON lines: the same command goes on"
    )
    command.set_defaults(run=_run)


def plot(points: Sequence[Point], title: str, path: Path) -> None:
    """Write a picture of BER over SNR, a curve per detector, with 95 % intervals."""
    figure_module = import_optional("matplotlib.figure", "--plot", "python3-matplotlib")
    figure = figure_module.Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys(point.detector for point in points):
        own = [point for point in points if point.detector == name and point.count.errors]  # no logarithm of 0
        rates = np.array([point.count.rate for point in own])
        intervals = np.array([point.count.confidence_interval() for point in own]).reshape(-1, 2)
        axes.errorbar(
            [point.snr_db for point in own], rates, np.abs(intervals.T - rates), fmt=".-", capsize=2, label=name
        )
    axes.set(title=title, xlabel="SNR [dB]", ylabel="bit error rate", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def _run(options: argparse.Namespace) -> int:
    import_progress()  # said now, and not after what comes before the bar
    check_folders(options.json, options.csv, options.keep)
    check_picture(options.plot)
    detectors = _detectors(options.detectors, options.constellation)
    make_channels, channel_text, recorded = channels_named(options.channel, options.correlation)
    num_rx, num_tx = _size(options.num_rx, options.num_tx, _models(detectors), recorded)
    chosen = [detector.at_size(num_rx, num_tx) for detector in detectors]
    make_channels(num_rx, num_tx, 0)  # a recording that is too small
    snrs = options.snr or _measured_snrs(_models(chosen), num_rx, num_tx)
    title = f"{num_rx}x{num_tx}, {detectors[0].constellation.name}, {channel_text}"
    choices = {d.name: own.name for d, own in zip(detectors, chosen, strict=True) if isinstance(d, AutoDetector)}
    settings = {
        "num_rx": num_rx,
        "num_tx": num_tx,
        "constellation": detectors[0].constellation.name,
        "channel": channel_text,
        "snr_error_db": options.snr_error_db,
        "snr_jitter_db": options.snr_jitter_db,
        "estimation_error_db": options.estimation_error_db,
        "target_errors": options.target_errors,
        "max_bits": options.max_bits,
        "seed": options.seed,
        "chosen": choices,
    }

    def write(points: Sequence[Point], final: bool = False) -> None:
        """Files after each unit; what is no file, such as /dev/stdout, once."""
        if options.json and (final or _is_file(options.json)):
            options.json.write_text(json.dumps({**settings, "points": _as_json(points)}, indent=2) + "\n", "utf-8")
        if options.csv and (final or _is_file(options.csv)):
            _write_csv(points, options.csv)

    units = _units(options, detectors[0].constellation.name, num_rx, num_tx)
    curve = Curve([detector.name for detector in detectors], snrs, options.target_errors, options.max_bits, write)
    interrupted, failure = False, None
    try:
        with Results(options.keep) as kept, open_workers(options.jobs, options.cluster) as workers:
            curve.count(units, workers, kept)
    except KeyboardInterrupt:
        interrupted = True
    except OSError as error:  # what was measured before is shown all the same
        failure = error
    points = curve.points()
    if failure is None or points:
        _print_table(title, _estimates_text(options), points, choices)
        write(points, final=True)
        if options.plot and points:
            plot(points, title, options.plot)
    if failure is not None:
        raise failure
    return exit_status(interrupted)


def _is_file(path: Path) -> bool:
    return path.is_file() or not path.exists()


def _units(options: argparse.Namespace, constellation: str, num_rx: int, num_tx: int) -> Callable[[float], Series]:
    """The units at an SNR; files by their whole path, and what is in them."""
    names = [
        name if name in list_detectors() or not Path(name).is_file() else str(Path(name).resolve())
        for name in _names(options.detectors)
    ]
    channel = str(Path(options.channel).resolve()) if options.channel.endswith(".npz") else options.channel
    files = {path: digest_of(path) for path in (*names, channel) if path.startswith("/")}
    return lambda snr_db: point_units(
        names,
        constellation,
        num_rx,
        num_tx,
        snr_db,
        min_errors=options.target_errors,
        max_bits=options.max_bits,
        seed=options.seed,
        channel=channel,
        correlation=options.correlation,
        csi_error=_csi_error(options, snr_db),
        files=files,
    )


def _csi_error(options: argparse.Namespace, snr_db: float) -> CsiError:
    """The link's: the error of the channel there is in units of noise_var / num_tx, of which the channel has an SNR."""
    db = options.estimation_error_db
    return CsiError(options.snr_error_db, options.snr_jitter_db, 0.0 if db is None else float(from_db(db + snr_db)))


def _estimates_text(options: argparse.Namespace) -> str:
    """How the receiver's estimates are off; empty if they are not."""
    parts = []
    if options.snr_error_db or options.snr_jitter_db:
        parts.append(f"SNR off by {options.snr_error_db:g} dB ± {options.snr_jitter_db:g} dB")
    if options.estimation_error_db is not None:
        parts.append(f"error of the channel {options.estimation_error_db:g} dB")
    return f"estimates: {', '.join(parts)}" if parts else ""


def _models(detectors: Iterable[Detector]) -> list[Model]:
    return [detector.model for detector in detectors if isinstance(detector, (UnfoldedDetector, ListDetector))]


def _names(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names if "lmmse" in names else ["lmmse", *names]))


def _detectors(names: Sequence[str], constellation: str | None) -> list[Detector]:
    """The detectors named and LMMSE, all for the same constellation."""
    names = _names(names)
    any_constellation = (*AUTO_DETECTORS, *LINEAR_DETECTORS)
    trained = {
        name: load_detector(name, constellation=constellation) for name in names if name not in any_constellation
    }
    carried = {detector.constellation.name for detector in trained.values()}
    if len(carried) > 1:
        raise ValueError(f"the detectors are for {' and '.join(sorted(carried))}; one constellation for all expected")
    if not carried and constellation is None:
        raise ValueError(f"{', '.join(names)}: --constellation is needed, one of {', '.join(CONSTELLATIONS)}")
    shared = constellation or carried.pop()
    return [trained.get(name) or load_detector(name, constellation=shared) for name in names]


def _size(
    num_rx: int | None, num_tx: int | None, models: Sequence[Model], recorded: tuple[int, int] | None
) -> tuple[int, int]:
    """The antenna counts asked for.

    What is left open is what was recorded; without a recording, 16; or the nearest that the detectors take. Where only
    antennas are given, there are no more streams than these.
    """
    most_rx, most_tx = recorded or (DEFAULT_ANTENNAS, DEFAULT_ANTENNAS)
    if num_tx is None:
        num_tx = min([most_tx, *([num_rx] if num_rx else []), *(model.max_num_tx for model in models)])
    if num_rx is None:
        least = max([most_rx, *(math.ceil(model.min_rx_per_tx * num_tx) for model in models)])
        num_rx = min([most_rx if recorded else least, *(model.max_num_rx for model in models)])
    return num_rx, num_tx


def _measured_snrs(models: Sequence[Model], num_rx: int, num_tx: int) -> list[float]:
    """SNRs that the first model was measured at, at this size if it was, or a few."""
    measured = [point for model in models[:1] for point in model.measured_ber]
    same_size = [point for point in measured if (point["num_rx"], point["num_tx"]) == (num_rx, num_tx)]
    return sorted({float(point["snr_db"]) for point in same_size or measured}) or list(DEFAULT_SNRS_DB)


def _print_table(title: str, estimates: str, points: Sequence[Point], choices: Mapping[str, str]) -> None:
    print(title)
    for name, detector in choices.items():
        print(f"{name}: {detector}")
    if estimates:
        print(estimates)
    width = max([len("detector"), *(len(point.detector) for point in points)])
    print(f"{'SNR':>8}  {'detector':<{width}}  {'BER':>8}  {'95 % interval':<20}  {'errors':>8}  {'bits':>9}")
    for point in points:
        low, high = point.count.confidence_interval()
        print(
            f"{point.snr_db:>5g} dB  {point.detector:<{width}}  {point.count.rate:8.2e}  [{low:.2e}, {high:.2e}]"
            f"  {point.count.errors:8d}  {point.count.bits:9d}{'' if point.complete else '  (interrupted)'}"
        )


def _as_json(points: Sequence[Point]) -> list[dict[str, Any]]:
    return [
        {
            "detector": point.detector,
            "snr_db": point.snr_db,
            "bit_errors": point.count.errors,
            "bits": point.count.bits,
            "ber": point.count.rate,
            "confidence_interval": list(point.count.confidence_interval()),
            "complete": point.complete,
        }
        for point in points
    ]


def _write_csv(points: Sequence[Point], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("detector", "snr_db", "bit_errors", "bits", "ber", "ber_low", "ber_high", "complete"))
        for point in points:
            count = point.count
            interval = count.confidence_interval()
            row = (point.detector, point.snr_db, count.errors, count.bits, count.rate, *interval, point.complete)
            table.writerow(row)
