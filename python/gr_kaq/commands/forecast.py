# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq forecast`: how far ahead channels can be known, by predictors side by side."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..channels.flat import shipped_recording
from ..channels.sequence_file import read_sequence
from ..channels.users import User
from ..forecasting.ccm import ClusteringNetwork
from ..forecasting.clusters import Clusters, find_clusters
from ..forecasting.evaluation import KNOWN, Evaluation
from ..forecasting.plots import plot_clusters, plot_errors
from ..forecasting.predictors import PREDICTORS, known_doppler, predictor
from ..forecasting.recorded import RecordedScene
from ..forecasting.series import Predictor
from ..forecasting.simulation import Scene, Trial
from .arguments import add_numbers, number, parse_seed, parse_size, several, whole_number
from .long_run import check_folders, exit_status, import_progress
from .optional import import_optional

__all__ = ["add_parser"]

MOST_HORIZON = 10000
KNOWN_DOPPLER = "wiener:"
METHODS_HELP = (
    f"of {', '.join(PREDICTORS)} (default: all); {KNOWN_DOPPLER}HZ, which knows the Doppler; or a network of your own "
    "(.onnx, training.forecaster)"
)
BOUND_SEEDS = 4


def add_parser(commands: Any) -> None:
    """Add `forecast` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "forecast",
        help="forecast channels",
        description="Forecast the taps of channels, estimated once per frame, by several methods, and compare with "
        "what came: of a recording, or of simulated users that each fade in their own way. NMSE = sum of squared "
        "errors over sum of squared taps. Simulated targets have no noise; recorded ones have theirs. "
        "Ctrl-C prints what was measured so far.",
    )
    add = command.add_argument
    add("recording", nargs="?", help="a recording (.npz) with times, or the name of one that ships (default: simulate)")
    add_numbers(command, "--horizon", _horizons, "1 2 5 or 1:20 (default)", "FRAMES", _horizons("1:20"))
    add("--methods", nargs="+", default=list(PREDICTORS), metavar="NAME", help=METHODS_HELP)
    add("--channel", default="tdl-a", help="profile of the delays, without a line of sight (default %(default)s)")
    add("--size", type=parse_size, default=(2, 2), help="receive antennas x streams, simulated (default 2x2)")
    add("--delay-spread", type=number(0, 1e-5), default=100e-9, metavar="S", help="in seconds (default %(default)g)")
    per_stream = "one for all, or one for each stream"
    add_numbers(command, "--doppler", several(number(0, 1e4)), f"{per_stream} (default 100)", "HZ", [100.0])
    line_of_sight = f"power of a line of sight over the rest of the strongest tap; {per_stream} (default none)"
    add_numbers(command, "--rice-db", several(_decibels), line_of_sight, "DB", [-math.inf])
    still = f"of the taps, whose scatterers stand still; {per_stream} (default 0)"
    add_numbers(command, "--static", several(number(0, 1.001)), still, "SHARE", [0.0])
    add(
        "--snr", type=number(-20, 100), default=20.0, metavar="DB", help="of an estimated carrier (default %(default)g)"
    )
    add("--taps", type=whole_number, default=8, help="neighbouring delays (default %(default)s)")
    add("--history", type=whole_number, default=64, metavar="FRAMES", help="before a forecast (default %(default)s)")
    add("--trials", type=whole_number, default=20, help="channels, or windows of a recording (default %(default)s)")
    add("--seed", type=parse_seed, default=1, help="of the first channel; the next one has the next (default 1)")
    add_numbers(command, "--over-doppler", several(number(0, 1e4)), "then with these for all streams, too", "HZ")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--plot", type=Path, metavar="FILE", help="write a picture (PNG, PDF, SVG) of NMSE over horizon and Doppler")
    add("--map", type=Path, metavar="FILE", help="write a picture of the clusters beside the delay-Doppler spectrum")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    progress_bar = import_progress()
    if options.plot or options.map:  # said now, and not after minutes
        figures = import_optional("matplotlib.figure", "--plot and --map", "python3-matplotlib")
    check_folders(options.json, options.plot, options.map)
    methods = {Path(name).name: _method(name) for name in options.methods}
    ahead = np.unique(np.array(options.horizon, np.int64))
    if options.recording and options.over_doppler:
        raise ValueError("--over-doppler is for simulated channels; none expected with a recording")
    scene = _recorded(options) if options.recording else _scene(options, options.doppler)
    title = _title(options)
    count = len(scene.windows(options.trials, ahead)) if isinstance(scene, RecordedScene) else options.trials
    sweep = options.over_doppler or []
    evaluation = Evaluation(methods)
    over: dict[str, list[float]] = {}
    dopplers: list[float] = []
    interrupted = False
    last: Trial | None = None
    clusters: Clusters | None = None
    with progress_bar(total=count + len(sweep) * options.trials, unit="trial") as bar:
        try:
            for trial in _trials(scene, options, ahead):
                last = trial
                evaluation.add(trial)
                bar.update()
            for doppler in sweep:
                part = Evaluation(methods)
                other = _scene(options, [doppler])
                for trial in _trials(other, options, ahead[:1]):
                    part.add(trial)
                    bar.update()
                dopplers.append(doppler)
                for name in part.errors:
                    over.setdefault(name, []).append(float(part.nmse_db(name)[0]))
                over.setdefault("bound", []).append(float(_bound_db(other, options, ahead[:1])[0]))
        except KeyboardInterrupt:
            interrupted = True
        bound = _bound_db(scene, options, ahead) if isinstance(scene, Scene) and not interrupted else None
        if options.map and last is not None:
            clusters = find_clusters(last.series)
            if clusters is None:
                raise ValueError("--map: too few estimates for clusters; a longer --history expected")
    if last is None:
        return exit_status(interrupted)
    print(title)
    if isinstance(scene, RecordedScene):
        print(f"{scene.faults}; {1e3 * scene.step:.3g} ms from packet to packet (median)")
    _print_table(evaluation, ahead, bound)
    if options.json:
        content = _as_json(options, scene.step, evaluation, ahead, bound, dopplers, over)
        options.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if options.plot:
        curves = {n: np.stack([evaluation.nmse_db(n), *evaluation.nmse_interval_db(n)]) for n in evaluation.errors}
        if bound is not None:
            curves["bound"] = bound
        figure = figures.Figure(figsize=(12 if dopplers else 7, 5), layout="constrained")
        plot_errors(
            figure, 1e3 * scene.step * ahead, curves, (dopplers, over) if dopplers else None, title, options.plot
        )
    if options.map and clusters is not None:
        figure = figures.Figure(figsize=(9, 1.5 + 2.2 * scene.shape[2]), layout="constrained")
        plot_clusters(figure, last.series, clusters, scene.shape, title, options.map)
    return exit_status(interrupted)


def _horizons(text: str) -> list[int]:
    try:
        if ":" in text:
            first, end = (int(part) for part in text.split(":"))
            found = list(range(first, end + 1)) if end - first < MOST_HORIZON else []
        else:
            found = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        found = []
    if not found or min(found) < 1 or max(found) > MOST_HORIZON:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 2 5 or first:last expected, 1 to {MOST_HORIZON} frames ahead")
    return found


def _decibels(text: str) -> float:
    return -math.inf if text == "none" else number(-100, 100.001)(text)


def _method(name: str) -> Predictor:
    if name.startswith(KNOWN_DOPPLER):
        try:
            return known_doppler(number(0)(name.removeprefix(KNOWN_DOPPLER)))
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"--methods {name}: {error}") from None
    return ClusteringNetwork(name) if name.endswith(".onnx") else predictor(name)


def _recorded(options: argparse.Namespace) -> RecordedScene:
    path = options.recording
    if not path.endswith(".npz"):
        path = shipped_recording(path)
    return RecordedScene(read_sequence(path), options.taps, options.history)


def _scene(options: argparse.Namespace, dopplers: Sequence[float]) -> Scene:
    num_rx, num_tx = options.size
    lists = {"--doppler": dopplers, "--rice-db": options.rice_db, "--static": options.static}
    for name, values in lists.items():
        if len(values) not in (1, num_tx):
            raise ValueError(f"{name} has {len(values)} values; one, or one for each of {num_tx} streams expected")
    columns = [list(values) * (num_tx if len(values) == 1 else 1) for values in lists.values()]
    users = tuple(User(*values) for values in zip(*columns, strict=True))
    scene = Scene(num_rx, users, options.channel, options.delay_spread, options.snr, options.taps, options.history)
    if options.taps >= scene.frame_format.num_active:
        raise ValueError(f"--taps is {options.taps}; fewer than {scene.frame_format.num_active} carriers expected")
    return scene


def _trials(scene: Scene | RecordedScene, options: argparse.Namespace, ahead: NDArray[np.int64]) -> Iterator[Trial]:
    if isinstance(scene, RecordedScene):
        yield from (scene.trial(end, ahead) for end in scene.windows(options.trials, ahead))
    else:
        yield from (scene.draw(options.seed + index, ahead) for index in range(options.trials))


def _bound_db(scene: Scene, options: argparse.Namespace, ahead: NDArray[np.int64]) -> NDArray[np.float64]:
    """In the mean over some channels: where lines and what stands still lie is drawn with them."""
    count = min(options.trials, BOUND_SEEDS)
    bounds = [scene.bound(options.seed + index, ahead) for index in range(count)]
    return np.asarray(10 * np.log10(np.mean(bounds, axis=0)), np.float64)


def _title(options: argparse.Namespace) -> str:
    if options.recording:
        return f"{Path(options.recording).name}, {options.taps} taps, {options.history} packets of history"

    def shown(values: Sequence[float]) -> str:
        return "/".join("none" if value == -math.inf else f"{value:g}" for value in values)

    num_rx, num_tx = options.size
    text = f"{num_rx}x{num_tx}, {options.channel}, {shown(options.doppler)} Hz, {options.snr:g} dB"
    if max(options.rice_db) > -math.inf:
        text += f", Rice factor {shown(options.rice_db)} dB"
    if max(options.static) > 0:
        text += f", {shown(options.static)} of the taps at rest"
    return text


def _print_table(evaluation: Evaluation, ahead: NDArray[np.int64], bound: NDArray[np.float64] | None) -> None:
    picks = np.unique(np.rint(np.geomspace(1, len(ahead), min(6, len(ahead)))).astype(int)) - 1
    names = [*evaluation.errors, *(["bound"] if bound is not None else [])]
    width = max(len("NMSE in dB, frames ahead:"), *(len(name) for name in names))
    print(f"{'NMSE in dB, frames ahead:':<{width}}" + "".join(f"{horizon:>8d}" for horizon in ahead[picks]))
    for name in evaluation.errors:
        print(f"{name:<{width}}" + "".join(f"{x:>8.2f}" for x in evaluation.nmse_db(name)[picks]))
        low, high = evaluation.nmse_interval_db(name)[:, picks[0]]
        told = evaluation.expected_db(name)[picks[0]]
        print(f"{'':<{width}}   {ahead[picks[0]]} ahead: [{low:.2f}, {high:.2f}] (95 %), itself expects {told:.2f}")
    if bound is not None:
        print(f"{'bound':<{width}}" + "".join(f"{x:>8.2f}" for x in bound[picks]))
    if "wiener" in evaluation.errors:
        for name in evaluation.errors:
            if name in ("cw-wiener", KNOWN) or name.startswith(KNOWN_DOPPLER):
                gain = evaluation.gain_db(name, "wiener")[:, picks]
                parts = [f"{m:.2f} [{a:.2f}, {b:.2f}]" for m, a, b in gain.T]
                print(f"{name} gains on wiener, dB: " + ", ".join(parts))


def _as_json(
    options: argparse.Namespace,
    step: float,
    evaluation: Evaluation,
    ahead: NDArray[np.int64],
    bound: NDArray[np.float64] | None,
    dopplers: Sequence[float],
    over: dict[str, list[float]],
) -> dict[str, Any]:
    left_out = ("run", "json", "plot", "map", "command", "rice_db")
    settings = {key: value for key, value in vars(options).items() if key not in left_out}
    settings["rice_db"] = [value if math.isfinite(value) else None for value in options.rice_db]
    methods = {}
    for name in evaluation.errors:
        methods[name] = {
            "nmse_db": evaluation.nmse_db(name).tolist(),
            "interval_db": evaluation.nmse_interval_db(name).T.tolist(),
            "expected_db": [value if math.isfinite(value) else None for value in evaluation.expected_db(name)],
        }
        if "wiener" in evaluation.errors:
            methods[name]["gain_on_wiener_db"] = evaluation.gain_db(name, "wiener").T.tolist()
    return {
        **settings,
        "trials": len(evaluation.energies),
        "step_s": step,
        "ahead": ahead.tolist(),
        "methods": methods,
        "bound_db": None if bound is None else bound.tolist(),
        "over_doppler": {"doppler_hz": list(dopplers), "nmse_db": over},
    }
