# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of a received frame goes: each stage alone, what the processor allows, and what a flowgraph adds.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 -m benchmarks.receiver_stages --detector lmmse --output out/stages

The stages are what the blocks call, on frames in memory, one thread at a time. All run in turns; the table has medians,
and the fastest in brackets. A stage's bound is the time of its multiply-adds (and of what else it computes with the
same units) at the peak of one core, as `benchmarks.speed` measures it: nothing else would take time then.

The flowgraph is that of `benchmarks.receiver_speed`. Its CPU time per frame, over all threads, less that of the stages,
is what Python, GNU Radio's scheduler, tags, copies and the source of the samples take.

Written to stages.json and stages.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.detection.detectors import load_detector
from gr_kaq.estimation.estimator import ChannelEstimator, FrameReport
from gr_kaq.estimation.observation import DELAY_MODELS, DOPPLERS, SNR_STEP_DB
from gr_kaq.frames.frame_format import NUM_SYMBOLS, PREAMBLE_PERIODS, FrameFormat
from gr_kaq.frames.payload import PayloadCoder
from gr_kaq.frames.synchronization import Synchronizer

from .receiver_speed import GAP, measure, received_samples
from .speed import limits, timing
from .speed.machine import processor

FRAMES = 32  # a call works on
STAGES = ("search", "Fourier transforms", "channel estimation", "detection", "decoding")
DOPPLER_MODES = 8
STATES = 64  # of the code


class Stages:
    """What the blocks call, on the same frames again and again."""

    def __init__(self, frame: FrameFormat, detector: str, snr_db: float, seed: int):
        self.frame = frame
        size = frame.num_tx
        self.samples = received_samples(frame, size, FRAMES, snr_db, seed)
        self.synchronizer = Synchronizer(frame, size)
        self.windows = [found.windows for found in self.synchronizer.push(self.samples)]
        if len(self.windows) != FRAMES:
            raise ValueError(f"{len(self.windows)} of {FRAMES} frames are found at {snr_db} dB; more SNR expected")
        self.estimator, self.coder = ChannelEstimator(frame), PayloadCoder(frame)
        self.transforms = self._transform()
        self.starts = [NUM_SYMBOLS * i for i in range(FRAMES)]
        self.received = [np.empty((FRAMES, frame.data_per_stream), np.complex64) for _ in range(size)]
        self.channels = [np.empty(frame.data_per_stream * size**2, np.complex64) for _ in range(FRAMES)]
        self.reports = self._estimate()
        constellation = frame.constellation_name
        self.plan = load_detector(detector, constellation=constellation).plan(frame.data_per_stream, size, size)
        width = frame.data_per_stream
        self.symbols = [np.empty((FRAMES, width), np.complex64) for _ in range(size)]
        self.llrs = [np.empty((FRAMES, width * frame.constellation.bits_per_symbol), np.float32) for _ in range(size)]
        self._detect()

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Each stage, on all frames."""
        return dict(
            zip(STAGES, (self._search, self._transform, self._estimate, self._detect, self._decode), strict=True)
        )

    def _search(self) -> None:
        self.synchronizer.push(self.samples)

    def _transform(self) -> list[np.ndarray]:
        """By NumPy, where the receiver has FFTW."""
        return [
            np.fft.fftshift(np.fft.fft(np.concatenate([w[:, a] for w in self.windows]), norm="ortho"), axes=1).astype(
                np.complex64
            )
            for a in range(self.frame.num_tx)
        ]

    def _estimate(self) -> Any:
        return self.estimator.estimate_frames(self.transforms, self.starts, self.received, self.channels)

    def _detect(self) -> None:
        shape = (self.frame.data_per_stream, self.frame.num_tx, self.frame.num_tx)
        for i, (channel, report) in enumerate(zip(self.channels, self.reports, strict=True)):
            prepared = self.plan.prepare(channel.reshape(shape), noise_var=report.data_noise_var)
            prepared.detect_streams(
                *([of[i : i + 1] for of in port] for port in (self.received, self.symbols, self.llrs))
            )

    def _decode(self) -> None:
        if None in self.coder.decode_streams(self.llrs):
            raise ValueError("a frame cannot be decoded; more SNR expected")


def wiener_modes(frame: FrameFormat, estimator: ChannelEstimator, report: FrameReport) -> tuple[int, int]:
    """Of the filter that interpolated this frame: over time, and over the carriers."""
    spreads = [spread * frame.fft_size for spread, _ in DELAY_MODELS]
    steps = (
        round(report.snr_db / SNR_STEP_DB),
        spreads.index(report.delay_spread),
        DOPPLERS.tolist().index(report.doppler),
    )
    return estimator.interpolator.native.get(*steps).num_modes


def multiply_adds(frame: FrameFormat, time_modes: int, carrier_modes: int) -> dict[str, float]:
    """Of real numbers, for each frame and stage; of the decoder, additions and comparisons of a state, two of each.

    Args:
        frame: the format.
        time_modes, carrier_modes: of the Wiener filter.
    """
    size, period = frame.num_tx, frame.preamble_period
    places = frame.num_active // frame.comb
    preamble, symbol = PREAMBLE_PERIODS * period, frame.symbol_length
    lags = symbol + 1
    correlation = period * (lags + preamble - period) + symbol * lags
    modes = 3 * size * places * size * (places + DOPPLER_MODES)
    return {
        "search": size * 8 * (frame.frame_length + GAP) + 4 * correlation * size**2,
        "Fourier transforms": NUM_SYMBOLS * size * 2.5 * frame.fft_size * math.log2(frame.fft_size),
        "channel estimation": 4 * modes
        + 4 * time_modes * carrier_modes * 3 * places * size**2
        + NUM_SYMBOLS * carrier_modes * size**2 * (2 * time_modes + 4 * frame.num_active),
        "detection": frame.data_per_stream * sum(limits.multiply_adds(size, size, 1).values()),
        "decoding": frame.coded_bits / 2 * STATES * 4 / 4,  # four bytes in place of a float
    }


def in_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Microseconds per frame of each, in each round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in progress_bar(range(rounds), desc="stages"):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(1e6 * (time.perf_counter() - began) / FRAMES)
    return times


def peak_ns(seed: int) -> float:
    """Of a multiply-add of floats on one core, at best."""
    floats = {name: of for name, of in limits.contestants().items() if name.startswith(f"{limits.PEAK} fp32")}
    found = limits.peak(timing.measure(floats, 5, 0.01, np.random.default_rng(seed)), "fp32")
    if found is None:
        raise ValueError("the peak of fp32 cannot be measured here")
    return min(found[1])


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"{result['case']}, {result['machine']}")
    print(f"{'stage':<20} {'us per frame':>12} {'[fastest]':>10} {'bound':>8}")
    for name, of in result["stages"].items():
        print(f"{name:<20} {of['median']:12.1f} {of['fastest']:10.1f} {of['bound']:8.1f}")
    print(f"{'all stages':<20} {result['all_stages']:12.1f}")
    print(f"{'around them':<20} {result['around']:12.1f}")
    rate, cpu, lost = (result[key] for key in ("rate", "cpu", "lost"))
    print(f"flowgraph: {rate:.2f} Msample/s, {cpu:.0f} us of CPU time per frame, {lost} lost")


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib  # noqa: PLC0415  # only who wants a picture

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = [*result["stages"], "around them"]
    times = [of["median"] for of in result["stages"].values()] + [result["around"]]
    bounds = [of["bound"] for of in result["stages"].values()]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    axes.barh(names, times, color="tab:blue", label="takes")
    axes.barh(names[:-1], bounds, height=0.3, color="tab:orange", label="bound")
    axes.invert_yaxis()
    axes.set_xlabel("microseconds of CPU time per frame")
    axes.set_title(result["case"])
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-tx", type=int, default=4, help="streams, and antennas")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers")
    parser.add_argument("--detector", default="lmmse", help="name or path")
    parser.add_argument("--snr", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=100, help="of the stages")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a run of the flowgraph takes, about")
    parser.add_argument("--runs", type=int, default=5, help="of the flowgraph")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("out/stages"), help="folder")
    options = parser.parse_args()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        frame = FrameFormat(options.num_tx, options.fft_size)
        stages = Stages(frame, options.detector, options.snr, options.seed)
        modes = wiener_modes(frame, stages.estimator, stages.reports[0])
        times = in_turns(stages.calls(), max(options.rounds, 1))
        samples = received_samples(frame, frame.num_tx, 100, options.snr, options.seed)
        runs = [
            measure(samples, frame, options.detector, "lmmse", options.seconds)
            for _ in progress_bar(range(max(options.runs, 1)), desc="flowgraph")
        ]
        peak = peak_ns(options.seed)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    bounds = {name: count * peak * 1e-3 for name, count in multiply_adds(frame, *modes).items()}
    cpu = 1e6 * float(np.median([run.cpu for run in runs]))
    medians = {name: float(np.median(of)) for name, of in times.items()}
    result = {
        "case": f"{frame.num_tx}x{frame.num_tx}, {frame.fft_size} carriers, {options.detector}, LMMSE estimation",
        "machine": processor(),
        "seed": options.seed,
        "stages": {
            name: {"median": medians[name], "fastest": min(times[name]), "bound": bounds[name]} for name in STAGES
        },
        "all_stages": sum(medians.values()),
        "around": cpu - sum(medians.values()),
        "cpu": cpu,
        "rate": float(np.median([run.rate for run in runs])) / 1e6,
        "lost": sum(run.lost for run in runs),
    }
    show(result)
    (options.output / "stages.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(result, options.output / "stages.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
