# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that forecasts take: of frames in the receiver, and of estimates in the block `channel_predictor`.

    python -m benchmarks.forecast_cost --sizes 2 4 8

Frames of 64 carriers go through `ChannelEstimator` with lmmse-memory, which looks at the training of all of them, or of
every second one and forecasts the others: from the Fourier transforms to what a detector takes, in microseconds for a
frame and a pair of antennas. Medians of several turns. (With 64 carriers there are at most 4 streams.)

The other rows are all that the block does in a flowgraph, in the thread of the block: an estimate of 64 carriers comes
at every 8th item, and 1 or 7 items are forecast. "Usually" is the median of its calls, each of some estimates. The mean
has reviews and searches in it; where the block is new, all is looked for more often, so both are of the second half.

All is time of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import pmt
from gnuradio import blocks, gr
from numpy.typing import NDArray

from gr_kaq.blocks.channel_predictor import channel_predictor
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.estimation.estimator import ChannelEstimator
from gr_kaq.estimation.observation import Arrival
from gr_kaq.frames.frame_format import FrameFormat

SYMBOL_SECONDS, SPACING, GAP = 40e-6, 31.25e3, 256
NOISE_VAR = 0.01
FRAMES, CARRIERS, EVERY = 64, 64, 8


def transforms_of_frames(
    frame: FrameFormat, num_rx: int, seed: int
) -> tuple[list[NDArray[np.complex64]], list[Arrival]]:
    """Of each antenna (14 FRAMES, fft_size), and when the frames came."""
    rng = np.random.default_rng(seed)
    distance = (frame.frame_length + GAP) / frame.symbol_length
    times = SYMBOL_SECONDS * (distance * np.arange(FRAMES)[:, None] + np.arange(frame.num_symbols)).reshape(-1)
    line = UserDelayLine(num_rx, [User(20.0 + 60.0 * stream) for stream in range(frame.num_tx)], seed=seed)
    h = line.frequency_response(times, frame.active_carriers * SPACING)
    sent = np.concatenate([frame.fill_grid(_data(frame, rng)).swapaxes(1, 2) for _ in range(FRAMES)])
    noise = rng.standard_normal((2, len(times), frame.fft_size, num_rx)) * np.sqrt(NOISE_VAR / 2)
    items = noise[0] + 1j * noise[1]
    items[:, frame.active_carriers + frame.fft_size // 2] += (h @ sent[..., None])[..., 0] / frame.advance_correction[
        :, None
    ]
    starts = (frame.frame_length + GAP) * np.arange(FRAMES)
    return [np.ascontiguousarray(items[..., a], np.complex64) for a in range(num_rx)], [
        Arrival(int(s), 0.0) for s in starts
    ]


def _data(frame: FrameFormat, rng: np.random.Generator) -> NDArray[np.complex64]:
    return frame.map_bits(rng.integers(0, 2, frame.coded_bits, dtype=np.uint8))


def frame_seconds(size: int, seed: int, turns: int) -> tuple[float, float]:
    """Of an estimated frame, and of a forecast one."""
    frame = FrameFormat(size)
    transforms, arrivals = transforms_of_frames(frame, size, seed)
    received = [np.empty((FRAMES, frame.data_per_stream), np.complex64) for _ in range(size)]
    channels = [np.empty((frame.data_per_stream, size, size), np.complex64) for _ in range(FRAMES)]
    starts = [frame.num_symbols * number for number in range(FRAMES)]
    looks = [number < FRAMES // 2 or number % 2 == 0 for number in range(FRAMES)]
    estimated, forecast = [], []
    for _ in range(turns):
        estimator = ChannelEstimator(frame, "lmmse-memory")
        for number in range(FRAMES):
            part = slice(number, number + 1)
            begin = time.thread_time()
            report = estimator.estimate_frames(
                transforms,
                starts[part],
                [antenna[part] for antenna in received],
                channels[part],
                arrivals=arrivals[part],
                looks=looks[part],
            )[0]
            passed = time.thread_time() - begin
            if number >= FRAMES // 2:  # its filters are made by then
                (forecast if report.is_forecast else estimated).append(passed)
    return float(np.median(estimated)), float(np.median(forecast))


class TimedPredictor(channel_predictor):
    """Notes what each call takes, and how many estimates it has taken."""

    def handle_general_work(self, *arguments: Any) -> int:
        """Called by GNU Radio."""
        before, begin = self.counters.estimates, time.thread_time()
        done = super().handle_general_work(*arguments)
        passed = time.thread_time() - begin
        if estimates := self.counters.estimates - before:
            self.calls.append((passed, estimates))
        return done

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        super().begin()
        self.calls: list[tuple[float, int]] = []


def predictor_seconds(size: int, ahead: int, estimates: int, seed: int) -> tuple[float, float]:
    """Of an estimate, usually and in the mean."""
    rng = np.random.default_rng(seed)
    line = UserDelayLine(size, [User(20.0 + 60.0 * stream) for stream in range(size)], seed=seed)
    h = line.frequency_response(SYMBOL_SECONDS * EVERY * np.arange(estimates), SPACING * np.arange(-32, 32))
    parts = rng.standard_normal((2, *h.shape), np.float32) * np.float32(np.sqrt(NOISE_VAR / 2))
    h = h.astype(np.complex64) + parts[0] + 1j * parts[1]
    tags = [
        gr.tag_utils.python_to_tag(
            (EVERY * n, pmt.intern("mimo_channel"), channel_to_pmt(one, size * NOISE_VAR), pmt.PMT_F)
        )
        for n, one in enumerate(h)
    ]
    top, block = gr.top_block(), TimedPredictor(size, size, CARRIERS, reach=ahead)
    samples = np.zeros(EVERY * estimates * CARRIERS, np.complex64)
    top.connect(
        blocks.vector_source_c(samples.tolist(), False, CARRIERS, tags),
        block,
        blocks.null_sink(gr.sizeof_gr_complex * CARRIERS),
    )
    top.run()
    seconds, counts = np.array(block.calls[len(block.calls) // 2 :]).T
    return float(np.median(seconds / counts)), float(seconds.sum() / counts.sum())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8], help="antennas, and as many streams")
    parser.add_argument("--turns", type=int, default=9, help="of frames")
    parser.add_argument("--estimates", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for size in options.sizes:
        pairs = size**2
        if size <= 4:
            seconds = frame_seconds(size, options.seed, options.turns)
            estimated, forecast = (1e6 * each / pairs for each in seconds)
            print(
                f"{size}x{size}: a frame estimated {estimated:.1f}, forecast {forecast:.1f} us for a pair", flush=True
            )
        for ahead in (1, 7):
            seconds = predictor_seconds(size, ahead, options.estimates, options.seed)
            usual, mean = (1e6 * each / pairs for each in seconds)
            name = f"{size}x{size}: channel_predictor, {ahead} ahead"
            print(f"{name}: usually {usual:.1f}, in the mean {mean:.1f} us for a pair", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
