# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq bench`: how fast this machine detects, by each shipped detector that fits."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from typing import Any

import numpy as np

from .. import native
from ..channels.flat import RayleighChannels, complex_normal
from ..detection.choice import choose
from ..detection.detector import Detector
from ..detection.detectors import fitting_detectors
from ..signals.constellation import CONSTELLATIONS
from .arguments import number, parse_size, whole_number

__all__ = ["add_parser"]

NUM_CHANNELS = 64  # subcarriers of an estimate, say
ROUNDS = 5  # whose median counts: other programs run, too
SNR_DB = 20.0


def add_parser(commands: Any) -> None:
    """Add `bench` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "bench",
        help="measure the speed of the detectors on this machine",
        description="Measure how many vectors per second one core of this machine detects by each shipped detector of "
        "a size and by LMMSE, symbols and LLRs, channel estimates included; and say which one to take. Medians of "
        f"{ROUNDS} rounds: let nothing else run meanwhile.",
    )
    add = command.add_argument
    add("size", type=parse_size, metavar="NxM", help="receive antennas and streams, for example 16x16")
    add("--constellation", choices=CONSTELLATIONS, default="16qam", help="of every stream (default %(default)s)")
    add(
        "--vectors-per-estimate",
        type=whole_number,
        default=100,
        metavar="T",
        help="vectors that share a channel estimate (default %(default)s)",
    )
    add("--rate", type=number(0), metavar="V", help="vectors per second that you need, for the recommendation")
    add("--seconds", type=number(0), default=0.2, metavar="S", help="length of a round (default %(default)s)")
    add("--json", action="store_true", help="the same as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    num_rx, num_tx = options.size
    fitting = fitting_detectors(options.constellation, num_rx, num_tx)
    speeds = {
        detector.name: _vectors_per_second(detector, options.size, options.vectors_per_estimate, options.seconds)
        for detector in fitting
    }
    backend = native.fastest_backend()
    kernel = native.selected_instruction_set() if backend == "native" else "NumPy"
    advice = _advice(speeds, options.constellation, num_rx, num_tx, options.rate)
    if options.json:
        known = {"size": list(options.size), "constellation": options.constellation, "kernel": kernel}
        known |= {"vectors_per_estimate": options.vectors_per_estimate, "vectors_per_second": speeds, "advice": advice}
        print(json.dumps(known, indent=2))
        return 0
    print(f"{platform.machine()}, kernel {kernel}, one core; {num_rx}x{num_tx}, {options.constellation}")
    print(f"{options.vectors_per_estimate} vectors per channel estimate")
    width = max(map(len, speeds))
    for name, speed in sorted(speeds.items(), key=lambda item: -item[1]):
        print(f"  {name:<{width}}  {speed:12,.0f} vectors/s")
    print(advice)
    return 0


def _vectors_per_second(detector: Detector, size: tuple[int, int], vectors: int, seconds: float) -> float:
    rng = np.random.default_rng(1)
    num_rx, num_tx = size
    h = RayleighChannels(num_rx, num_tx, NUM_CHANNELS, seed=1).draw(1)[0]
    x = detector.constellation.points[
        rng.integers(len(detector.constellation.points), size=(NUM_CHANNELS, vectors, num_tx))
    ]
    noise_var = num_tx * 10 ** (-SNR_DB / 10)
    y = x @ h.swapaxes(-1, -2) + complex_normal(rng, (NUM_CHANNELS, vectors, num_rx)) * np.float32(noise_var**0.5)
    plan = detector.plan(NUM_CHANNELS, num_rx, num_tx)
    rounds = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        runs, begin = 0, time.perf_counter()
        while not runs or time.perf_counter() - begin < seconds:
            plan.prepare(h, noise_var=noise_var).detect(y)
            runs += 1
        rounds.append(runs * NUM_CHANNELS * vectors / (time.perf_counter() - begin))
    return statistics.median(rounds[1:])


def _advice(speeds: dict[str, float], constellation: str, num_rx: int, num_tx: int, rate: float | None) -> str:
    """Which one to take: the one with the lowest error rate that keeps up."""
    best, fast = (choose(name, constellation, num_rx, num_tx) for name in ("auto", "auto-fast"))
    if rate is None:
        text = f"Take auto ({best.detector}: {best.reason})"
        return text + (f", or auto-fast ({fast.detector}) where that is too slow." if fast != best else ".")
    for name in dict.fromkeys((best.detector, fast.detector, max(speeds, key=lambda name: speeds[name]))):
        if name in speeds and speeds[name] >= rate:
            return f"Take {name}: one core detects {speeds[name] / rate:.1f} times what you need."
    fastest = max(speeds, key=lambda name: speeds[name])
    cores = -(-rate // speeds[fastest])
    return f"One core is too slow for {rate:g} vectors/s; {fastest} needs at least {cores:.0f} (num_threads)."
