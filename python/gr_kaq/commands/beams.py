# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq beams`: searches for a beam side by side, over pilots and SNR, on simulated channels."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..beams.planar_array import PlanarArray, rician_channels
from ..beams.policies import DEFAULT, POLICIES
from ..beams.trials import Outcome, SimulatedUsers, Tracked, is_unimodal, run_searches, run_tracking
from ..signals.bit_errors import BitErrorRate
from .arguments import add_numbers, number, parse_seed, parse_snrs, whole_number
from .long_run import check_folders, exit_status, import_progress
from .optional import import_optional

__all__ = ["Point", "add_parser", "decay"]

FAR_OFF_DB = 3.0  # beyond this loss a beam is no neighbour that is about as good
RESAMPLED = 300
FEWEST, MOST = 3, 0.5  # errors, and share of the users, of a point that says how fast errors become fewer
TRACKED_FRAMES = 100
MOST_BUDGET = 1 << 16


@dataclass(frozen=True)
class Point:
    """What one policy did with one budget at one SNR.

    Attributes:
        wrong: users for whom another beam than the best was taken.
        far_off: users whose beam loses more than 3 dB.
        gain_loss_db: mean gain of the best beams over that of those taken; with its 95 % interval.
        mean_loss_db: mean of the users' losses, at most 40 dB each.
    """

    policy: str
    snr_db: float
    budget: int
    wrong: BitErrorRate
    far_off: BitErrorRate
    gain_loss_db: float
    interval_db: tuple[float, float]
    mean_loss_db: float

    @classmethod
    def of(cls, policy: str, snr_db: float, budget: int, outcome: Outcome) -> Point:
        """The figures of an outcome."""
        users = len(outcome.wrong)
        far_off = outcome.gain < outcome.best_gain * 10 ** (-FAR_OFF_DB / 10)
        drawn = np.random.default_rng(0).integers(users, size=(RESAMPLED, users))  # bootstrap
        ratios = outcome.best_gain[drawn].mean(1) / np.maximum(outcome.gain[drawn].mean(1), 1e-30)
        low, high = 10 * np.log10(np.quantile(ratios, [0.025, 0.975]))
        return cls(
            policy,
            snr_db,
            budget,
            BitErrorRate(int(outcome.wrong.sum()), users),
            BitErrorRate(int(far_off.sum()), users),
            outcome.gain_loss_db,
            (float(low), float(high)),
            outcome.mean_loss_db,
        )


def decay(points: Sequence[Point]) -> tuple[float, float, float] | None:
    """P(far off) = exp(-exponent (pilots - offset)), fitted to the points of one policy at one SNR.

    Least squares of the logarithm, each point weighted by its errors. Points with fewer than three of them, or more
    than half of the users, are left out.

    Returns:
        Exponent per pilot, offset in pilots, and how much of the logarithm's variance the line explains; None where
        fewer than three points are left.
    """
    used = [p for p in points if p.far_off.errors >= FEWEST and p.far_off.rate <= MOST]
    if len(used) < 3:
        return None
    budgets, logs = np.array([p.budget for p in used], float), np.log([p.far_off.rate for p in used])
    weights = np.sqrt([p.far_off.errors for p in used])
    slope, start = np.polyfit(budgets, logs, 1, w=weights)
    mean = np.average(logs, weights=weights**2)
    unexplained = np.average((logs - start - slope * budgets) ** 2, weights=weights**2)
    explained = 1 - unexplained / max(float(np.average((logs - mean) ** 2, weights=weights**2)), 1e-12)
    return float(-slope), float(-start / slope) if slope else math.inf, float(explained)


def parse_budgets(text: str) -> list[int]:
    """Budgets from ``"64 256"`` (spaces or commas) or ``"32:2048"``: from the first on, doubling."""
    try:
        if ":" in text:
            start, stop = (int(part) for part in text.split(":"))
            budgets = [start << step for step in range(17) if start << step <= stop] if start > 0 else []
        else:
            budgets = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        budgets = []
    if not budgets or not all(1 <= budget <= MOST_BUDGET for budget in budgets):
        raise argparse.ArgumentTypeError(f"{text!r}: 64 256 or 32:2048 expected, 1 to {MOST_BUDGET} pilots")
    return budgets


def parse_array(text: str) -> tuple[int, int]:
    """Elements on each axis from ``"16x16"``."""
    if not re.fullmatch(r"\d{1,4}x\d{1,4}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: elements on each axis expected, for example 16x16")
    first, second = text.split("x")
    return int(first), int(second)


def add_parser(commands: Any) -> None:
    """Add `beams` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "beams",
        help="compare searches for a beam",
        description="Compare searches for the best beam of a planar array with a fixed budget of pilots. Users lie "
        "anywhere between the beams; all policies see the same ones. SNR = that of a pilot in a narrow beam that "
        "points at the user. Ctrl-C prints what was measured so far.",
    )
    add = command.add_argument
    add("--array", type=parse_array, default=(16, 16), metavar="AxB", help="elements on each axis (default 16x16)")
    add("--phase-bits", type=int, choices=range(1, 5), help="phase states of an element, 2^BITS (default: any phase)")
    add("--spacing", type=number(0.01, 1.001), default=0.5, help="of neighbours in wavelengths (default 0.5)")
    add("--rice", type=number(-40, 60), metavar="DB", help="Rice factor in dB (default: line of sight only)")
    doubling = parse_budgets("32:2048")
    add_numbers(command, "--budget", parse_budgets, "64 256, or 32:2048, which doubles (default)", "PILOTS", doubling)
    add_numbers(command, "--snr", parse_snrs, "SNRs in dB, 10 20 or 0:20:5 (default)", "DB", [0, 5, 10, 15, 20])
    add("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), metavar="NAME", help=", ".join(POLICIES))
    add("--trials", type=whole_number, default=1000, help="users of each point (default 1000)")
    add("--track", type=number(0, 90), metavar="DEGREES", help="also follow users who move so far in each frame")
    add("--seed", type=parse_seed, default=1, help="of users, fading, noise and policies (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--plots", type=Path, metavar="FOLDER", help="write errors.png, loss.png, probed.gif, tracking.png there")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    progress_bar = import_progress()
    if options.plots:  # said now, and not after minutes of simulation
        import_optional("matplotlib.figure", "--plots", "python3-matplotlib")
        import_optional("PIL.Image", "--plots", "python3-pil")
        options.plots.mkdir(parents=True, exist_ok=True)
    check_folders(options.json)
    array = PlanarArray(*options.array, spacing=options.spacing, phase_bits=options.phase_bits)
    rice_db = math.inf if options.rice is None else options.rice
    users_seed, tracking_seed = np.random.SeedSequence(options.seed).generate_state(2)
    rng = np.random.default_rng(int(users_seed))
    channels = rician_channels(array, rng.random((options.trials, 2)), rice_db, rng)
    todo = [
        (snr, budget, name)
        for snr in options.snr
        for budget in options.budget
        for name in options.policies
        if budget >= POLICIES[name].least_budget(array)
    ]
    if not todo:
        needs = ", ".join(f"{name} {POLICIES[name].least_budget(array)}" for name in options.policies)
        raise ValueError(f"no budget is enough on this array; pilots needed: {needs}")

    points: list[Point] = []
    tracked: dict[float, Tracked] = {}
    interrupted = False
    with progress_bar(total=sum(_work(*each) for each in todo), unit_scale=True, unit=" pilots") as bar:
        try:
            for snr_db, budget, name in todo:
                bar.set_description_str(f"{snr_db:g} dB, {budget} pilots, {name}")
                users = SimulatedUsers(array, channels, snr_db)
                points.append(Point.of(name, snr_db, budget, run_searches(users, name, budget, options.seed)))
                bar.update(_work(snr_db, budget, name))
            for snr_db in options.snr if options.track is not None else ():
                bar.set_description_str(f"{snr_db:g} dB, tracking")
                tracked[snr_db] = run_tracking(
                    array, options.trials, TRACKED_FRAMES, options.track, snr_db, int(tracking_seed)
                )
        except KeyboardInterrupt:
            interrupted = True

    users = SimulatedUsers(array, channels, 0.0)
    widened = np.abs(users.of_width(1, array.shape[1])[:, :, 0])  # what the first of two phases sees
    unimodal, right = is_unimodal(widened).mean(), (widened.argmax(1) == users.gains.max(2).argmax(1)).mean()
    title = _title(array, rice_db)
    print(
        f"{title}; {options.trials} users. Along the first axis, the second widened and without noise: unimodal for "
        f"{unimodal:.1%}, greatest at the best beam for {right:.1%}"
    )
    _print_points(points)
    for snr_db, result in tracked.items():
        per_user = result.loss_db.mean(1)
        spread = 1.96 * per_user.std() / math.sqrt(len(per_user))
        print(
            f"tracking at {options.track:g} degrees per frame, {snr_db:g} dB: {per_user.mean():.2f} ± {spread:.2f} dB "
            f"lost, {(result.loss_db > FAR_OFF_DB).mean():.1%} of the frames by more than {FAR_OFF_DB:g} dB; "
            f"{result.lost.mean():.2f} new searches per user"
        )
    if options.json:
        _write_json(options, array, {"unimodal": float(unimodal), "greatest_at_best": float(right)}, points, tracked)
    if options.plots and points:
        from . import beam_plots  # noqa: PLC0415 - Matplotlib is optional

        beam_plots.plot_all(points, tracked, title, options.plots)
        users = SimulatedUsers(array, channels[:1], max(options.snr))
        beam_plots.animate_probes(users, options.policies[:3], max(64, options.budget[0]), options.plots / "probed.gif")
    return exit_status(interrupted)


def _work(snr_db: float, budget: int, name: str) -> int:
    """What a point costs, for the bar: rounds cost more than pilots, but for the policy without rounds."""
    if name.startswith("parametric"):
        return 3 * budget // 2 + 1024
    return 8 * budget if name == "osub" else budget // 4 + 256


def _title(array: PlanarArray, rice_db: float) -> str:
    bits = f", {array.phase_bits} bits of phase" if array.phase_bits else ""
    path = "line of sight" if rice_db == math.inf else f"Rice factor {rice_db:g} dB"
    return f"{array.shape[0]}x{array.shape[1]}{bits}, {path}"


def _groups(points: Sequence[Point]) -> dict[tuple[str, float], list[Point]]:
    """Points by policy and SNR."""
    found: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        found.setdefault((point.policy, point.snr_db), []).append(point)
    return found


def _print_points(points: Sequence[Point]) -> None:
    width = max([len("policy"), *(len(point.policy) for point in points)])
    print(
        f"{'SNR':>8}  {'pilots':>6}  {'policy':<{width}}  {'wrong':>6}  {'95 % interval':<14}  "
        f"{'> 3 dB':>6}  {'gain lost':>9}  {'95 % interval':<14}"
    )
    for p in points:
        low, high = p.wrong.confidence_interval()
        print(
            f"{p.snr_db:>5g} dB  {p.budget:6d}  {p.policy:<{width}}  {p.wrong.rate:6.3f}  [{low:.3f}, {high:.3f}]  "
            f"{p.far_off.rate:6.3f}  {p.gain_loss_db:6.2f} dB  [{p.interval_db[0]:.2f}, {p.interval_db[1]:.2f}]"
        )
    for (name, snr_db), group in _groups(points).items():
        if (fitted := decay(group)) is not None:
            print(
                f"{snr_db:g} dB, {name}: P(> 3 dB lost) falls as exp(-{fitted[0]:.2e} (pilots - {fitted[1]:.0f})), "
                f"R² {fitted[2]:.2f}"
            )
    behind = 0.0
    for snr_db, budget in {(p.snr_db, p.budget): None for p in points}:
        of_powers = [p for p in points if (p.snr_db, p.budget) == (snr_db, budget) and not POLICIES[p.policy].coherent]
        default = [p.gain_loss_db for p in of_powers if p.policy == DEFAULT]
        if default:
            behind = max(behind, default[0] - min(p.gain_loss_db for p in of_powers))
    if any(p.policy == DEFAULT for p in points):
        print(f"{DEFAULT}, the default, is at most {behind:.2f} dB behind the best policy of powers")


def _write_json(
    options: argparse.Namespace,
    array: PlanarArray,
    first_phase: dict[str, float],
    points: Sequence[Point],
    tracked: dict[float, Tracked],
) -> None:
    content = {
        "array": list(array.shape),
        "phase_bits": array.phase_bits,
        "spacing": array.spacing,
        "rice_db": options.rice,
        "trials": options.trials,
        "seed": options.seed,
        "first_phase": first_phase,
        "points": [
            {
                "policy": p.policy,
                "snr_db": p.snr_db,
                "pilots": p.budget,
                "wrong": p.wrong.errors,
                "wrong_interval": list(p.wrong.confidence_interval()),
                "more_than_3_db_lost": p.far_off.errors,
                "gain_loss_db": p.gain_loss_db,
                "gain_loss_interval_db": list(p.interval_db),
                "mean_loss_db": p.mean_loss_db,
            }
            for p in points
        ],
        "decay": [
            {"policy": name, "snr_db": snr_db, "exponent": fitted[0], "offset": fitted[1], "r_squared": fitted[2]}
            for (name, snr_db), group in _groups(points).items()
            if (fitted := decay(group)) is not None
        ],
        "tracking": [
            {
                "degrees_per_frame": options.track,
                "snr_db": snr_db,
                "mean_loss_db": float(result.loss_db.mean()),
                "new_searches": int(result.lost.sum()),
            }
            for snr_db, result in tracked.items()
        ],
    }
    options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
