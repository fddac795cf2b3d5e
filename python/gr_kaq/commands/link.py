# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq link`: policies that adapt modulation, code rate and rank, side by side on the same fading."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..channels.profiles import PROFILES
from ..frames.frame_format import FFT_SIZES, SYMBOL_COUNTS, FrameFormat
from ..frames.modulation_coding import MCS_TABLE
from ..signals.bit_errors import BitErrorRate
from .arguments import add_numbers, number, parse_seed, parse_size, parse_snrs, several, whole_number
from .long_run import check_folders, exit_status, import_progress
from .optional import import_optional

if TYPE_CHECKING:
    from ..adaptation.choices import Choices
    from ..adaptation.simulation import Outcome, Scenario

__all__ = ["add_parser"]

Progress = Callable[..., AbstractContextManager[Any]]

FIXED = "fixed"
CANDIDATES = 3  # MCS and rank that are tried as the best in hindsight, at each point and over all


def parse_range(text: str) -> list[float]:
    """As `parse_snrs`, or ``"5:25"``: in steps of 5."""
    return parse_snrs(f"{text}:5" if text.count(":") == 1 else text)


def add_parser(commands: Any) -> None:
    """Add `link` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "link",
        help="compare policies of link adaptation; calibrate them",
        description="policies: compare policies that choose modulation, code rate and rank of each frame, with hybrid "
        "ARQ, on the same fading and with the receiver as it is. calibrate: measure the block error curves that they "
        "rest on. combining: what repeats are worth in white noise. header: how often headers and the most robust "
        "payloads are lost. Ctrl-C prints what was measured so far.",
    )
    add = command.add_argument
    add("what", nargs="?", choices=tuple(MODES), default="policies", help="(default %(default)s)")
    add(
        "--policies",
        nargs="+",
        default=[FIXED, "arf", "olla", "illa", "both", "goodput", "oracle", "genie"],
        metavar="NAME",
        help="fixed (the best in hindsight), arf, olla, illa, both, goodput, salad; oracle, channel and genie see the "
        "frame before, its effective SNR, its channel, or all of it (default: all but salad and channel)",
    )
    add_numbers(command, "--snr", parse_range, "in dB, 10 20 or 5:25:5 (default)", "DB", parse_range("5:25"))
    add_numbers(command, "--doppler", several(number(0, 2000)), "in Hz (default 10)", "HZ", [10.0])
    add_numbers(command, "--delay", several(whole_number), "of feedback (default 2)", "FRAMES", [2])
    add("--interval", type=number(0), metavar="S", help="from frame to frame (default: frames and gaps of 256 samples)")
    add("--size", type=parse_size, default=(2, 2), help="receive antennas x transmit antennas (default 2x2)")
    add("--rank", type=whole_number, help="the only one that is sent (default: any)")
    add("--fft-size", type=int, choices=FFT_SIZES, default=FFT_SIZES[0], help="carriers (default %(default)s)")
    add("--symbols", type=int, choices=SYMBOL_COUNTS, default=SYMBOL_COUNTS[0], help="of a frame (default %(default)s)")
    add("--detector", default="auto", help="auto, auto-fast, lmmse or zf (default %(default)s)")
    add("--channel", choices=PROFILES, default="tdl-a", help="profile of the fading (default %(default)s)")
    add("--delay-spread", type=number(0, 1e-5), default=100e-9, metavar="S", help="in seconds (default %(default)g)")
    add("--target", type=number(0.001, 0.9), default=0.1, help="error rate of first transmissions (default 0.1)")
    add("--feedback-loss", type=number(0, 1), default=0.0, help="share of frames nobody answers (default 0)")
    add("--forecasts", action="store_true", help="reports say what the receiver expects when they are heard")
    add("--chase", action="store_true", help="repeat the same bits, instead of the next redundancy version")
    add("--curves", type=Path, metavar="FILE", help="of `kaq link calibrate` (default: those that ship)")
    add("--frames", type=whole_number, default=500, help="on each channel; blocks of combining (default 500)")
    add("--channels", type=whole_number, default=8, help="how many, at each point (default 8)")
    add("--seed", type=parse_seed, default=1, help="of channels, noise and blocks (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--plots", type=Path, metavar="FOLDER", help="write goodput.png there")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    progress_bar = import_progress()
    check_folders(options.json)
    if options.plots:
        import_optional("matplotlib.figure", "--plots", "python3-matplotlib")
        options.plots.mkdir(parents=True, exist_ok=True)
    content, interrupted = MODES[options.what](options, progress_bar)
    if options.json:
        settings = {
            key: value
            for key, value in vars(options).items()
            if key not in ("run", "json", "plots", "command", "curves")
        }
        options.json.write_text(json.dumps({**settings, **content}, indent=1) + "\n", "utf-8")
    return exit_status(interrupted)


def _frame_format(options: argparse.Namespace) -> FrameFormat:
    return FrameFormat(options.size[1], options.fft_size, num_symbols=options.symbols)


def _scenario(options: argparse.Namespace, snr_db: float, doppler: float, delay: int) -> Scenario:
    from ..adaptation.simulation import Scenario  # noqa: PLC0415 - needs gr-fec

    return Scenario(
        _frame_format(options),
        options.size[0],
        snr_db,
        doppler=doppler,
        delay=delay,
        interval=options.interval,
        profile=options.channel,
        delay_spread=options.delay_spread,
        detector=options.detector,
        feedback_loss=options.feedback_loss,
        rank=options.rank,
        forecasts=options.forecasts,
    )


# Policies


def _policies(options: argparse.Namespace, progress_bar: Progress) -> tuple[dict[str, Any], bool]:
    from ..adaptation.block_error_curves import BlockErrorCurves, shipped_curves  # noqa: PLC0415
    from ..adaptation.choices import Choices  # noqa: PLC0415
    from ..adaptation.policies import POLICIES  # noqa: PLC0415
    from ..adaptation.simulation import SEEING, run_policies  # noqa: PLC0415

    known = (FIXED, *POLICIES, *SEEING)
    for name in options.policies:
        if name not in known:
            raise ValueError(f"unknown policy {name!r}; one of {', '.join(known)} expected")
    curves = BlockErrorCurves.load(options.curves) if options.curves else shipped_curves()
    seeds = [options.seed * 1000 + index for index in range(options.channels)]
    points = list(itertools.product(options.delay, options.doppler, options.snr))
    scenarios = [_scenario(options, snr_db, doppler, delay) for delay, doppler, snr_db in points]
    choices = Choices(_frame_format(options), curves, options.target, scenarios[0].ranks)
    names = [name for name in options.policies if name != FIXED]
    found: dict[tuple[int, float, float], list[Outcome]] = {}
    interrupted = False
    total = options.frames * options.channels * len(points)
    with progress_bar(total=total, unit="frame", unit_scale=True) as bar:
        try:
            candidates: list[list[tuple[int, int]]] = [[] for _ in points]
            if FIXED in options.policies:
                bar.set_description_str("what may be best in hindsight")
                candidates = _candidates(scenarios, seeds, options.frames, choices)
            for point, scenario, fixed in zip(points, scenarios, candidates, strict=True):
                bar.set_description_str(f"{point[2]:g} dB, {point[1]:g} Hz, delay {point[0]}")
                found[point] = run_policies(
                    scenario,
                    names,
                    seeds=seeds,
                    num_frames=options.frames,
                    fixed=fixed,
                    choices=choices,
                    chase=options.chase,
                    progress=bar.update,
                )
        except KeyboardInterrupt:
            interrupted = True
    title = (
        f"{options.size[0]}x{options.size[1]}, {options.fft_size} carriers, {options.channel}, {options.detector}"
        f"{f', rank {options.rank}' if options.rank else ''}{', with forecasts' if options.forecasts else ''}"
    )
    print(f"{title}; {options.channels} channels of {options.frames} frames")
    shown = {point: _with_best_fixed(outcomes) for point, outcomes in found.items()}
    for point, outcomes in shown.items():
        _print_point(point, outcomes)
    over_all = _over_all(found)
    _print_over_all(over_all)
    if options.plots and shown:
        _plot(options, shown, title)
    content = {
        "points": [
            {"delay": delay, "doppler": doppler, "snr_db": snr_db, "policies": [_as_json(o) for o in outcomes]}
            for (delay, doppler, snr_db), outcomes in found.items()
        ],
        "over_all_points": over_all,
    }
    return content, interrupted


def _candidates(
    scenarios: Sequence[Scenario], seeds: Sequence[int], num_frames: int, choices: Choices
) -> list[list[tuple[int, int]]]:
    """For each scenario, what may be the best MCS and rank there, or over all."""
    from ..adaptation.simulation import expected_goodputs  # noqa: PLC0415

    expected = [expected_goodputs(scenario, seeds, num_frames, choices) for scenario in scenarios]
    over_all = _greatest(np.sum(expected, axis=0))
    return [list(dict.fromkeys([*_greatest(goodputs), *over_all])) for goodputs in expected]


def _greatest(goodputs: Any) -> list[tuple[int, int]]:
    places = np.argsort(-goodputs, axis=None)[:CANDIDATES].tolist()
    return [(place % len(MCS_TABLE), place // len(MCS_TABLE) + 1) for place in places]


def _with_best_fixed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """All but those that never change, of which the best stays."""
    fixed = [outcome for outcome in outcomes if outcome.policy.startswith(FIXED)]
    best = max(fixed, key=lambda outcome: outcome.goodput, default=None)
    return ([best] if best else []) + [outcome for outcome in outcomes if outcome not in fixed]


def _print_point(point: tuple[int, float, float], outcomes: Sequence[Outcome]) -> None:
    delay, doppler, snr_db = point
    print(f"\n{snr_db:g} dB, {doppler:g} Hz, feedback after {delay} frames")
    genie = next((o.goodput for o in outcomes if o.policy == "genie"), None)
    fixed = next((o.goodput for o in outcomes if o.policy.startswith(FIXED)), None)
    width = max(len(outcome.policy) for outcome in outcomes)
    print(
        f"{'policy':<{width}}  goodput, Mbit/s   of genie  of fixed  first errors  95 % interval   lost blocks   "
        "most often"
    )
    for o in outcomes:
        of_genie = f"{o.goodput / genie:8.3f}" if genie else f"{'-':>8}"
        of_fixed = f"{o.goodput / fixed:8.3f}" if fixed else f"{'-':>8}"
        low, high = BitErrorRate(o.first_errors, o.first).confidence_interval() if o.first else (0.0, 1.0)
        mcs, rank = max(o.used, key=lambda choice: o.used[choice])
        print(
            f"{o.policy:<{width}}  {o.goodput / 1e6:6.3f} ± {o.interval / 1e6:5.3f}  {of_genie}  {of_fixed}  "
            f"{o.block_error_rate:12.3f}  [{low:.3f}, {high:.3f}]  {o.lost:3d} of {o.blocks:<6d}  "
            f"{MCS_TABLE[mcs]} x{rank} ({o.used[mcs, rank] / max(1, sum(o.used.values())):.0%})"
        )


def _over_all(found: dict[tuple[int, float, float], list[Outcome]]) -> dict[str, float]:
    """Mean goodput over all points of each policy, and of what never changed and was tried at every point."""
    sums: dict[str, list[float]] = {}
    for outcomes in found.values():
        for outcome in outcomes:
            sums.setdefault(outcome.policy, []).append(outcome.goodput)
    return {name: float(np.mean(values)) for name, values in sums.items() if len(values) == len(found)}


def _print_over_all(over_all: dict[str, float]) -> None:
    fixed = max((name for name in over_all if name.startswith(FIXED)), key=lambda name: over_all[name], default=None)
    print("\nmean over all points, Mbit/s" + (f"; never changed over all of them: {fixed}" if fixed else ""))
    for name, goodput in over_all.items():
        if not name.startswith(FIXED) or name == fixed:
            ratios = [f"{goodput / over_all[other]:.3f} of {other}" for other in ("genie", fixed) if other in over_all]
            print(f"{name}: {goodput / 1e6:.3f}  {', '.join(ratios)}")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "policy": outcome.policy,
        "goodput": outcome.goodput,
        "goodputs": outcome.goodputs,
        "first": outcome.first,
        "first_errors": outcome.first_errors,
        "blocks": outcome.blocks,
        "lost": outcome.lost,
        "used": [{"mcs": mcs, "rank": rank, "blocks": count} for (mcs, rank), count in sorted(outcome.used.items())],
    }


def _plot(options: argparse.Namespace, shown: dict[tuple[int, float, float], list[Outcome]], title: str) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415

    from ..adaptation.plots import plot_outcomes  # noqa: PLC0415

    axis = 0 if len(options.delay) > 1 else 1 if len(options.doppler) > 1 else 2
    others = [i for i in range(3) if i != axis]
    labels = ("feedback after frames", "Doppler [Hz]", "mean SNR [dB]")
    groups: dict[tuple[float, ...], dict[float, list[Outcome]]] = {}
    for point, outcomes in shown.items():
        groups.setdefault(tuple(point[i] for i in others), {})[point[axis]] = outcomes
    for index, (rest, outcomes_by) in enumerate(groups.items()):
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        fixed = ", ".join(f"{labels[i]} {value:g}" for i, value in zip(others, rest, strict=True))
        one_name = {x: [_renamed(o) for o in outcomes] for x, outcomes in outcomes_by.items()}
        name = "goodput.png" if len(groups) == 1 else f"goodput-{index + 1}.png"
        plot_outcomes(figure, one_name, labels[axis], f"{title}\n{fixed}", options.plots / name)


def _renamed(outcome: Outcome) -> Outcome:
    from dataclasses import replace  # noqa: PLC0415

    return replace(outcome, policy=FIXED) if outcome.policy.startswith(FIXED) else outcome


# What they rest on


def _calibrate(options: argparse.Namespace, progress_bar: Progress) -> tuple[dict[str, Any], bool]:
    from ..adaptation.calibration import calibrate  # noqa: PLC0415

    with progress_bar(total=options.frames, unit="frame") as bar:
        curves = calibrate(
            _frame_format(options),
            options.size[0],
            options.detector,
            num_frames=options.frames,
            seed=options.seed,
            progress=bar.update,
        )
    print("MCS           half wrong at    a tenth at      width   frames  wrong  LLRs too sure by")
    for curve in curves:
        tenth = curve["threshold_db"] + curve["width_db"] * float(np.log(9))
        print(
            f"{curve['mcs']:<12}  {curve['threshold_db']:10.2f} dB  {tenth:9.2f} dB  {curve['width_db']:6.2f} dB  "
            f"{curve['frames']:7d}  {curve['errors']:5d}  {curve['llr_bias_db']:13.2f} dB"
        )
    return {"curves": curves}, False


def _combining(options: argparse.Namespace, progress_bar: Progress) -> tuple[dict[str, Any], bool]:
    from ..adaptation.combining import RATE, combining_thresholds  # noqa: PLC0415

    found = []
    interrupted = False
    with progress_bar(total=5 * len(MCS_TABLE), unit="threshold") as bar:
        try:
            for mcs in range(len(MCS_TABLE)):
                bar.set_description_str(str(MCS_TABLE[mcs]))
                found.append(
                    combining_thresholds(mcs, num_blocks=options.frames, seed=options.seed, progress=bar.update)
                )
        except KeyboardInterrupt:
            interrupted = True
    print(f"SNR in white noise at which {RATE:.0%} of {options.frames} blocks are wrong, and what repeats save")
    print("MCS            one frame   two: Chase   incremental   four: Chase   incremental")
    for single, *others in found:
        gains = "   ".join(f"{single.snr_db - other.snr_db:8.2f} dB" for other in others)
        print(f"{MCS_TABLE[single.mcs]!s:<12}  {single.snr_db:7.2f} dB  {gains}")
    thresholds = [
        {"mcs": str(MCS_TABLE[t.mcs]), "way": t.way, "copies": t.copies, "snr_db": t.snr_db}
        for of_mcs in found
        for t in of_mcs
    ]
    return {"thresholds": thresholds}, interrupted


def _header(options: argparse.Namespace, progress_bar: Progress) -> tuple[dict[str, Any], bool]:
    from ..adaptation.simulation import SimulatedLink  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    interrupted = False
    link: SimulatedLink | None = None
    with progress_bar(total=options.frames * len(options.snr), unit="frame") as bar:
        try:
            for snr_db in options.snr:
                scenario = _scenario(options, snr_db, options.doppler[0], 1)
                headers = payloads = 0
                for index in range(options.frames):
                    link = SimulatedLink(scenario, options.seed * 100000 + index, link.receiver if link else None)
                    frame = link.frame(0)
                    headers += not frame.header_arrives
                    payloads += not frame.decodes(0, 1)
                    bar.update()
                rows.append({"snr_db": snr_db, "frames": options.frames, "headers": headers, "payloads": payloads})
        except KeyboardInterrupt:
            interrupted = True
    print(f"each frame on a channel of its own; lost headers, and lost payloads of {MCS_TABLE[0]}, rank 1")
    for row in rows:
        rates = [BitErrorRate(row[name], row["frames"]) for name in ("headers", "payloads")]
        shown = "   ".join(
            f"{rate.rate:.4f} [{rate.confidence_interval()[0]:.4f}, {rate.confidence_interval()[1]:.4f}]"
            for rate in rates
        )
        print(f"{row['snr_db']:g} dB: {shown}")
    return {"lost": rows}, interrupted


MODES: dict[str, Callable[[argparse.Namespace, Progress], tuple[dict[str, Any], bool]]] = {
    "policies": _policies,
    "calibrate": _calibrate,
    "combining": _combining,
    "header": _header,
}
