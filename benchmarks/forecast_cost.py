# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that forecasts take: of frames in the receiver, and of channels in `channel_predictor`.

    python -m benchmarks.forecast_cost --sizes 2 4

Frames of 64 carriers go through `ChannelEstimator` with lmmse-memory, which looks at the training of all of them, or of
every second one and forecasts the others: from the Fourier transforms to what a detector takes, in microseconds for a
frame and a pair of antennas. The other rows are a `ChannelFollower`, which forecasts 1 and 7 items ahead: of a usual
estimate, and in the mean, which has the search for clusters in it. Medians of several turns, in time of the processor,
one thread.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.estimation.estimator import ChannelEstimator
from gr_kaq.estimation.observation import Arrival
from gr_kaq.forecasting.channel_follower import ChannelFollower
from gr_kaq.frames.frame_format import FrameFormat

SYMBOL_SECONDS, SPACING, GAP = 40e-6, 31.25e3, 256
NOISE_VAR = 0.01
FRAMES, ESTIMATES, EVERY = 64, 96, 8


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


def follower_seconds(size: int, ahead: int, seed: int) -> tuple[float, float]:
    """Of a usual estimate, and in the mean."""
    rng = np.random.default_rng(seed)
    line = UserDelayLine(size, [User(20.0 + 60.0 * stream) for stream in range(size)], seed=seed)
    h = line.frequency_response(SYMBOL_SECONDS * EVERY * np.arange(ESTIMATES), SPACING * np.arange(-26, 26))
    parts = rng.standard_normal((2, *h.shape)) * np.sqrt(NOISE_VAR / 2)
    h = (h + parts[0] + 1j * parts[1]).astype(np.complex64)
    follower, seconds = ChannelFollower(), []
    for number in range(ESTIMATES):
        begin = time.thread_time()
        follower.take(float(EVERY * number), h[number], NOISE_VAR, np.arange(1.0, ahead + 1))
        seconds.append(time.thread_time() - begin)
    return float(np.median(seconds[32:])), float(np.mean(seconds[32:]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4], help="antennas, and as many streams")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for size in options.sizes:
        pairs = size**2
        estimated, forecast = (1e6 * seconds / pairs for seconds in frame_seconds(size, options.seed, options.turns))
        print(f"{size}x{size}: a frame estimated {estimated:.1f}, forecast {forecast:.1f} us for a pair", flush=True)
        for ahead in (1, 7):
            usual, mean = (1e6 * seconds / pairs for seconds in follower_seconds(size, ahead, options.seed))
            print(f"    channel_predictor, {ahead} ahead: usually {usual:.0f}, in the mean {mean:.0f} us for a pair")
    return 0


if __name__ == "__main__":
    sys.exit(main())
