# SPDX-License-Identifier: GPL-3.0-or-later
"""How much interference the receiver stands: block errors with whitening, and with all noise taken for white.

    python -m benchmarks.interference --num-rx 2 --num-tx 2 --carriers 8 11 --interference-db -25 -20 -15 -10 -5 0
    python -m benchmarks.interference --num-rx 4 --num-tx 2 --directional --interference-db -10 -5 0 5
    python -m benchmarks.interference --num-rx 2 --num-tx 2 --snr 13 15 17 19

Each frame is a burst of its own with a fresh channel (`gr_kaq.channels.radio_channel.RadioChannel`, carrier and clock
offset), found by the synchronizer, estimated, detected and decoded: once by a receiver that whitens noise, and once by
one that takes it for white. Both see the same frames, at every level of the interference, which is on all the time.
A frame that was not found is a block error of both, and is counted.

The interference is band noise (`gr_kaq.channels.interference`), independent at each antenna or, with --directional, a
plane wave whose direction each frame draws. Its power is that over the signal's, means over antennas and all carriers.
Where the errors pass the target is from a logistic fit over the levels (or over the SNRs, where there is no
interference), with its standard error. The gain has a 95 % interval, from how it changes without some of the frames. In
white noise, where hardly a frame tells the receivers apart, the interval is from those that do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gr_kaq
from gr_kaq.channels.interference import Interferer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.estimation.estimator import ChannelEstimator
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.frames.synchronization import Synchronizer
from gr_kaq.probes.probed_link import CARRIER_SPACING, frame_near, sent_samples
from gr_kaq.probes.thresholds import fit_logistic
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.signal_model import db
from gr_kaq.sweeps.results import Job, Result

from .receiver import write_results
from .units import add_unit_options, frame_groups, once_for_settings, run_groups

TARGET = 0.1
Z = 1.959964  # of 95 % intervals
GROUPS, T_QUANTILE = 20, 2.093  # of frames; and of Student's t for as many
WHITENED, WHITE = "whitened", "taken for white"
Carriers = tuple[NDArray[np.complex128], NDArray[np.complex128]]


class Link:
    """Frames with interference, and two receivers.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.frame = FrameFormat(options.num_tx, options.fft_size, options.constellation)
        self.coder = PayloadCoder(self.frame)
        self.detector = gr_kaq.load_detector(options.detector, constellation=options.constellation)
        self.estimators = {
            WHITENED: ChannelEstimator(self.frame, options.estimator),
            WHITE: ChannelEstimator(self.frame, options.estimator, whitens=False),
        }

    def errors(self, snr_db: float, power_db: float | None, number: int) -> tuple[bool, dict[str, bool]]:
        """Whether a frame was found, and whose payload was wrong."""
        frame, rng = self.frame, np.random.default_rng([self.options.seed, number])
        payload = rng.bytes(max_payload(frame))
        carriers = self._received(frame.map_bits(self.coder.encode(payload)), snr_db, power_db, number, rng)
        if carriers is None:
            return False, dict.fromkeys(self.estimators, True)
        wrong = {}
        for name, estimator in self.estimators.items():
            estimate = estimator.estimate(*carriers)
            llrs = estimator.data_symbols(carriers[0], estimate).llrs(frame, self.detector)
            wrong[name] = self.coder.decode(llrs) != payload
        return True, wrong

    def _received(
        self, symbols: NDArray[np.complex64], snr_db: float, power_db: float | None, number: int, rng: Any
    ) -> Carriers | None:
        """Active carriers and guards; None: the frame is not found."""
        options, frame = self.options, self.frame
        channel = RadioChannel(
            options.num_rx,
            options.num_tx,
            sample_rate=CARRIER_SPACING * options.fft_size,
            profile=options.profile,
            delay_spread=options.delay_spread,
            doppler=options.doppler,
            snr_db=snr_db,
            carrier_offset=5000.0,
            clock_offset_ppm=20.0,
            seed=np.random.SeedSequence([options.seed, number]),
            interferer=self._interferer(power_db, rng),
        )
        lead = int(rng.integers(2 * frame.symbol_length, 4 * frame.symbol_length))
        received = channel.process(sent_samples(frame, symbols, [lead], channel.latency))
        found = frame_near(frame, Synchronizer(frame, options.num_rx).push(received), lead + channel.latency)
        return None if found is None else frame.transform(found.windows)

    def _interferer(self, power_db: float | None, rng: Any) -> Interferer | None:
        if power_db is None:
            return None
        frame, direction = self.frame, float(rng.uniform(-60, 60))
        signal_db = float(db(frame.num_tx * frame.num_active / frame.fft_size))
        half = frame.fft_size / 2
        low, high = self.options.carriers or (0.5 - half, half - 0.5)
        return Interferer(
            band=(CARRIER_SPACING * (low - 0.5), CARRIER_SPACING * (high + 0.5)),
            power_db=power_db + signal_db,
            direction=direction if self.options.directional else None,
        )


_link = once_for_settings(Link)


def frame_errors(job: Job) -> Result:
    """Which frames of a unit are wrong for each receiver, and how many were not found.

    Args:
        job: see `units.frame_groups`; of each, level: SNR and power of the interference.
    """
    link = _link(job)
    frames = [link.errors(*job["level"], number) for number in range(*job["frames"])]
    wrong = {name: [bool(errors[name]) for _, errors in frames] for name in (WHITENED, WHITE)}
    return {"missed": sum(not found for found, _ in frames), **wrong}


def thresholds(results: list[dict[str, Any]], axis: str) -> dict[str, tuple[float, float, float]]:
    """Where each receiver passes the target, on an axis of rising or falling errors; standard error and slope of it."""
    found = {}
    sign = 1 if axis == "interference_db" else -1
    levels = np.array([sign * result[axis] for result in results], np.float64)
    counts = np.array([result["frames"] for result in results], np.float64)
    for name in (WHITENED, WHITE):
        wrong = np.array([result["block_errors"][name] for result in results], np.float64)
        if not wrong.min() / counts[0] < TARGET < wrong.max() / counts[0]:
            found[name] = (float("nan"),) * 3
            continue
        near = np.abs(wrong / counts - TARGET) < 0.6  # what is all wrong says nothing of where it begins
        place, error, slope = fit_logistic(levels[near], counts[near], wrong[near], target=TARGET, clean=0.0)
        found[name] = (sign * place, error, slope)
    return found


def gain_interval(
    results: list[dict[str, Any]], wrong: list[dict[str, NDArray[np.bool_]]], axis: str
) -> tuple[float, float]:
    """95 % interval of how much more interference is tolerated with whitening; NaN where the target is not passed.

    By leaving out a twentieth of the frames at a time (jackknife).

    Args:
        results: of each level.
        wrong: for each level and receiver, whether each frame was wrong.
    """

    def gain(kept: NDArray[np.bool_]) -> float:
        counts = [{name: int(of[kept].sum()) for name, of in each.items()} for each in wrong]
        found = thresholds(
            [
                {axis: result[axis], "frames": int(kept.sum()), "block_errors": of}
                for result, of in zip(results, counts, strict=True)
            ],
            axis,
        )
        return found[WHITENED][0] - found[WHITE][0]

    group = np.arange(results[0]["frames"]) % GROUPS
    gains = np.array([gain(group != left_out) for left_out in range(GROUPS)])
    middle, spread = gain(group >= 0), T_QUANTILE * np.sqrt((GROUPS - 1) * gains.var())
    return float(middle - spread), float(middle + spread)


def loss_interval(results: list[dict[str, Any]], slope: float) -> tuple[float, float]:
    """95 % interval of how much more SNR whitening needs in white noise, in dB.

    From the frames that only one receiver has wrong, at the SNR whose errors are nearest to the target (Agresti and
    Min, "Simple improved confidence intervals for comparing matched proportions", Stat. Med. 24(5), 2005).

    Args:
        results: of each SNR.
        slope: of the log-odds of an error, per dB at the target.
    """
    result = min(results, key=lambda each: abs(each["block_errors"][WHITE] / each["frames"] - TARGET))
    more, less, frames = (*(result["only"][name] + 0.5 for name in (WHITENED, WHITE)), result["frames"] + 2)
    middle = (more - less) / frames
    spread = Z * np.sqrt(more + less - (more - less) ** 2 / frames) / frames
    per_db = slope * TARGET * (1 - TARGET)
    return float(middle - spread) / per_db, float(middle + spread) / per_db


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-rx", type=int, default=2, help="receive antennas")
    parser.add_argument("--num-tx", type=int, default=2, help="streams")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers")
    parser.add_argument("--constellation", default="16qam", help="of every stream")
    parser.add_argument("--detector", default="auto", help="name or path of a detector")
    parser.add_argument("--estimator", default="lmmse", help="method of channel estimation")
    parser.add_argument("--carriers", type=int, nargs=2, metavar="N", help="first and last with interference; or all")
    parser.add_argument("--directional", action="store_true", help="interference from one direction")
    parser.add_argument("--interference-db", type=float, nargs="*", default=[], metavar="DB", help="none: white noise")
    parser.add_argument("--snr", type=float, nargs="+", default=[22.0], metavar="DB", help="nominal")
    parser.add_argument("--frames", type=int, default=400, help="at each level")
    parser.add_argument("--profile", default="tdl-a", help="delay line")
    parser.add_argument("--delay-spread", type=float, default=100e-9, help="seconds")
    parser.add_argument("--doppler", type=float, default=200.0, help="Hz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the counts (JSON)")
    add_unit_options(parser)
    options = parser.parse_args()
    if options.frames < 1:
        parser.error("--frames has to be at least 1")
    if options.interference_db and len(options.snr) > 1:
        parser.error("one --snr expected where there are several --interference-db")
    try:
        Link(options)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results: list[dict[str, Any]] = []
    all_wrong = []
    levels = [(snr_db, power_db) for snr_db in options.snr for power_db in options.interference_db or [None]]

    def show(number: int, units: list[Result]) -> None:
        snr_db, power_db = levels[number]
        level = f"SNR {snr_db:g} dB" + ("" if power_db is None else f", interference {power_db:g} dB")
        missed = sum(unit["missed"] for unit in units)
        is_wrong = {name: np.concatenate([unit[name] for unit in units]) for name in (WHITENED, WHITE)}
        all_wrong.append(is_wrong)
        wrong = {name: int(of.sum()) for name, of in is_wrong.items()}
        both = is_wrong[WHITENED] & is_wrong[WHITE]
        only = {name: int((of & ~both).sum()) for name, of in is_wrong.items()}
        print(f"{level}: {missed} of {options.frames} frames not found", flush=True)
        for name, count in wrong.items():
            rate = BitErrorRate(count, options.frames)
            low, high = rate.confidence_interval()
            print(
                f"    {name:<16} block error rate {rate.rate:.3f} [{low:.3f}, {high:.3f}]  {count} blocks, "
                f"{only[name]} of them not by the other",
                flush=True,
            )
        results.append(
            {
                "snr_db": snr_db,
                "interference_db": power_db,
                "frames": options.frames,
                "not_found": missed,
                "block_errors": wrong,
                "only": only,
            }
        )

    groups = frame_groups(options, [{"level": level} for level in levels], "snr", "interference_db")
    run_groups(options, "frames", frame_errors, groups, show)
    axis = "interference_db" if options.interference_db else "snr_db"
    found_at = thresholds(results, axis)
    for name, (place, error, _) in found_at.items():
        print(f"{name}: block error rate {TARGET:g} at {place:.2f} dB, standard error {error:.2f} dB")
    gain = found_at[WHITENED][0] - found_at[WHITE][0]
    if options.interference_db:
        low, high = gain_interval(results, all_wrong, axis)
    else:
        low, high = loss_interval(results, found_at[WHITE][2])
    of = "interference" if options.interference_db else "SNR needed"
    print(f"whitening: {gain:+.2f} dB [{low:+.2f}, {high:+.2f}] of {of}")
    if options.output:
        write_results(options, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
