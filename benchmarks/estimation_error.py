# SPDX-License-Identifier: GPL-3.0-or-later
"""Mean squared error of channel estimates, of frames that follow each other on one channel.

    python -m benchmarks.estimation_error --profiles cdl-c cdl-d --snr 0 25 --methods lmmse lmmse-memory estimator

Sequences of frames pass a delay line (`gr_kaq.channels.profiles`) that is constant within an OFDM symbol, at the
reference numerology, 31.25 kHz; what changes within a symbol is noise, as `training.estimator.frames` has it. The
oscillators' offset is constant over a sequence. A synchronizer takes away what it thinks it is, with an error of its
own for each frame; a frame's windows start up to a sample off, and clocks differ by 20 ppm.

The error is a ratio of sums over frames, pairs, carriers and the symbols of a frame: sum |h_est - h|^2 / sum |h|^2. Of
each sequence the last frames count, so that an estimator that remembers has something to remember. All methods see the
same frames. Beside the error of each method but the first stands by how much it is below that of the first, with the
95 % interval of that over sequences (bootstrap). `lmmse-memory:2` remembers two frames, `:1` none but the profile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import complex_normal
from gr_kaq.channels.profiles import PROFILES, delay_line
from gr_kaq.estimation.estimator import INTERPOLATORS, Interpolator, Observation, observe
from gr_kaq.estimation.frame_memory import FrameMemory
from gr_kaq.estimation.observation import Arrival
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from gr_kaq.signals.signal_model import from_db
from gr_kaq.sweeps.results import Job, Result

from .receiver import write_results
from .units import add_unit_options, run_groups

SPACING_HZ = 31250.0
CLOCK_OFFSET = 20e-6
OFFSET_ERROR_HZ = 157.0  # RMS, of the synchronizer at 5 dB and four antennas; falls with the root of both
MEASURED = ("num_rx", "num_tx", "fft_size", "methods", "gap", "sequences", "frames", "count", "seed")
"""Options that are the same for all conditions."""
TRAINING = np.array(TRAINING_SYMBOLS)


@dataclass(frozen=True)
class Received:
    """A frame as it came, and the truth.

    Attributes:
        grid: (14, num_rx, num_active), with data symbols of zero.
        guards: (14, num_rx, guard carriers).
        sample: at which the frame begins.
        carrier_offset: what the synchronizer took away, in cycles per sample.
        channel: (14, num_active, num_rx, num_tx), phases and timing included.
    """

    grid: NDArray[np.complex64]
    guards: NDArray[np.complex64]
    sample: int
    carrier_offset: float
    channel: NDArray[np.complex64]


def sequence(
    frame_format: FrameFormat,
    num_rx: int,
    *,
    profile: str,
    delay_spread: float,
    doppler: float,
    snr_db: float,
    count: int,
    gap: float,
    seed: Any,
) -> Iterator[Received]:
    """Frames of one channel, `gap` samples of 64 carriers between two."""
    rng = np.random.default_rng(seed)
    line = delay_line(
        num_rx,
        frame_format.num_tx,
        profile=profile,
        delay_spread=delay_spread,
        doppler=doppler,
        seed=int(rng.integers(2**62)),
    )
    sample_rate = frame_format.fft_size * SPACING_HZ
    spacing = frame_format.frame_length + gap * frame_format.fft_size / 64
    carriers = frame_format.active_carriers
    noise_var = frame_format.num_tx / float(from_db(snr_db))
    interference = frame_format.num_tx * (np.pi * doppler / SPACING_HZ) ** 2 / 6
    offset = rng.uniform(-1000, 1000)
    begin = rng.uniform(-0.5, 0.5) * frame_format.fft_size / 64
    # the middles of the windows
    first = frame_format.preamble_length + frame_format.cp_length - frame_format.timing_advance
    middles = first + frame_format.fft_size / 2 + frame_format.symbol_length * np.arange(NUM_SYMBOLS)
    in_frame = middles / sample_rate
    for number in range(count):
        sent = number * spacing + begin
        sample = round(sent) + int(rng.integers(0, 2))
        late = sent * (1 + CLOCK_OFFSET) - sample  # in samples
        start = sample / sample_rate
        taken = offset + OFFSET_ERROR_HZ * np.sqrt(float(from_db(5 - snr_db)) * 4 / num_rx) * rng.standard_normal()
        h = line.frequency_response(start + in_frame, carriers * SPACING_HZ)
        phase = offset * start + (offset - taken) * in_frame
        h = h * np.exp(2j * np.pi * (phase[:, None] - late / frame_format.fft_size * carriers))[:, :, None, None]
        grid = np.zeros((NUM_SYMBOLS, num_rx, frame_format.num_active), np.complex64)
        for symbol in TRAINING:
            grid[symbol] = np.einsum("krt,tk->rk", h[symbol], frame_format.known_grid[symbol])
        grid += (noise_var + interference) ** 0.5 * complex_normal(rng, grid.shape)
        guards = (NUM_SYMBOLS, num_rx, len(frame_format.guard_carriers))
        yield Received(
            grid,
            noise_var**0.5 * complex_normal(rng, guards),
            sample,
            taken / sample_rate,
            h.astype(np.complex64),
        )


def interpolator(frame_format: FrameFormat, name: str) -> Interpolator:
    """A method by its name, see the module."""
    method, _, frames = name.partition(":")
    if frames:
        return FrameMemory(frame_format, int(frames))
    if method in INTERPOLATORS:
        return INTERPOLATORS[method](frame_format)
    from gr_kaq.estimation.learned import LearnedInterpolator  # noqa: PLC0415 - ONNX Runtime is optional

    return LearnedInterpolator(frame_format, method)


def errors(job: Job) -> Result:
    """Squared errors (sequences, methods) and energies (sequences,), each a sum over the frames that count.

    Args:
        job: settings, the options in `MEASURED`, and the condition.
    """
    options, condition = argparse.Namespace(**job["settings"]), job["condition"]
    frame_format = FrameFormat(options.num_tx, options.fft_size)
    found, energies = np.zeros((options.sequences, len(options.methods))), np.zeros(options.sequences)
    for number in range(options.sequences):
        methods = [interpolator(frame_format, name) for name in options.methods]
        frames = sequence(
            frame_format,
            options.num_rx,
            count=options.frames,
            gap=options.gap,
            seed=[options.seed, number],
            **condition,
        )
        for index, frame in enumerate(frames):
            observation = observe(frame_format, frame.grid, frame.guards)
            observation = replace(observation, arrival=Arrival(frame.sample, frame.carrier_offset))
            estimates = [method(observation) for method in methods]
            if index < options.frames - options.count:
                continue
            energies[number] += np.sum(np.abs(frame.channel) ** 2)
            for method, estimate in enumerate(estimates):
                difference = estimate * _centre(frame_format, observation) - frame.channel
                found[number, method] += np.sum(np.abs(difference) ** 2)
    return {"errors": found.tolist(), "energies": energies.tolist()}


def _centre(frame_format: FrameFormat, observation: Observation) -> NDArray[np.complex128]:
    """What `observe` has taken out: (14, num_active, 1, 1)."""
    turns = observation.carrier_offset * np.arange(NUM_SYMBOLS)[:, None]
    turns = turns - observation.delay / frame_format.fft_size * frame_format.active_carriers
    return np.exp(2j * np.pi * turns)[:, :, None, None]


def gain_db(errors_of: NDArray[np.float64], errors_of_first: NDArray[np.float64]) -> tuple[float, float, float]:
    """By how much one sum of errors is below the other, and its 95 % interval: sequences drawn with replacement."""
    drawn = np.random.default_rng(0).integers(len(errors_of), size=(1000, len(errors_of)))
    ratios = errors_of_first[drawn].sum(axis=1) / errors_of[drawn].sum(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    mean = errors_of_first.sum() / errors_of.sum()
    return tuple(10 * float(np.log10(ratio)) for ratio in (mean, low, high))  # type: ignore[return-value]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-rx", type=int, default=4)
    parser.add_argument("--num-tx", type=int, default=4, help="streams")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers")
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=["tdl-a", "cdl-c", "cdl-d", "cdl-e"])
    parser.add_argument("--delay-spread", type=float, nargs="+", default=[100e-9], help="seconds")
    parser.add_argument("--doppler", type=float, nargs="+", default=[200.0], help="Hz")
    parser.add_argument("--snr", type=float, nargs="+", default=[0, 5, 10, 15, 20, 25], metavar="DB", help="nominal")
    parser.add_argument("--methods", nargs="+", default=["lmmse", "lmmse-memory"], help="of channel_estimator")
    parser.add_argument("--gap", type=float, default=256, help="samples of 64 carriers from one frame to the next")
    parser.add_argument("--sequences", type=int, default=40)
    parser.add_argument("--frames", type=int, default=24, help="of a sequence")
    parser.add_argument("--count", type=int, default=12, help="of these, the last ones that count")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the sums (JSON)")
    add_unit_options(parser)
    options = parser.parse_args()
    if not 0 < options.count <= options.frames or options.sequences < 2:
        parser.error("--frames has to be at least --count, and that at least 1; --sequences at least 2")
    try:
        for name in options.methods:
            interpolator(FrameFormat(options.num_tx, options.fft_size), name)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"| profile | ns | Hz | SNR, dB | {' | '.join(options.methods)} |")
    print("|---" * (4 + len(options.methods)) + "|", flush=True)
    results: list[dict[str, Any]] = []
    conditions = [
        {"profile": profile, "delay_spread": spread, "doppler": doppler, "snr_db": snr_db}
        for profile in options.profiles
        for spread in options.delay_spread
        for doppler in options.doppler
        for snr_db in options.snr
    ]

    def show(number: int, units: list[Result]) -> None:
        condition = conditions[number]
        found, energies = (np.array(units[0][name]) for name in ("errors", "energies"))
        row = [
            condition["profile"],
            f"{1e9 * condition['delay_spread']:g}",
            f"{condition['doppler']:g}",
            f"{condition['snr_db']:g}",
        ]
        for method in range(len(options.methods)):
            text = f"{10 * np.log10(found[:, method].sum() / energies.sum()):.2f}"
            if method:
                gain, low, high = gain_db(found[:, method], found[:, 0])
                text += f" ({gain:.2f} [{low:.2f}, {high:.2f}])"
            row.append(text)
        print(f"| {' | '.join(row)} |", flush=True)
        results.append({**condition, "errors": found.sum(axis=0).tolist(), "energy": float(energies.sum())})

    settings = {name: getattr(options, name) for name in MEASURED}
    run_groups(options, "conditions", errors, [[{"settings": settings, "condition": c}] for c in conditions], show)
    if options.output:
        write_results(options, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
