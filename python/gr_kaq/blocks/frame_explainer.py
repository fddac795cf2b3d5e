# SPDX-License-Identifier: GPL-3.0-or-later
"""Says why a running receiver loses frames."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..detection.detectors import load_detector
from ..diagnosis.causes import Diagnosis, Diagnostician
from ..diagnosis.frame_reading import FrameReader
from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from . import _gnuradio
from .base import MAX_ANTENNAS, KaqBlock, check_integer, ports
from .counters import Counters, counter

__all__ = ["frame_explainer"]

KEPT = 1 << 19  # samples of each antenna; a receiver that is busy says late which frame is lost
PAUSE_S = 0.2  # between two explanations, each of which takes some tens of milliseconds of Python


@dataclass
class ExplainerCounters(Counters):
    """What a `frame_explainer` counts."""

    explained_frames: int = counter("frames", "Lost frames of which the likely cause was found and published.")
    skipped_frames: int = counter(
        "frames", "Lost frames that came too soon after another one, or whose samples are gone."
    )
    rejected_messages: int = counter("messages", "Messages on port `lost` that are no dict with a `sample`.")


class frame_explainer(KaqBlock[ExplainerCounters]):
    """Gets what a `mimo_receiver` gets, and finds the likely cause for frames that it lost, some five a second at most.

    Each cause is logged once, with what to change. docs/guide/lost-frames.md has the causes.

    Inputs: num_rx complex ports: the samples that go to the receiver.

    Messages:
        lost (in): dict with `sample`, from the port of the same name of the receiver.
        explanations (out): dict with `sample`, `cause` and `detail`.
        stats (out): dict with the value of every counter, about every stats_interval_s while samples flow, and at the
            end.

    Args:
        num_rx, num_tx, fft_size, constellation, detector, num_symbols: as the receiver's.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range, or a model does not exist or does not fit.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        detector: str | Path = "auto",
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        frame = FrameFormat(num_tx, fft_size, constellation, num_symbols)
        own = load_detector(detector, constellation=constellation)
        own.at_size(num_rx, num_tx)
        self._diagnostician = Diagnostician(FrameReader(frame, own), num_rx)
        self._reach = self._diagnostician.reach
        super().__init__("KAQ frame explainer", ports(np.complex64, 1, num_rx), [])
        self._samples = np.zeros((num_rx, KEPT), np.complex64)
        self._clear()
        self.message_port_register_in(pmt.intern("lost"))
        self.set_msg_handler(pmt.intern("lost"), self.handle_lost)
        self.message_port_register_out(pmt.intern("explanations"))
        self.announce_stats(stats_interval_s)

    def _clear(self) -> None:
        self._num_samples = 0  # that came
        self._lost: int | None = None  # the first sample of the frame that is next
        self._idle = threading.Event()  # whether the thread waits for work
        self._idle.set()
        self._work: queue.SimpleQueue[tuple[int, NDArray[np.complex64], int] | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        self._clear()
        self._thread = threading.Thread(target=self._explain, name="frame explainer", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Called when the flowgraph has ended."""
        self._ended.set()
        self._work.put(None)
        if self._thread:
            self._thread.join()

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Keep the next samples; hand over those of a lost frame once they are there."""
        count = len(input_items[0])
        for antenna, items in enumerate(input_items):
            place = self._num_samples % KEPT
            head = min(count, KEPT - place)
            self._samples[antenna, place : place + head] = items[:head]
            self._samples[antenna, : count - head] = items[head:count]
        self._num_samples += count
        self._hand_over()
        self.publish_stats()
        return count

    def _hand_over(self) -> None:
        lost = self._lost
        if lost is None:
            return
        before, after = self._reach
        first = max(0, lost - before)
        if first < self._num_samples - KEPT:
            self.counters.skipped_frames += 1
        elif lost + after > self._num_samples:
            return
        else:
            places = np.arange(first, lost + after) % KEPT
            self._idle.clear()
            self._work.put((lost, self._samples[:, places], lost - first))
        self._lost = None

    def handle_lost(self, message: Any) -> None:
        """A message on port `lost`."""

        def take() -> None:
            sample = _gnuradio.plain_entries(message, ("sample",)).get("sample")
            if not isinstance(sample, int) or isinstance(sample, bool) or not 0 <= sample < 1 << 63:
                raise ValueError("`sample` is no whole number; the item expected at which the lost frame began")
            if self._lost is not None or not self._idle.is_set():
                self.counters.skipped_frames += 1
            else:
                self._lost = sample
                self._hand_over()

        self.counters.rejected_messages += self.refused("message", "nothing", take)

    def _explain(self) -> None:
        """The thread's work: it must not keep the samples from flowing."""
        while (work := self._work.get()) is not None:
            sample, samples, start = work
            try:
                diagnosis = self._diagnostician.explain(samples, start)
                if diagnosis:
                    self._publish(sample, diagnosis)
            except Exception as error:
                self.failed(error)
            self._ended.wait(PAUSE_S)
            self._idle.set()

    def _publish(self, sample: int, diagnosis: Diagnosis) -> None:
        self.counters.explained_frames += 1
        self.warn_once("lost frames", f"frames are lost: {diagnosis}", str(diagnosis.cause))
        self.publish("explanations", {"sample": sample, "cause": str(diagnosis.cause), "detail": diagnosis.detail})
