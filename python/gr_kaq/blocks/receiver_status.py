# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a receiver stands, in a line; and what is wrong if nothing comes out of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pmt

from ..frames.frame_format import FrameFormat
from .access import _gnuradio
from .base import KaqBlock
from .counters import Counters, counter
from .ticker import Ticker

__all__ = ["FEWEST_FRAMES", "receiver_status", "trouble"]

FEWEST_FRAMES = 20
"""So many frames in a row that are all wrong, at an SNR at which some would be right, are no bad luck."""

ENOUGH_SAMPLES = 200_000
"""Of each antenna: some frame is among them if there is a transmitter."""

CLEAR_SNR_DB = {"qpsk": 12.0, "16qam": 17.0, "64qam": 23.0, "256qam": 30.0}
"""Above it some frames are right."""

SILENCE_S = 3.0

COUNTERS = {  # of each part of a receiver, known by one that only it has
    "overlapping_frames": (),
    "interfered_frames": ("interfered_frames", "snr_db"),
    "block_errors": ("block_errors", "frames"),
}


@dataclass
class StatusCounters(Counters):
    """What a `receiver_status` counts."""

    rejected_messages: int = counter("messages", "Messages that are no dict.")


def trouble(
    frame: FrameFormat, samples: int | None, frames: int, block_errors: int, interfered_frames: int, best_snr_db: float
) -> str:
    """What keeps a receiver from receiving, and what to check, without figures that change; empty if nothing does.

    Args:
        frame: that the receiver expects.
        samples: of each antenna, so far; None if how many is not known.
        frames, block_errors: of the decoder.
        interfered_frames: of the channel estimator.
        best_snr_db: the highest that it has said, as fading makes one alone look bad.
    """
    if samples == 0:
        return "no samples: does the transmitter run, and is its address or device the one given here?"
    if not frames:
        if samples is not None and samples < ENOUGH_SAMPLES:
            return ""
        return (
            f"samples, but no frame in them: does the transmitter send {frame.num_tx} streams with {frame.fft_size} "
            "carriers (FFT size)? Are frequency, rate and gain right?"
        )
    if frames < FEWEST_FRAMES or block_errors < frames:
        return ""
    if interfered_frames > frames // 2:
        return (
            f"every CRC is wrong, and the training symbols do not fit {frame.num_tx} streams: how many does the "
            "transmitter send? If as many, something else is on the air"
        )
    if best_snr_db > CLEAR_SNR_DB[frame.constellation_name]:
        return (
            f"every CRC is wrong, though the SNR is good: is {frame.constellation_name} the transmitter's "
            f"constellation, and {frame.num_tx} the number of its streams?"
        )
    return f"every CRC is wrong: the SNR is too low for {frame.constellation_name}"


class receiver_status(KaqBlock[StatusCounters]):
    """Prints where a `mimo_receiver` stands, a line every few seconds, and once what is wrong if nothing comes out.

    Messages:
        stats (in): of the receiver's port `stats`.

    Args:
        num_tx, fft_size, constellation: as the receiver's; the hints name them.
        interval_s: seconds between two lines.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, num_tx: int, fft_size: int = 64, constellation: str = "16qam", *, interval_s: float = 1.0):
        self._frame = FrameFormat(num_tx, fft_size, constellation)
        if not 0 < interval_s <= 3600:
            raise ValueError(f"interval_s is {interval_s}; a number above 0, at most 3600, expected")
        super().__init__("KAQ receiver status", [], [])
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._said: set[str] = set()
        self._ticker = Ticker(self._print, interval_s)
        self.message_port_register_in(pmt.intern("stats"))
        self.set_msg_handler(pmt.intern("stats"), self.handle_stats)

    def begin(self) -> None:
        with self._lock:
            self._known = {}
            self._said.clear()
        self._start = time.monotonic()
        self._ticker.begin()

    def end(self) -> None:
        self._ticker.end()

    def handle_stats(self, message: Any) -> None:
        """A message on port `stats`."""
        if message is None or not pmt.is_dict(message):
            self.counters.rejected_messages += 1
            self.warn_once("stats", "message rejected: a dict expected")
            return
        names = [name for part in COUNTERS.items() for name in (part[0], *part[1])]
        entries = _gnuradio.plain_entries(message, names)
        values = {k: v for k, v in entries.items() if isinstance(v, int | float) and math.isfinite(v)}
        with self._lock:
            for part, own in COUNTERS.items():
                if part in values:
                    self._known["samples"] = None  # there are some
                    self._known |= {name: values[name] for name in own if name in values}
            if "snr_db" in self._known:
                best = self._known.get("best_snr_db", -math.inf)
                self._known["best_snr_db"] = max(best, self._known["snr_db"])

    def status(self, seconds: float) -> list[str]:
        """What is said now: the line, and a hint if there is a new one.

        Args:
            seconds: since the start.
        """
        with self._lock:
            known = dict(self._known)
        frames, errors, hint = int(known.get("frames", 0)), int(known.get("block_errors", 0)), ""
        if known or seconds >= SILENCE_S:
            hint = self._hint(known, seconds)
        snr = f", SNR {known['snr_db']:.1f} dB" if frames and "snr_db" in known else ""
        lines = [f"{seconds:.0f} s: {frames} frames, {errors} block errors{snr}"]
        if hint and hint not in self._said:
            self._said.add(hint)
            lines.append(hint)
        return lines

    def _hint(self, known: Mapping[str, Any], seconds: float) -> str:
        if known and not known.get("frames") and seconds < SILENCE_S:
            return ""
        samples = known["samples"] if known else 0
        names = ("frames", "block_errors", "interfered_frames", "best_snr_db")
        frames, errors, interfered, snr_db = (known.get(name, 0) for name in names)
        return trouble(self._frame, samples, int(frames), int(errors), int(interfered), float(snr_db))

    def _print(self) -> None:
        print("\n".join(self.status(time.monotonic() - self._start)), flush=True)
