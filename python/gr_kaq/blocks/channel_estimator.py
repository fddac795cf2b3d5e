# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimation as a GNU Radio block: from Fourier transforms to data carriers with their channel."""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..estimation.estimator import INTERPOLATORS, ChannelEstimator, FrameReport
from ..estimation.frame_memory import FrameMemory, Track
from ..estimation.observation import Arrival, Interference
from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from .access import _gnuradio
from .base import MAX_ANTENNAS, KaqGeneralBlock, check_integer, ports
from .counters import Counters, counter, reading
from .csi_pmt import CSI_KEY, H_ENTRY, NOISE_ENTRY, SEQ_ENTRY, SHAPE_ENTRY, SNR_KEY

__all__ = ["channel_estimator"]

ARRIVAL = ("sample", "carrier_offset")
FRAME, CSI, SNR = (pmt.intern(key) for key in ("frame", CSI_KEY, SNR_KEY))
FRAMES = pmt.intern("frames")
ESTIMATE = [H_ENTRY, SHAPE_ENTRY, NOISE_ENTRY, SEQ_ENTRY]
DESCRIPTION = [pmt.intern(key) for key in ("noise_var", "snr", "delay_spread", "doppler")]
REMEMBERS, MAX_EVERY = "lmmse-memory", 1024
FORECAST = pmt.intern("forecast")
INTERFERENCE, CARRIERS, POWER = (pmt.intern(key) for key in ("interference", "carriers", "power_db"))


@dataclass
class EstimatorCounters(Counters):
    """What a `channel_estimator` counts."""

    frames: int = counter("frames", "Frames estimated.")
    interfered_frames: int = counter(
        "frames", "Frames with interference: noise that was not white over carriers and antennas, and was whitened."
    )
    forecast_frames: int = counter(
        "frames", "Frames whose channel is forecast from those before, as estimate_every asks for; of `frames`."
    )
    items_without_frame: int = counter("items", "Items dropped because they belong to no frame.")
    incomplete_frames: int = counter(
        "frames", "Frames dropped because the next one began before all their items were there."
    )
    rejected_tags: int = counter(
        "tags", "Tags `frame` whose value was no dict. Their frames are estimated all the same."
    )
    rejected_messages: int = counter("messages", "Messages on port `method` that were refused.")


class channel_estimator(KaqGeneralBlock[EstimatorCounters]):
    """Estimates the channel of each MIMO-OFDM frame, and passes on its data carriers.

    Signal model, for every data carrier of every data symbol that comes out:

        y = H x + n     y: (num_rx,)  H: (num_rx, num_tx)  x: (num_tx,)  n ~ CN(0, noise_var I)

    How: `gr_kaq.estimation.estimator`; the frame: `gr_kaq.frames.frame_format.FrameFormat`.

    Inputs: num_rx complex ports, one per antenna; an item is a vector of fft_size carriers, carrier 0 in the middle, as
    fft.fft_vcc gives it (forward, shifted, window 1/sqrt(fft_size)) after frame_synchronizer. There are num_symbols
    items for each frame, the first of which has the tag `frame`.

    Outputs: num_rx complex ports; an item is a frame, a vector of data_per_stream: the data carriers (48 of 64) of its
    data symbols (11 of 14), one symbol after the other, common phases corrected, antennas and symbols scaled to equal
    noise. Where the noise is not white, the antennas of each carrier are combined so that it is. So a detector with
    num_subcarriers=data_per_stream has a channel of its own for each of them, at the price of one tag. Then, with
    output_channel, a float port for displays; an item is a vector of num_active * num_rx * num_tx: |h| in dB over the
    active carriers in the middle of the frame, for each pair of antenna and stream one after the other, antennas
    outermost.

    Tags, read on input 0:
        frame: begins a frame. Its value, a dict, is passed on.

    Tags, on output 0, at every item:
        frame: with doubles added: `noise_var` (mean over the antennas), `snr` (dB), `delay_spread` (samples, RMS) and
            `doppler` (cycles per OFDM symbol). Where the channel is forecast, `forecast`, true. With interference, a
            dict `interference`: `carriers` (first and last, a tuple) and `power_db` (over that of the signal).
        mimo_channel, snr: as docs/guide/csi-contract.md has it. The `noise_var` in the estimate includes what the
            estimate's own errors add.
        All others of the frame.

    Messages:
        frames (out): the value of each tag `frame`.
        method (in): name of a method or path of an estimator, as for `set_method`.
        stats (out): dict with the value of every counter, about every stats_interval_s while items flow, and at the
            end.

    ``"lmmse-memory"`` needs `sample` and `carrier_offset` in the tag `frame`. A frame without them, or one that does
    not fit to those before, is estimated by itself. The latter are counted (`lost_tracks`).

    With estimate_every, it looks at the training of every so many frames only. In the others, the channel is forecast
    from the frames before, and the pilots say phase and timing. The error that is expected is in `noise_var`, and the
    tag `frame` has the entry `forecast`, true. A frame is estimated out of turn where those before say nothing of it:
    there are none, or they are older than 4000 symbols.

    A learned estimator leaves frames to LMMSE whose SNR, delay spread or Doppler it was not trained for. These are
    counted, and the first is logged.

    Items without a frame, frames that end early (the next one begins before all their items are there), tags and
    messages that are malformed are counted, and logged once per kind; the next frame goes on. NaN and Inf count as 0.
    The end of the stream drops a frame that is not complete.

    Args:
        num_rx: antennas.
        num_tx: streams, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        method: ``"lmmse"``, ``"lmmse-memory"`` (with what the last frames said), ``"lmmse-frequency"`` (straight lines
            over time), ``"ls"`` (straight lines), or the name or path of a learned estimator.
        output_channel: whether there is the port for displays.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56, see `gr_kaq.frames.frame_format.FrameFormat`.
        estimate_every: frames of which one is estimated, and the others forecast; more than 1 with ``"lmmse-memory"``.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range, or there is no such method, or none that forecasts where one has to.
        ImportError: a learned estimator was asked for, and ONNX Runtime is missing.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        *,
        method: str | Path = "lmmse",
        output_channel: bool = False,
        num_symbols: int = SYMBOL_COUNTS[0],
        estimate_every: int = 1,
        stats_interval_s: float = 1.0,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        self._frame_format = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        self._num_symbols = num_symbols
        self._every = check_integer("estimate_every", estimate_every, 1, MAX_EVERY)
        self._estimator = self._load(method)
        self._method = str(method)
        num_pairs = self._num_rx * self._frame_format.num_tx
        data_ports = ports(np.complex64, self._frame_format.data_per_stream, self._num_rx)
        channel_port = ports(np.float32, self._frame_format.num_active * num_pairs, 1)
        super().__init__(
            "KAQ channel estimator",
            ports(np.complex64, fft_size, self._num_rx),
            data_ports + (channel_port if output_channel else []),
        )
        self.enlarge_buffers()
        self._lock = threading.Lock()  # set_method is called from other threads
        self._shape = (self._frame_format.data_per_stream, self._num_rx, self._frame_format.num_tx)
        self._vectors = _gnuradio.VectorPool(math.prod(self._shape))
        self._shape_pmt = pmt.to_pmt(self._shape)
        self._last: FrameReport | None = None
        self._unrefined_frames = self._estimation_ns = 0
        self.message_port_register_out(FRAMES)
        self.message_port_register_in(pmt.intern("method"))
        self.set_msg_handler(pmt.intern("method"), self.handle_method)
        self.announce_stats(stats_interval_s)

    # Frames

    def forecast(self, noutput_items: int, ninputs: int) -> list[int]:
        """A frame is estimated as a whole."""
        return [self._num_symbols] * ninputs

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> tuple[int, int]:
        """Estimate the frames that are there as a whole, and drop what belongs to none."""
        available, room = len(input_items[0]), len(output_items[0])
        items, values, tags = _gnuradio.split_tags(self.gateway, available, FRAME)
        value_at = dict(zip(items, values, strict=True))
        starts: list[int] = []
        consumed = 0
        ordered = [*sorted(value_at), available]
        for start, next_start in itertools.pairwise(ordered):
            self._drop(start - consumed)
            consumed = start
            complete = start + self._num_symbols <= available
            if next_start - start < self._num_symbols and next_start < available:
                self.counters.incomplete_frames += 1
                self.warn_once("incomplete", f"a frame ends after {next_start - start} of {self._num_symbols} symbols")
                consumed = next_start
            elif complete and len(starts) < room:
                consumed = start + self._num_symbols
                starts.append(start)
            else:
                break
        else:
            self._drop(available - consumed)
            consumed = available
        if starts:
            self._estimate(input_items, output_items, starts, [value_at[start] for start in starts])
            self._pass_tags(tags, starts)
        self.publish_stats()
        return consumed, len(starts)

    def _drop(self, count: int) -> None:
        if count:
            self.counters.items_without_frame += count
            self.warn_once("no frame", f"{count} items belong to no frame: they have no tag `frame` in front of them")

    def _estimate(
        self, input_items: list[NDArray], output_items: list[NDArray], starts: list[int], values: list[Any]
    ) -> None:
        """Estimate the frames that begin at these items, each into one; tag them."""
        begin, first = time.perf_counter_ns(), self.counters.frames
        vectors, channels = self._vectors.take(len(starts))
        with self._lock:
            reports = self._estimator.estimate_frames(
                input_items,
                starts,
                output_items[: self._num_rx],
                channels,
                output_items[-1] if len(output_items) > self._num_rx else None,
                [_arrival(value) for value in values] if self._memory() else None,
                [(first + i) % self._every == 0 for i in range(len(starts))] if self._every > 1 else None,
            )
        self._last = reports[-1]
        if self.unrefined_frames() != self._unrefined_frames:
            self._unrefined_frames = self.unrefined_frames()
            self.warn_once(
                "unrefined",
                f"{self._method} leaves frames to LMMSE that it was not trained for: SNR "
                f"{self._last.snr_db:.1f} dB, delay spread {self._last.delay_spread:.2f} samples, Doppler "
                f"{self._last.doppler:.4f} cycles per symbol",
            )
        item, empty = self.nitems_written(0), pmt.make_dict()
        estimates = [
            _gnuradio.extend_dict(empty, ESTIMATE, (vector, self._shape_pmt, report.data_noise_var, first + i))
            for i, (vector, report) in enumerate(zip(vectors, reports, strict=True))
        ]
        _gnuradio.add_tags(self.gateway, item, CSI, estimates)
        _gnuradio.add_tags(self.gateway, item, SNR, [pmt.from_double(report.data_snr_db) for report in reports])
        descriptions = [self._describe(*frame) for frame in zip(values, reports, strict=True)]
        _gnuradio.add_tags(self.gateway, item, FRAME, descriptions)
        for description in descriptions:
            self.message_port_pub(FRAMES, description)
        self.counters.frames += len(starts)
        self.counters.forecast_frames += sum(report.is_forecast for report in reports)
        self.counters.interfered_frames += sum(report.interference is not None for report in reports)
        self._estimation_ns += time.perf_counter_ns() - begin

    def _memory(self) -> FrameMemory | None:
        interpolator = self._estimator.interpolator
        return interpolator if isinstance(interpolator, FrameMemory) else None

    def _describe(self, value: Any, report: FrameReport) -> Any:
        """The entries of a frame's tag, and what the estimate adds."""
        entries = pmt.make_dict()
        try:
            if not pmt.is_dict(value):
                raise ValueError("no dict")
            entries = _gnuradio.safe_dict(value)
        except Exception as error:  # whatever a tag may hold
            self.counters.rejected_tags += 1
            self.warn_once("tag", f"the value of a tag `frame` was ignored: {error}; a dict expected")
        entries = _gnuradio.extend_dict(entries, DESCRIPTION, report[: len(DESCRIPTION)])
        if report.is_forecast:
            entries = pmt.dict_add(entries, FORECAST, pmt.PMT_T)
        if report.interference is None:
            return entries
        first, last, power_db = report.interference
        values = pmt.to_pmt((first, last)), pmt.from_double(power_db)
        return pmt.dict_add(entries, INTERFERENCE, _gnuradio.extend_dict(pmt.make_dict(), [CARRIERS, POWER], values))

    def _pass_tags(self, tags: list[tuple[int, Any]], starts: list[int]) -> None:
        """Put the other tags of frames on their items."""
        written = self.nitems_written(0)
        for item, tag in tags:
            frame = bisect.bisect_right(starts, item) - 1
            if frame >= 0 and item < starts[frame] + self._num_symbols:
                self.forward(tag, written + frame)

    # The method

    def _load(self, method: Any) -> ChannelEstimator:
        if self._every > 1 and method != REMEMBERS:
            raise ValueError(
                f"estimate_every is {self._every}, and method {method!r}; {REMEMBERS} expected: it forecasts"
            )
        if isinstance(method, str) and method in INTERPOLATORS:
            return ChannelEstimator(self._frame_format, method)
        if not isinstance(method, str | Path) or not str(method):
            raise ValueError(f"method is {method!r}; {', '.join(INTERPOLATORS)}, or a learned estimator expected")
        from ..estimation.learned import LearnedInterpolator  # noqa: PLC0415  # only who asks for one needs it

        return ChannelEstimator(self._frame_format, LearnedInterpolator(self._frame_format, method))

    def set_method(self, method: str | Path) -> None:
        """Replace the method, also while the flowgraph runs: from the next frame on.

        Raises:
            ValueError: there is no such method; the old one stays.
            ImportError: it is a learned estimator, and ONNX Runtime is missing.
        """
        loaded = self._load(method)
        with self._lock:
            self._estimator, self._method, self._unrefined_frames = loaded, str(method), 0

    def handle_method(self, message: Any) -> None:
        """A message on port `method`."""
        if not self.take_name("method", message, self.set_method, self.method):
            self.counters.rejected_messages += 1

    # Readings

    @reading("name")
    def method(self) -> str:
        """The method in use."""
        return self._method

    @reading("frames")
    def unrefined_frames(self) -> int:
        """Frames that the learned estimator in use left to LMMSE: it was not trained for them, or was not finite."""
        interpolator = self._estimator.interpolator
        return getattr(interpolator, "outside", 0) + getattr(interpolator, "fallbacks", 0)

    def track(self) -> Track | None:
        """What is known from frame to frame (``"lmmse-memory"``); None without a track."""
        memory = self._memory()
        return memory.track if memory else None

    @reading("frames")
    def lost_tracks(self) -> int:
        """Frames that did not fit to those before, and were estimated by themselves (``"lmmse-memory"``)."""
        memory = self._memory()
        return memory.lost if memory else 0

    @reading("frames")
    def track_frames(self) -> int:
        """Frames that the newest estimate is made of (``"lmmse-memory"``); 0 without a track."""
        track = self.track()
        return track.frames if track else 0

    @reading("cycles per sample")
    def track_carrier_offset(self) -> float:
        """Carrier offset of the radio, over all frames of the track (``"lmmse-memory"``); NaN without one."""
        track = self.track()
        return track.carrier_offset if track else float("nan")

    @reading("cycles per OFDM symbol, for each stream")
    def track_dopplers(self) -> list[float]:
        """Doppler of the strongest part of each, over all frames of the track (``"lmmse-memory"``); NaN without one."""
        track = self.track()
        return track.dopplers.tolist() if track else [float("nan")] * self._frame_format.num_tx

    @reading("carriers")
    def interfered_carriers(self) -> list[int]:
        """The first and the last carrier with interference in the last frame; empty without any."""
        interference = self._interference()
        return [interference.first, interference.last] if interference else []

    @reading("dB")
    def interference_db(self) -> float:
        """Power of the interference in the last frame over that of the signal; NaN without any."""
        interference = self._interference()
        return interference.power_db if interference else float("nan")

    def _interference(self) -> Interference | None:
        return self._last.interference if self._last else None

    @reading("dB")
    def snr_db(self) -> float:
        """SNR of the last frame; NaN before the first."""
        return self._last.snr_db if self._last else float("nan")

    @reading("squared samples")
    def noise_var(self) -> float:
        """Noise variance of the last frame's received carriers, mean over the antennas; NaN before the first."""
        return self._last.noise_var if self._last else float("nan")

    @reading("samples")
    def delay_spread(self) -> float:
        """RMS delay spread of the last frame; NaN before the first."""
        return self._last.delay_spread if self._last else float("nan")

    @reading("cycles per OFDM symbol")
    def doppler(self) -> float:
        """Largest Doppler shift of the last frame; NaN before the first."""
        return self._last.doppler if self._last else float("nan")

    @reading("cycles per OFDM symbol")
    def carrier_offset(self) -> float:
        """Carrier offset that the last frame still had; NaN before the first."""
        return self._last.carrier_offset if self._last else float("nan")

    @reading("samples")
    def delay(self) -> float:
        """Mean delay of the last frame's channel; NaN before the first."""
        return self._last.delay if self._last else float("nan")

    @reading("ns")
    def time_per_frame_ns(self) -> float:
        """Mean time per frame; NaN before the first."""
        return self._estimation_ns / self.counters.frames if self.counters.frames else float("nan")


def _arrival(value: Any) -> Arrival | None:
    """What the value of a tag `frame` says of when it came; None: nothing that makes sense."""
    try:
        entries = _gnuradio.plain_entries(value, ARRIVAL)
    except ValueError:
        return None
    sample, offset = (entries.get(key) for key in ARRIVAL)
    if not isinstance(sample, int) or not isinstance(offset, float) or not abs(offset) <= 1:
        return None
    return Arrival(sample, offset)
