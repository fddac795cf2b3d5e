# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples per second and antenna that the receiver keeps up with, and the block that sets the limit.

    python -m benchmarks.receiver_speed --num-tx 4 --estimators lmmse estimator --cores 0 1

The samples of some hundred frames over a static channel, one frame behind the other with a short gap, wait in memory
and run through `gr_kaq.mimo_receiver` again and again. The share of a block is the time that its `work` took (GNU
Radio's performance counters) over the time that passed: the greatest sets the limit. The blocks in Python also wait for
each other there, because one at a time runs outside of C++; so they are fastest on one core, and the detector, which
is nearly all C++, on another (`--cores`). CPU time counts all threads, and depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("GR_CONF_PERFCOUNTERS_ON", "True")  # read when GNU Radio is loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from gnuradio import blocks, gr
from numpy.typing import NDArray

import gr_kaq
from gr_kaq.channels import complex_normal
from gr_kaq.frame import FrameFormat
from gr_kaq.payload import PayloadCoder, max_payload
from gr_kaq.signal_model import from_db

GAP = 256


def received_samples(frame: FrameFormat, num_rx: int, num_frames: int, snr_db: float, seed: int) -> NDArray:
    """Samples (num_rx, n) of so many frames, each with a flat channel of its own."""
    rng = np.random.default_rng(seed)
    coder = PayloadCoder(frame)
    pieces = []
    for _ in range(num_frames):
        sent = frame.modulate(frame.map_bits(coder.encode(rng.bytes(max_payload(frame)))))
        h = complex_normal(rng, (num_rx, frame.num_tx))
        pieces += [np.zeros((num_rx, GAP), np.complex64), h @ sent]
    received = np.concatenate(pieces, axis=-1)
    noise = complex_normal(rng, received.shape) * np.float32(np.sqrt(frame.num_tx / from_db(snr_db)))
    return (received + noise).astype(np.complex64)


class Flowgraph(gr.top_block):
    """Samples in memory, `repeats` times, through the receiver."""

    def __init__(self, samples: NDArray, repeats: int, receiver: gr_kaq.mimo_receiver):
        super().__init__("Receiver speed")
        num_rx, length = samples.shape
        self.receiver = receiver
        source = blocks.vector_source_c(np.ascontiguousarray(samples.T).ravel(), True, num_rx)
        head = blocks.head(gr.sizeof_gr_complex * num_rx, length * repeats)
        split = blocks.vector_to_streams(gr.sizeof_gr_complex, num_rx)
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
    parser.add_argument("--fft-size", type=int, default=64, help="64 or 256")
    parser.add_argument("--detectors", nargs="+", default=["search10-16qam"], help="names or paths")
    parser.add_argument("--estimators", nargs="+", default=["ls", "lmmse"], help="methods of channel_estimator")
    parser.add_argument("--snr-db", type=float, default=25.0)
    parser.add_argument("--cores", type=int, nargs=2, help="of the other blocks in Python, and of the detector")
    parser.add_argument("--seconds", type=float, default=5.0, help="that each run takes, about")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    num_rx = options.num_rx or options.num_tx
    try:
        frame = FrameFormat(options.num_tx, options.fft_size)
        samples = received_samples(frame, num_rx, 100, options.snr_db, options.seed)
        for detector in options.detectors:
            for estimator in options.estimators:
                measure(samples, frame, detector, estimator, options.seconds, options.cores)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(
    samples: NDArray, frame: FrameFormat, detector: str, estimator: str, seconds: float, cores: list[int] | None
) -> None:
    """Run for about so many seconds, and print what came of it."""
    repeats, elapsed = 1, 0.0
    while elapsed < seconds / 2:
        repeats = int(repeats * max(1.0, min(20.0, seconds / max(elapsed, 0.01)))) if elapsed else 2
        receiver = gr_kaq.mimo_receiver(
            len(samples), frame.num_tx, frame.fft_size, detector=detector, estimator=estimator
        )
        flowgraph = Flowgraph(samples, repeats, receiver)
        if cores:
            for block in (receiver.synchronizer, receiver.estimator, receiver.decoder):
                block.set_processor_affinity(cores[:1])
            receiver.detector.set_processor_affinity(cores[1:])
        began, cpu_began = time.perf_counter(), time.process_time()
        flowgraph.run()
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    rate = samples.shape[-1] * repeats / elapsed
    frames, lost = receiver.decoder.frames(), receiver.decoder.block_errors()
    unrefined = receiver.estimator.unrefined_frames()
    if unrefined:
        print(f"    the estimator {estimator} left {unrefined} frames to LMMSE")
    shares = {
        name: getattr(receiver, name).pc_work_time_total() * 1e-9 / elapsed
        for name in ("synchronizer", "estimator", "detector", "decoder")
    }
    print(
        f"{len(samples)}x{frame.num_tx}, {frame.fft_size} carriers, {detector}, {estimator}: "
        f"{rate / 1e6:.2f} Msample/s per antenna, {frames / elapsed:.0f} frames/s, {lost} of {frames} blocks lost; "
        f"CPU time {cpu / frames * 1e6:.0f} us per frame; the {max(shares, key=shares.__getitem__)} sets the limit"
    )
    for name, share in shares.items():
        print(f"    {name:<14} {share:4.0%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
