# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error rate of the receiver over a fading channel, with estimated and with perfect knowledge of the channel.

    python -m benchmarks.receiver --num-tx 2 --snr 5 10 15 20 25 --estimators ls lmmse learned-int8

Each frame is a burst of its own with a fresh channel (`gr_kaq.channels.radio_channel.RadioChannel`: tapped delay line,
Jakes Doppler, carrier and clock offset), found by the synchronizer, estimated by each of the estimators, detected by
the same detector and decoded. 'perfect' has the true start, carrier offset, noise variance, and the channel that each
data carrier had: what each stream alone, without noise, makes of it. A frame that was not found is a block error.
With --history, other frames come before it on the same channel, which do not count. '+data' behind an estimator's
name: a frame whose CRC is wrong is estimated again with its own data (`gr_kaq.estimation.data_aided`).
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gr_kaq
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.estimation.data_aided import DataAidedDecoder
from gr_kaq.estimation.estimator import INTERPOLATORS, ChannelEstimator, DataSymbols, Estimate
from gr_kaq.estimation.observation import Arrival
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.frames.synchronization import Synchronizer
from gr_kaq.probes.probed_link import CARRIER_SPACING, data_channel, frame_near, sent_samples
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.constellation import constellation_named
from gr_kaq.signals.signal_model import snr_from_noise_var
from gr_kaq.sweeps.results import Job, Result

from .units import add_unit_options, frame_groups, once_for_settings, run_groups

PERFECT, DATA_AIDED = "perfect", "+data"
TARGET = 0.1
GAP = 256  # samples of 64 carriers between two frames


class Link:
    """One transmitter, one channel per frame, and as many receivers as there are estimators.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.frame = FrameFormat(options.num_tx, options.fft_size, options.constellation, options.num_symbols)
        self.sample_rate = CARRIER_SPACING * options.fft_size
        self.coder = PayloadCoder(self.frame)
        self.detector = gr_kaq.load_detector(options.detector, constellation=options.constellation)
        self.data_aided = DataAidedDecoder(self.frame, self.detector, options.passes)
        self.estimators = {
            method: ChannelEstimator(self.frame, method if method in INTERPOLATORS else _learned(self.frame, method))
            for method in {name.removesuffix(DATA_AIDED): None for name in options.estimators if name != PERFECT}
        }

    def channel(self, snr_db: float, seed: int) -> RadioChannel:
        """The channel of one frame; the same fading and phase at any SNR."""
        options = self.options
        return RadioChannel(
            options.num_rx,
            options.num_tx,
            sample_rate=self.sample_rate,
            profile=options.profile,
            delay_spread=options.delay_spread,
            doppler=options.doppler,
            snr_db=snr_db,
            carrier_offset=options.carrier_offset,
            clock_offset_ppm=options.clock_offset_ppm,
            seed=seed,
        )

    def frame_results(self, snr_db: float, seed: int) -> tuple[bool, float, dict[str, bool]]:
        """Whether the frame was found, its SNR in dB, and whose payload was right."""
        options, frame = self.options, self.frame
        rng = np.random.default_rng([options.seed, seed])
        payload = rng.bytes(max_payload(frame))
        symbols = frame.map_bits(self.coder.encode(payload))
        lead = int(rng.integers(2 * frame.symbol_length, 4 * frame.symbol_length))
        channel = self.channel(snr_db, seed)
        # the frames before, then the one that counts
        distance = frame.frame_length + frame.fft_size * GAP // 64
        starts = [lead + distance * number for number in range(options.history + 1)]
        sent = sent_samples(frame, symbols, starts, channel.latency)
        received = channel.process(sent)
        start = starts[-1] + channel.latency

        all_found = Synchronizer(frame, options.num_rx).push(received)
        found = frame_near(frame, all_found, start)
        truth = self._truth(sent, symbols, start, seed)
        snr_here = float(snr_from_noise_var(truth.reshape(-1, options.num_rx, options.num_tx), channel.noise_var))
        decoded: dict[str, bytes | None] = dict.fromkeys(options.estimators)
        if PERFECT in decoded:
            places = np.array(frame.data_symbols)[:, None], slice(None), frame.data_indices
            grid = self._grid(received, start)[places]
            known = DataSymbols(grid.transpose(2, 0, 1), truth, channel.noise_var, snr_here)
            decoded[PERFECT] = self.coder.decode(known.llrs(frame, self.detector))
        for method, estimator in self.estimators.items():
            if found is None:
                break
            for each in [*(f for f in all_found if f.start < found.start), found]:
                grid, guards = frame.transform(each.windows)
                estimate = estimator.estimate(grid, guards, Arrival(each.start, each.carrier_offset))
            decoded |= self._decode(method, estimate, estimator.data_symbols(grid, estimate))
        right = {name: decoded[name] == payload for name in options.estimators}
        return found is not None, snr_here, right

    def _decode(self, method: str, estimate: Estimate, data: DataSymbols) -> dict[str, bytes | None]:
        """The payload of a frame with this estimate, and with its own data."""
        llrs = data.llrs(self.frame, self.detector)
        payload = self.coder.decode(llrs)
        decoded = {method: payload, method + DATA_AIDED: payload}
        if payload is None and method + DATA_AIDED in self.options.estimators:
            decoded[method + DATA_AIDED] = self.data_aided.decode(
                llrs,
                data.received.reshape(len(data.received), -1).T,
                data.h.reshape(-1, *data.h.shape[2:]),
                data.noise_var,
                estimate.delay_spread,
                estimate.doppler,
            )
        return decoded

    def _grid(self, samples: NDArray[np.complex64], start: int) -> NDArray[np.complex64]:
        """What is received of the frame when start and carrier offset are known."""
        turns = self.options.carrier_offset / self.sample_rate * (np.arange(samples.shape[-1]) - start)
        return self.frame.demodulate(samples * np.exp(-2j * np.pi * turns), start)

    def _truth(
        self, sent: NDArray[np.complex64], symbols: NDArray[np.complex64], start: int, seed: int
    ) -> NDArray[np.complex64]:
        """The channel at every data carrier, (11, num_data, num_rx, num_tx)."""
        return data_channel(
            self.frame, symbols, sent, lambda x: self._grid(self.channel(np.inf, seed).process(x), start)
        )


def _learned(frame: FrameFormat, name: str) -> Any:
    from gr_kaq.estimation.learned import LearnedInterpolator  # noqa: PLC0415 - ONNX Runtime is optional

    return LearnedInterpolator(frame, name)


def snr_at(target: float, results: list[dict[str, Any]], name: str) -> float:
    """SNR in dB at which the block error rate falls to `target`, by linear interpolation of its logarithm; or NaN."""
    points = [(r["snr_db"], r["block_errors"][name] / r["frames"]) for r in results]
    for (left, high), (right, low) in pairwise(sorted(points)):
        if high >= target >= low > 0:
            share = 1.0 if high == low else np.log(high / target) / np.log(high / low)
            return float(left + share * (right - left))
    return float("nan")


_link = once_for_settings(Link)


def count_frames(job: Job) -> Result:
    """What is missed and lost of the frames of a unit, see `units.frame_groups`; of each, snr_db."""
    link = _link(job)
    lost, missed, lost_above = dict.fromkeys(link.options.estimators, 0), 0, 0
    for index in range(*job["frames"]):
        found, snr_here, right = link.frame_results(job["snr_db"], index)
        missed += not found
        lost_above += not found and snr_here > 5
        for name, good in right.items():
            lost[name] += not good
    return {"missed": missed, "lost_above": lost_above, "lost": lost}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-rx", type=int, help="receive antennas (default: as many as streams)")
    parser.add_argument("--num-tx", type=int, default=2, help="streams")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers")
    parser.add_argument("--num-symbols", type=int, default=14, help="OFDM symbols of a frame")
    parser.add_argument("--constellation", default="16qam", help="of every stream")
    parser.add_argument("--detector", default="auto", help="name or path of a detector")
    parser.add_argument(
        "--estimators", nargs="+", default=["ls", "lmmse", PERFECT], help="perfect, or methods of channel_estimator"
    )
    parser.add_argument("--snr", type=float, nargs="+", default=[5, 10, 15, 20, 25], metavar="DB", help="nominal")
    parser.add_argument("--frames", type=int, default=200, help="at each SNR")
    parser.add_argument("--history", type=int, default=0, help="frames before each, for estimators that remember")
    parser.add_argument("--passes", type=int, default=2, help="of data-aided estimation at most")
    parser.add_argument("--profile", default="tdl-a", help="delay line")
    parser.add_argument("--delay-spread", type=float, default=100e-9, help="seconds")
    parser.add_argument("--doppler", type=float, default=200.0, help="Hz, at 31.25 kHz carrier spacing")
    parser.add_argument("--carrier-offset", type=float, default=5000.0, help="Hz")
    parser.add_argument("--clock-offset-ppm", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the counts (JSON)")
    add_unit_options(parser)
    options = parser.parse_args()
    options.num_rx = options.num_rx or options.num_tx
    if options.frames < 1:
        parser.error("--frames has to be at least 1")
    try:
        constellation_named(options.constellation)
        Link(options)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results: list[dict[str, Any]] = []

    def show(number: int, units: list[Result]) -> None:
        snr_db = options.snr[number]
        missed, lost_above = (sum(unit[name] for unit in units) for name in ("missed", "lost_above"))
        lost = {name: sum(unit["lost"][name] for unit in units) for name in options.estimators}
        print(
            f"{snr_db:4g} dB: {missed} of {options.frames} frames not found, {lost_above} of them above 5 dB",
            flush=True,
        )
        for name, count in lost.items():
            rate = BitErrorRate(count, options.frames)
            low, high = rate.confidence_interval()
            print(
                f"    {name:<16} block error rate {rate.rate:.3f} [{low:.3f}, {high:.3f}]  {count} blocks", flush=True
            )
        results.append({"snr_db": snr_db, "frames": options.frames, "not_found": missed, "block_errors": lost})

    groups = frame_groups(options, [{"snr_db": snr_db} for snr_db in options.snr], "snr")
    run_groups(options, "frames", count_frames, groups, show)
    needed = {name: snr_at(TARGET, results, name) for name in options.estimators}
    for name, snr_db in needed.items():
        loss = "" if PERFECT not in needed else f", {snr_db - needed[PERFECT]:+.2f} dB to perfect knowledge"
        print(f"{name}: block error rate {TARGET:g} at {snr_db:.2f} dB{loss}")
    if options.output:
        write_results(options, results)
    return 0


def write_results(options: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Settings and results as JSON into options.output."""
    options.output.parent.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(options).items()}
    options.output.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
