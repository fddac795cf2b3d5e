# SPDX-License-Identifier: GPL-3.0-or-later
"""The first block of the receiver: finds the frames, and cuts them into windows for the Fourier transforms."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from ..frames.synchronization import FoundFrame, Synchronizer
from .access import _gnuradio
from .base import MAX_ANTENNAS, KaqGeneralBlock, check_integer, ports
from .counters import Counters, counter, counters_of_ports

__all__ = ["frame_synchronizer"]

DESCRIPTION = [pmt.intern(key) for key in ("seq", "sample", "carrier_offset", "metric")]
# So many samples may wait in front of the block, and are then searched at once. GNU Radio makes a buffer by what its
# reader says of its rate: of windows per sample, which depends on how often frames come.
WAITING_SAMPLES = 1 << 14
MAX_DECIMATION = 1024
FRAME_KEY, TIME_KEY, RATE_KEY = (pmt.intern(key) for key in ("frame", "rx_time", "rx_rate"))


@dataclass
class SynchronizerCounters(Counters):
    """What a `frame_synchronizer` counts."""

    frames: int = counter("frames", "Frames given out.")
    gaps: int = counter("places", "Places where samples were lost, as the tags `rx_time` tell.")
    incomplete_frames: int = counter(
        "frames", "Frames that were found and given up, because a gap came before their end."
    )
    cut_frames: int = counter("frames", "Frames that were found, and that the end of the samples or a stop cut.")
    overlapping_frames: int = counter("frames", "Frames that began before the one in front of them had ended.")
    dead_antennas: list[int] = counters_of_ports(
        "frames, for each antenna", "In how many frames the antenna received nothing."
    )
    saturated_antennas: list[int] = counters_of_ports(
        "frames, for each antenna", "In how many frames the antenna was saturated."
    )
    invalid_samples: int = counter("samples", "Samples that were NaN or Inf.")
    rejected_tags: int = counter("tags", "Tags `rx_time` and `rx_rate` that were malformed.")


class frame_synchronizer(KaqGeneralBlock[SynchronizerCounters]):
    """Finds MIMO-OFDM frames on several antennas: one detection, one start and one carrier offset for all of them.

    How, and what of: `gr_kaq.frames.synchronization`, `gr_kaq.frames.frame_format.FrameFormat`.

    Inputs: num_rx complex ports, one per antenna, sampled at the same instants.

    Outputs: num_rx complex ports; an item is a vector of fft_size samples, 14 for each frame: its OFDM symbols without
    cyclic prefix, `timing_advance` samples early, carrier offset removed.

    Tags, on output 0, at the first item of a frame:
        frame: dict with `seq` (uint64, counted from 0), `sample` (uint64: item of the input at which the frame began),
        `carrier_offset` (double, cycles per sample), `metric` (double, 0 to 1).

    Tags, read on all inputs, as UHD's source sets them: `rx_time`, a tuple of seconds (uint64) and their fraction
    (double), and `rx_rate` (double). Where the time does not go on with the samples (or the rate is not known), samples
    were lost: a gap. Behind a decimator, whose tags have the radio's rate, the second of two regular times is taken. A
    frame that a gap cuts is given up, and the search begins anew. No tag is passed on.

    Messages:
        stats (out): dict with the value of every counter, about every stats_interval_s while samples flow, and at the
            end.

    Whatever happens is counted, and logged the first time: gaps, frames whose end is missing, frames that overlap (both
    are given out), antennas that receive nothing or are saturated (see `gr_kaq.frames.synchronization.FoundFrame`),
    NaN and Inf (taken as 0). None of it stops the search for the next frame.

    Args:
        num_rx: antennas, 1 to 256.
        num_tx: streams, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56, see `gr_kaq.frames.frame_format.FrameFormat`.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        *,
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        self._frame_format = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        super().__init__(
            "KAQ frame synchronizer", ports(np.complex64, 1, num_rx), ports(np.complex64, fft_size, num_rx)
        )
        self.enlarge_buffers()
        self.set_inverse_relative_rate(WAITING_SAMPLES)
        self.counters.dead_antennas, self.counters.saturated_antennas = [0] * num_rx, [0] * num_rx
        self._begin(0)
        self.announce_stats(stats_interval_s)

    def _begin(self, item: int) -> None:
        """Search from this item of the input on, knowing nothing."""
        self._synchronizer = Synchronizer(self._frame_format, self._num_rx)
        self._origin = item  # which item is the synchronizer's first sample
        self._next = item  # the first item that it has not got
        self._found: collections.deque[FoundFrame] = collections.deque()
        self._given_out = 0  # windows of the first of those
        self._clocks: dict[int, tuple[int, int, float]] = {}  # port: (item, seconds, fraction)
        self._decimations: dict[int, int] = {}  # port: samples of the radio for each item, between the last two times
        self._rate = 0.0  # not known

    def begin(self) -> None:
        """Called when the flowgraph starts. Frames that were found before unlock() are given out yet."""
        found = self._found if self.unlocked else ()
        self._begin(0)
        self._found += found

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> tuple[int, int]:
        """Give out what was found; then search on.

        The last item stays unconsumed for as long as something is left to give out: see `KaqGeneralBlock`.
        """
        first = self.nitems_read(0)
        produced = self._give_out(output_items, 0)
        if not self._found:
            self._search(first, input_items)
            produced = self._give_out(output_items, produced)
        self.publish_stats()
        return self._next - first - bool(self._found), produced

    def _search(self, first: int, input_items: list[NDArray]) -> None:
        """Push the items that are new, in pieces without a gap."""
        stop = first + len(input_items[0])
        for piece_stop in [*sorted(self._find_gaps(self._next - first, stop - first)), stop]:
            samples = [items[self._next - first : piece_stop - first] for items in input_items]
            try:
                found = self._synchronizer.push(samples)
            except Exception as error:
                self.failed(error)
                self._begin(stop)
                return
            self._next = piece_stop
            self._found += found
            for frame in found:
                self._count(frame)
            if piece_stop < stop:
                self.counters.gaps += 1
                self.warn_once("gap", f"samples were lost before item {piece_stop}: the radio's time goes on elsewhere")
                incomplete = self._synchronizer.interrupt()
                if incomplete:
                    self.counters.incomplete_frames += incomplete
                    self.warn_once("incomplete", "a frame was given up, its end is missing")
        if self._synchronizer.invalid_samples:
            self.counters.invalid_samples += self._synchronizer.invalid_samples
            self._synchronizer.invalid_samples = 0
            self.warn_once("invalid", "samples that are NaN or Inf are taken as 0")

    def _count(self, frame: FoundFrame) -> None:
        where = f"in the frame that begins at item {self._origin + frame.start}"
        if frame.overlapping:
            self.counters.overlapping_frames += 1
            self.warn_once("overlap", f"frames overlap {where}: two transmitters at once?")
        if not frame.faulty:
            return
        for antenna in np.flatnonzero(frame.dead):
            self.counters.dead_antennas[antenna] += 1
            self.warn_once("dead", f"antenna {antenna} receives nothing {where}", antenna)
        for antenna in np.flatnonzero(frame.saturated):
            self.counters.saturated_antennas[antenna] += 1
            self.warn_once("saturated", f"antenna {antenna} is saturated {where}: reduce its gain", antenna)

    def _give_out(self, output_items: list[NDArray], produced: int) -> int:
        """Write windows from item `produced` on, as many as there is room for. Returns how many items are used then."""
        room = len(output_items[0])
        while self._found and produced < room:
            frame = self._found[0]
            if not self._given_out:
                self.add_item_tag(0, self.nitems_written(0) + produced, FRAME_KEY, self._describe(frame))
                self.counters.frames += 1
            count = min(self._frame_format.num_symbols - self._given_out, room - produced)
            windows = frame.windows[self._given_out : self._given_out + count]
            for antenna, items in enumerate(output_items):
                items[produced : produced + count] = windows[:, antenna]
            produced += count
            self._given_out += count
            if self._given_out == self._frame_format.num_symbols:
                self._found.popleft()
                self._given_out = 0
        return produced

    def _describe(self, frame: FoundFrame) -> Any:
        sample = max(0, self._origin + frame.start)
        values = (self.counters.frames, sample, frame.carrier_offset, frame.metric)
        return _gnuradio.extend_dict(pmt.make_dict(), DESCRIPTION, values)

    # The radio's time

    def _find_gaps(self, start: int, stop: int) -> set[int]:
        """Items before which samples were lost, among those from `start` to `stop` of the buffers."""
        gaps = set()
        for port in range(self._num_rx):
            tags = [
                (tag.offset, order, tag.value)
                for order, key in enumerate((TIME_KEY, RATE_KEY))  # the time before an item has passed at the old rate
                for tag in self.get_tags_in_window(port, start, stop, key)
            ]
            for item, order, value in sorted(tags, key=lambda entry: entry[:2]):
                try:
                    if order:
                        self._rate = _parse_rate(value)
                    elif self._is_gap(port, item, *_parse_time(value)):
                        gaps.add(item)
                except ValueError as error:
                    self.counters.rejected_tags += 1
                    self.warn_once("tag", f"tag at item {item} of input {port} ignored: {error}", str(error))
        return gaps

    def _is_gap(self, port: int, item: int, seconds: int, fraction: float) -> bool:
        before = self._clocks.get(port)
        self._clocks[port] = item, seconds, fraction
        if before is None:
            return False
        passed = (seconds - before[1] + (fraction - before[2])) * self._rate
        items = item - before[0]
        decimation, self._decimations[port] = self._decimations.get(port, 1), round(passed / items) if items else 1
        # behind a decimator, which passes tags on as they are, the same whole number of samples goes on for each item
        usual = decimation if decimation == self._decimations[port] and 1 < decimation <= MAX_DECIMATION else 1
        return abs(passed - usual * items) > 0.5 * usual

    def end(self) -> None:
        """Called when the flowgraph has ended."""
        self.counters.cut_frames += self._synchronizer.interrupt()


def _parse_time(value: Any) -> tuple[int, float]:
    """Seconds and their fraction of the value of a tag `rx_time`.

    Raises:
        ValueError: it is malformed.
    """
    if value is not None and pmt.is_tuple(value) and pmt.length(value) == 2:
        seconds, fraction = (_gnuradio.plain(pmt.tuple_ref(value, place)) for place in range(2))
        if isinstance(seconds, int) and isinstance(fraction, float) and 0 <= fraction <= 1:
            return seconds, fraction
    raise ValueError("rx_time is no tuple of whole seconds and a fraction")


def _parse_rate(value: Any) -> float:
    """Samples per second of the value of a tag `rx_rate`.

    Raises:
        ValueError: it is malformed.
    """
    rate = _gnuradio.plain(value)
    if isinstance(rate, float | int) and rate > 0 and math.isfinite(rate):
        return rate
    raise ValueError("rx_rate is no number above 0")
