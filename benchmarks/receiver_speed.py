# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples per second and antenna that the receiver keeps up with, and the block that sets the limit.

    python -m benchmarks.receiver_speed --num-tx 4 --estimators lmmse estimator
    python -m benchmarks.receiver_speed --num-tx 4 --estimators lmmse lmmse+data --snr 15

'+data' behind an estimator's name: frames whose CRC is wrong are estimated again with their data, up to two times.
The samples of some hundred frames, one behind the other with a short gap, wait in memory and run through
`gr_kaq.mimo_receiver` again and again. Each has a static channel of its own with some multipath. With --doppler, all
pass one that fades (TDL-A, 100 ns), so that an estimator that remembers has something to remember, but for where the
samples begin again. All combinations run in turns, so that what else the machine does falls on all of them. The share
of a block is the time that its `work` took (GNU Radio's performance counters) over the time that passed: the greatest
sets the limit. The blocks in Python also wait for each other there, because one at a time runs outside of C++. CPU time
counts all threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GR_CONF_PERFCOUNTERS_ON", "True")  # read when GNU Radio is loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from gnuradio import blocks, gr
from numpy.typing import NDArray

import gr_kaq
from gr_kaq.blocks.base import enlarge_buffer
from gr_kaq.channels.flat import complex_normal
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.commands.long_run import progress_bar
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.signals.signal_model import from_db

SPACING_HZ = 31250.0
GAP = 256
MOST_FRAMES, MOST_CARRIERS = 100, 256  # that wait in memory; fewer of wider frames
SOURCE_BUFFER = 1 << 15  # samples
TAPS = np.sqrt(np.array([0.9, 0.1], np.float32))  # an RMS delay spread of 0.3 samples
DATA_AIDED, PASSES = "+data", 2
BLOCKS = ("synchronizer", "estimator", "detector", "decoder")


def received_samples(
    frame: FrameFormat, num_rx: int, num_frames: int, snr_db: float, seed: int, doppler: float | None = None
) -> NDArray:
    """Samples (num_rx, n) of so many frames: each with a channel of its own, of two taps; or all with one that fades.

    Args:
        doppler: of that one, in Hz.
    """
    rng = np.random.default_rng(seed)
    coder = PayloadCoder(frame)
    gap = np.zeros((frame.num_tx, GAP), np.complex64)
    pieces = []
    for _ in range(num_frames):
        sent = frame.modulate(frame.map_bits(coder.encode(rng.bytes(max_payload(frame)))))
        if doppler is None:
            first, second = TAPS[:, None, None] * complex_normal(rng, (2, num_rx, frame.num_tx))
            received = first @ sent
            received[:, 1:] += second @ sent[:, :-1]
            pieces += [np.zeros((num_rx, GAP), np.complex64), received]
        else:
            pieces += [gap, sent]
    samples = np.concatenate([*pieces, pieces[0]], axis=-1)  # so that what is late of the last one is there
    if doppler is not None:
        channel = RadioChannel(
            num_rx,
            frame.num_tx,
            sample_rate=frame.fft_size * SPACING_HZ,
            profile="tdl-a",
            delay_spread=100e-9,
            doppler=doppler,
            snr_db=snr_db,
            seed=seed,
        )
        return channel.process(samples)
    noise = complex_normal(rng, samples.shape) * np.float32(np.sqrt(frame.num_tx / from_db(snr_db)))
    return (samples + noise).astype(np.complex64)


class Flowgraph(gr.top_block):
    """Samples in memory, `repeats` times, through the receiver."""

    def __init__(self, samples: NDArray, repeats: int, receiver: gr_kaq.mimo_receiver):
        super().__init__("Receiver speed")
        num_rx, length = samples.shape
        self.receiver = receiver
        source = blocks.vector_source_c(np.ascontiguousarray(samples.T).ravel(), True, num_rx)
        head = blocks.head(gr.sizeof_gr_complex * num_rx, length * repeats)
        split = blocks.vector_to_streams(gr.sizeof_gr_complex, num_rx)
        for block in (source, head, split):  # so that the source costs little
            enlarge_buffer(block, SOURCE_BUFFER)
        self.connect(source, head, split)
        for antenna in range(num_rx):
            self.connect((split, antenna), (receiver, antenna))
        for stream in range(receiver.frame_format.num_tx):
            sink = blocks.null_sink(gr.sizeof_gr_complex * receiver.frame_format.data_per_stream)
            self.connect((receiver, stream), sink)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-rx", type=int, help="receive antennas (default: as many as streams)")
    parser.add_argument("--num-tx", type=int, default=4, help="streams")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers")
    parser.add_argument("--num-symbols", type=int, default=14, help="OFDM symbols of a frame")
    parser.add_argument("--detectors", nargs="+", default=["auto"], help="names or paths")
    parser.add_argument("--estimators", nargs="+", default=["ls", "lmmse"], help="methods of channel_estimator")
    parser.add_argument("--snr", type=float, default=25.0)
    parser.add_argument("--doppler", type=float, help="Hz, of one channel for all frames (default: each has its own)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each run takes, about")
    parser.add_argument("--runs", type=int, default=5, help="of each combination")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs has to be at least 1")
    num_rx = options.num_rx or options.num_tx
    combinations = list(itertools.product(options.detectors, options.estimators))
    runs: dict[Any, list[Run]] = {combination: [] for combination in combinations}
    try:
        frame = FrameFormat(options.num_tx, options.fft_size, num_symbols=options.num_symbols)
        num_frames = MOST_FRAMES * MOST_CARRIERS // max(MOST_CARRIERS, frame.fft_size)
        samples = received_samples(frame, num_rx, num_frames, options.snr, options.seed, options.doppler)
        for _ in progress_bar(range(options.runs), desc="runs"):
            for combination in combinations:
                runs[combination].append(measure(samples, frame, *combination, options.seconds))
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{num_rx}x{frame.num_tx}, {frame.fft_size} carriers, Msample/s for each antenna, median [least, most]:")
    for combination, made in runs.items():
        show(*combination, made)
    return 0


@dataclass(frozen=True)
class Run:
    """What came of a run: samples per second, CPU seconds per frame, counts of frames, MiB of memory of the whole
    program (its samples are a part of that), share of time of each block."""

    rate: float
    cpu: float
    frames: int
    lost: int
    unrefined: int
    memory: float
    lost_tracks: int
    shares: dict[str, float]


def measure(samples: NDArray, frame: FrameFormat, detector: str, estimator: str, seconds: float) -> Run:
    """Run for about so many seconds."""
    repeats, elapsed = 1, 0.0
    while elapsed < seconds / 2:
        repeats = int(repeats * max(1.0, min(20.0, seconds / max(elapsed, 0.01)))) if elapsed else 2
        receiver = gr_kaq.mimo_receiver(
            len(samples),
            frame.num_tx,
            frame.fft_size,
            detector=detector,
            estimator=estimator.removesuffix(DATA_AIDED),
            num_symbols=frame.num_symbols,
            data_aided_passes=PASSES if estimator.endswith(DATA_AIDED) else 0,
        )
        flowgraph = Flowgraph(samples, repeats, receiver)
        began, cpu_began = time.perf_counter(), time.process_time()
        flowgraph.run()
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    frames = receiver.decoder.frames()
    return Run(
        samples.shape[-1] * repeats / elapsed,
        cpu / frames,
        frames,
        receiver.decoder.block_errors(),
        receiver.estimator.unrefined_frames(),
        int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20,
        receiver.estimator.lost_tracks(),
        {name: getattr(receiver, name).pc_work_time_total() * 1e-9 / elapsed for name in BLOCKS},
    )


def show(detector: str, estimator: str, runs: list[Run]) -> None:
    """A line, and what went wrong."""
    rates = [run.rate / 1e6 for run in runs]
    shares = {name: np.median([run.shares[name] for run in runs]) for name in BLOCKS}
    print(
        f"{detector:<16} {estimator:<16} {np.median(rates):.2f} [{min(rates):.2f}, {max(rates):.2f}]"
        f"   {1e6 * np.median([run.cpu for run in runs]):.0f} us of CPU time per frame; busy: "
        + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        + f"; limit: {max(shares, key=shares.__getitem__)}; {max(run.memory for run in runs):.0f} MiB"
    )
    frames, lost, unrefined, lost_tracks = (
        sum(getattr(run, name) for run in runs) for name in ("frames", "lost", "unrefined", "lost_tracks")
    )
    if lost:
        print(f"    {lost} of {frames} blocks lost")
    if unrefined:
        print(f"    {unrefined} of {frames} frames left to LMMSE")
    if lost_tracks:
        print(f"    {lost_tracks} of {frames} frames did not fit to those before")


if __name__ == "__main__":
    sys.exit(main())
