# SPDX-License-Identifier: GPL-3.0-or-later
"""Block errors where only every second frame is estimated, and what forecasts give back of what that costs.

    python -m benchmarks.csi_age --snr 14 16 18 20 --frames 300
    python -m benchmarks.csi_age --snr 14 16 18 20 --frames 300 --tracked

Frames follow each other on a fading channel. The one that counts has no estimate of its own: `every` estimates it all
the same, `hold` takes the last data symbol's channel of the frame before, and forecasts build on all the estimated
frames before, one estimate of each (symbol 7). Start, carrier offset and clock are known, so that all frames are in one
phase; noise variance and statistics are estimated. A forecast's expected error is added to the noise variance.

With --tracked nothing is known. Frames are found by the synchronizer, and go through `ChannelEstimator` as in a
flowgraph, with carrier and clock offset. `every` is lmmse-memory at all frames, `alone` is lmmse at the last one, and
`forecast` is lmmse-memory that looks at the training of every second frame, and not of the last one. A frame that was
not found is a block error.
"""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.receiver import GAP, PERFECT, TARGET, Link, snr_at
from benchmarks.units import add_unit_options, frame_groups, once_for_settings, run_groups
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.estimation.estimator import ChannelEstimator, DataSymbols, Estimate
from gr_kaq.estimation.observation import Arrival
from gr_kaq.forecasting.carriers import forecast_carriers
from gr_kaq.forecasting.likelihood import likely_noise
from gr_kaq.forecasting.predictors import PREDICTORS
from gr_kaq.forecasting.series import Predictor
from gr_kaq.frames.payload import max_payload
from gr_kaq.frames.synchronization import FoundFrame, Synchronizer
from gr_kaq.probes.probed_link import frame_near, sent_samples
from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.signal_model import snr_from_noise_var
from gr_kaq.sweeps.results import Job, Result

EVERY, ALONE, HOLD, FORECAST = "every", "alone", "hold", "forecast"
MIDDLE = 7  # symbol whose channel a frame contributes: a training symbol


def noise_aware(method: str) -> Predictor:
    """A predictor for which what is said of the noise is a lower bound: estimates of one frame err alike."""
    return lambda series, horizons: PREDICTORS[method](likely_noise(series), horizons)


class AgeingLink(Link):
    """A `Link` whose last frame has no estimate of its own."""

    def decoded(self, snr_db: float, seed: int) -> dict[str, bool]:
        """Which methods find the payload of the last frame."""
        options, frame = self.options, self.frame
        payload, symbols = self._payload(seed)
        channel = self.channel(snr_db, seed)
        sent, starts = self._sent(symbols, channel, seed)
        received = channel.process(sent)
        truth = self._truth(sent, symbols, int(starts[-1]), seed)
        last = self._grid(received, int(starts[-1]))
        data = np.array(frame.data_symbols)
        carriers = last[data[:, None], :, frame.data_indices].transpose(2, 0, 1)  # (num_rx, 11, num_data)

        estimator = self.estimators["lmmse"]
        estimates = [estimator.estimate(*self._known_carriers(received, int(start))) for start in starts[:-1:2]]
        h = np.stack([estimate.h[MIDDLE] * np.exp(1j * estimate.phase[MIDDLE]) for estimate in estimates])
        errors = [float(e.error[MIDDLE] * e.noise_var.mean() / frame.num_tx) for e in estimates]
        times = (starts[:-1:2] - starts[-1]) / frame.symbol_length + MIDDLE
        noise_var = float(estimates[-1].noise_var.mean())

        found: dict[str, DataSymbols] = {}
        own = estimator.estimate(*self._known_carriers(received, int(starts[-1])))
        found[EVERY] = estimator.data_symbols(last, own)
        found[HOLD] = self._data(carriers, self._at_data(estimates[-1])[-1:], noise_var, np.zeros(1))
        for method in options.methods:
            forecast = forecast_carriers(times, h, float(np.mean(errors)), data - times[-1], noise_aware(method))
            ahead = forecast.h[np.arange(len(data))[:, None], frame.data_indices]
            found[f"{FORECAST} {method}"] = self._data(carriers, ahead, noise_var, frame.num_tx * forecast.error_var)
        found[PERFECT] = self._data(carriers, truth, channel.noise_var, np.zeros(1))
        return {name: self.coder.decode(seen.llrs(frame, self.detector)) == payload for name, seen in found.items()}

    def _payload(self, seed: int) -> tuple[bytes, NDArray[np.complex64]]:
        """What every frame carries, and its symbols."""
        payload = np.random.default_rng([self.options.seed, seed]).bytes(max_payload(self.frame))
        return payload, self.frame.map_bits(self.coder.encode(payload))

    def _sent(
        self, symbols: NDArray[np.complex64], channel: RadioChannel, seed: int
    ) -> tuple[NDArray[np.complex64], NDArray[np.int64]]:
        """Samples, and where the receiver sees the frames begin; the last one is not estimated."""
        frame = self.frame
        starts = self.lead(seed) + (frame.frame_length + frame.fft_size * GAP // 64) * np.arange(
            2 * self.options.history
        )
        return sent_samples(frame, symbols, starts.tolist(), channel.latency), starts + channel.latency

    def lead(self, seed: int) -> int:
        """Samples in front of the first frame."""
        return 0

    def _known_carriers(self, received: NDArray, start: int) -> tuple[NDArray, NDArray]:
        """Active carriers and guards of a frame whose start is known."""
        frame = self.frame
        first = start + frame.preamble_length + frame.cp_length - frame.timing_advance
        places = first + np.arange(frame.num_symbols)[:, None] * frame.symbol_length + np.arange(frame.fft_size)
        return frame.transform(received[:, places].swapaxes(0, 1))

    def _at_data(self, estimate: Estimate) -> NDArray:
        """The channel of the data carriers, its phase included, (11, num_data, num_rx, num_tx)."""
        data = np.array(self.frame.data_symbols)
        turned = estimate.h * np.exp(1j * estimate.phase)[:, None, None, None]
        return turned[data[:, None], self.frame.data_indices]

    def _data(self, received: NDArray, h: NDArray, noise_var: float, error_var: NDArray) -> DataSymbols:
        """All symbols with the same noise, the channel's errors included."""
        total = np.broadcast_to(noise_var + error_var, received.shape[1])
        scale = np.sqrt(noise_var / total).astype(np.float32)
        h = np.ascontiguousarray(np.broadcast_to(h, (received.shape[1], *h.shape[1:])) * scale[:, None, None, None])
        snr = float(snr_from_noise_var(h.reshape(-1, *h.shape[2:]), noise_var))
        return DataSymbols((received * scale[:, None]).astype(np.complex64), h.astype(np.complex64), noise_var, snr)


class TrackedLink(AgeingLink):
    """The same with all that a receiver does not know."""

    def lead(self, seed: int) -> int:
        """Enough for the synchronizer, and another one for each seed."""
        return int(np.random.default_rng([self.options.seed, seed, 1]).integers(2, 4 * self.frame.symbol_length))

    def decoded(self, snr_db: float, seed: int) -> dict[str, bool]:
        """Which methods find the payload of the last frame."""
        options, frame = self.options, self.frame
        payload, symbols = self._payload(seed)
        channel = self.channel(snr_db, seed)
        sent, starts = self._sent(symbols, channel, seed)
        received = channel.process(sent)
        truth = self._truth(sent, symbols, int(starts[-1]), seed)
        data = np.array(frame.data_symbols)
        known = self._grid(received, int(starts[-1]))[data[:, None], :, frame.data_indices].transpose(2, 0, 1)
        found = {PERFECT: self._data(known, truth, channel.noise_var, np.zeros(1))}

        frames = Synchronizer(frame, options.num_rx).push(received)
        last = frame_near(frame, frames, int(starts[-1]))
        if last is not None:
            before = [near for start in starts[:-1] if (near := frame_near(frame, frames, int(start)))]
            aged = starts[1::2]  # these are not estimated
            looks = [min(abs(aged - each.start)) > frame.cp_length for each in before]
            found[EVERY] = self._through("lmmse-memory", [*before, last], [True] * (len(before) + 1))
            found[ALONE] = self._through("lmmse", [last], [True])
            found[FORECAST] = self._through("lmmse-memory", [*before, last], [*looks, False])
        return {
            name: name in found and self.coder.decode(found[name].llrs(frame, self.detector)) == payload
            for name in (EVERY, ALONE, FORECAST, PERFECT)
        }

    def _through(self, method: str, frames: list[FoundFrame], looks: list[bool]) -> DataSymbols:
        """The last of these frames as the receiver hands it to a detector."""
        form, count = self.frame, len(frames)
        spectra = np.fft.fftshift(np.fft.fft(np.concatenate([each.windows for each in frames]), norm="ortho"), axes=-1)
        transforms = [np.ascontiguousarray(antenna, np.complex64) for antenna in spectra.swapaxes(0, 1)]
        received = [np.empty((count, form.data_per_stream), np.complex64) for _ in transforms]
        shape = len(form.data_symbols), form.num_data, len(transforms), form.num_tx
        channels = [np.empty(shape, np.complex64) for _ in frames]
        report = ChannelEstimator(form, method).estimate_frames(
            transforms,
            [form.num_symbols * place for place in range(count)],
            received,
            channels,
            arrivals=[Arrival(each.start, each.carrier_offset) for each in frames],
            looks=looks,
        )[-1]
        last = np.stack([antenna[-1] for antenna in received]).reshape(len(received), *shape[:2])
        return DataSymbols(last, channels[-1], report.data_noise_var, report.data_snr_db)


_link = once_for_settings(lambda options: (TrackedLink if options.tracked else AgeingLink)(options))


def count_lost(job: Job) -> Result:
    """How many of the frames of a unit each method loses, see `units.frame_groups`; of each, snr_db."""
    link = _link(job)
    lost: dict[str, int] = {}
    for index in range(*job["frames"]):
        for name, good in link.decoded(job["snr_db"], index).items():
            lost[name] = lost.get(name, 0) + (not good)
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add: Any = parser.add_argument
    add("--num-tx", type=int, default=2, help="streams, and antennas")
    add("--snr", type=float, nargs="+", default=[14, 16, 18, 20], metavar="DB", help="nominal")
    add("--frames", type=int, default=200, help="at each SNR")
    add("--history", type=int, default=16, help="estimated frames, every second one")
    add("--methods", nargs="+", choices=PREDICTORS, default=["wiener", "cw-wiener"], help="of forecasts")
    add("--doppler", type=float, default=100.0, help="Hz")
    add("--profile", default="tdl-a", help="delay line")
    add("--detector", default="auto", help="name of a detector")
    add("--tracked", action="store_true", help="find frames, and follow phase and timing, as a receiver does")
    add("--carrier-offset", type=float, default=5000.0, help="Hz; with --tracked")
    add("--clock-offset-ppm", type=float, default=20.0, help="with --tracked")
    add("--seed", type=int, default=1)
    add_unit_options(parser)
    options = parser.parse_args()
    settings = vars(options) if options.tracked else {**vars(options), "carrier_offset": 0.0, "clock_offset_ppm": 0.0}
    whole = Namespace(
        **settings,
        num_rx=options.num_tx,
        fft_size=64,
        num_symbols=14,
        constellation="16qam",
        estimators=["lmmse"],
        passes=0,
        delay_spread=100e-9,
    )
    results: list[dict[str, Any]] = []

    def show(number: int, units: list[Result]) -> None:
        snr_db = options.snr[number]
        lost = {name: sum(unit[name] for unit in units) for name in units[0]}
        print(f"{snr_db:4g} dB")
        for name, count in lost.items():
            rate = BitErrorRate(count, options.frames)
            low, high = rate.confidence_interval()
            print(f"    {name:<20} block error rate {rate.rate:.3f} [{low:.3f}, {high:.3f}]  {count}", flush=True)
        results.append({"snr_db": snr_db, "frames": options.frames, "block_errors": lost})

    groups = frame_groups(whole, [{"snr_db": snr_db} for snr_db in options.snr], "snr")
    run_groups(options, "frames", count_lost, groups, show)
    reference = snr_at(TARGET, results, EVERY)
    for name in results[0]["block_errors"]:
        needed = snr_at(TARGET, results, name)
        print(f"{name}: block error rate {TARGET:g} at {needed:.2f} dB, {needed - reference:+.2f} dB to every frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
