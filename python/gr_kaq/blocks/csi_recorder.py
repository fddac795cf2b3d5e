# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects what a channel_estimator says of each frame."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..frames.frame_format import DATA_SYMBOLS, FrameFormat
from ..signals.csi import InvalidCsi
from .access import _gnuradio
from .base import MAX_ANTENNAS, KaqBlock, check_integer, ports
from .counters import Counters, counter, reading
from .csi_pmt import CSI_KEY, parse_channel

__all__ = ["MIDDLE", "RecordedFrame", "csi_recorder"]

MIDDLE = len(DATA_SYMBOLS) // 2
"""Which data symbol's channel is recorded: the middle one, between the training symbols."""

FRAME_KEY, CHANNEL_KEY = pmt.intern("frame"), pmt.intern(CSI_KEY)
FRAME_ENTRIES = ("seq", "sample", "carrier_offset", "noise_var", "snr", "delay_spread", "doppler")


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """A frame's channel.

    Attributes:
        h: complex64 (num_data, num_rx, num_tx), on the data carriers of the middle data symbol.
        entries: the numbers of the tag `frame`, see docs/guide/receiver.md; NaN for one that is missing.
    """

    h: NDArray[np.complex64]
    entries: dict[str, float]


@dataclass
class RecorderCounters(Counters):
    """What a `csi_recorder` counts."""

    rejected_frames: int = counter("frames", "Frames that were left out because their estimate is malformed.")


class csi_recorder(KaqBlock[RecorderCounters]):
    """Keeps the channel of each frame in memory, as the tags of a `channel_estimator` say it.

    Inputs: one complex port, output 0 of a `channel_estimator`; an item is a vector of data_per_stream values, a frame.

    Tags, on input 0, at each item: `frame` (dict) and `mimo_channel`.

    Args:
        num_rx, num_tx, fft_size: as the estimator's.
        max_frames: how many are kept; later ones are left out. 0: all.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, num_rx: int, num_tx: int, fft_size: int = 64, max_frames: int = 0):
        frame = FrameFormat(num_tx, fft_size)
        self._num_data = frame.num_data
        self._shape = (frame.data_per_stream, check_integer("num_rx", num_rx, 1, MAX_ANTENNAS), num_tx)
        self._max_frames = check_integer("max_frames", max_frames, 0, 2**31)
        super().__init__("KAQ CSI recorder", ports(np.complex64, frame.data_per_stream, 1), [])
        self._lock = threading.Lock()  # `frames` is called from other threads
        self._frames: list[RecordedFrame] = []

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Look at the tags of the next items."""
        num_items = len(input_items[0])
        entries: dict[int, Any] = {}
        channels: dict[int, Any] = {}
        for tag in self.get_tags_in_window(0, 0, num_items):
            if tag.key is not None:
                for key, values in ((FRAME_KEY, entries), (CHANNEL_KEY, channels)):
                    if pmt.eq(tag.key, key):
                        values[tag.offset] = tag.value
        for item in sorted(channels):
            if item in entries:
                self._record(channels[item], entries[item])
        return num_items

    def _record(self, channel: Any, entries: Any) -> None:
        if self._max_frames and len(self._frames) >= self._max_frames:
            return
        try:
            h = parse_channel(channel, self._shape).h
        except InvalidCsi as error:
            self.counters.rejected_frames += 1
            self.warn_once("estimate", f"a frame is left out: {error}", error.kind)
            return
        with self._lock:
            symbols = h.reshape(len(DATA_SYMBOLS), self._num_data, *self._shape[1:])
            self._frames.append(RecordedFrame(symbols[MIDDLE].copy(), _numbers(entries)))

    def frames(self) -> list[RecordedFrame]:
        """What has been recorded so far."""
        with self._lock:
            return list(self._frames)

    @reading("frames")
    def num_frames(self) -> int:
        """How many frames have been recorded so far."""
        return len(self._frames)


def _numbers(value: Any) -> dict[str, float]:
    """The entries of a tag `frame` that are recorded."""
    try:
        entries = _gnuradio.plain_entries(value, FRAME_ENTRIES)
    except ValueError:  # it is no dict
        entries = {}
    numbers = {key: entries.get(key) for key in FRAME_ENTRIES}
    return {key: float(value) if isinstance(value, int | float) else math.nan for key, value in numbers.items()}
