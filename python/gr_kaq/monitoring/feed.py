# SPDX-License-Identifier: GPL-3.0-or-later
"""What `receiver_publisher` publishes over ZMQ, as one state: counters, their history, and what displays show.

A message is a PMT dict: the counters of one part of a receiver, as its port `stats` has them; or what displays show,
with the keys `num_rx`, `num_tx`, `symbols`, `received` (c32vectors), `channel_db` (f32vector), and `offered_model` and
`offered_estimator`, names in lines that may be chosen. Each has its `number`.
"""

from __future__ import annotations

import collections
import json
import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from ..testbed.zmq_frames import FrameError, decode_pmt

__all__ = ["Feed", "replay"]

MAX_MESSAGE_BYTES = 8 << 20
MOST_POINTS = 1500
MOST_HISTORY = 600
MOST_NAMES = 100
PARTS = {  # of a receiver, each known by a counter that only it has
    "overlapping_frames": "synchronizer",
    "interfered_frames": "estimator",
    "items_without_csi": "detector",
    "block_errors": "decoder",
}
DISPLAYS = ("symbols", "received", "channel_db")
CHOICES = ("model", "estimator")


class Feed:
    """The state of a receiver, kept up to date by a thread of its own.

    Args:
        address: of the publisher.
        record: a file that counters are written to, a line of JSON each; `replay` reads it.
    """

    def __init__(self, address: str, record: Path | None = None):
        self._lock = threading.Lock()
        self._parts: dict[str, dict[str, Any]] = {}
        self._displays: dict[str, Any] = {}
        self._history: collections.deque[dict[str, Any]] = collections.deque(maxlen=MOST_HISTORY)
        self._counted = (0, 0)  # frames and block errors at the last point of the history
        self._offered: dict[str, list[str]] = {}
        self._rejected = self._dropped = self._number = 0
        self._last = 0.0
        self._file = record.open("w", encoding="utf-8") if record else None
        self._ended = threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XSUB)  # a SUB socket that may speak: choices
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ValueError(f"{address!r}: {error}; an address such as tcp://127.0.0.1:5580 expected") from None
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # for the thread that has the socket
        self._waiting.put(b"\1")  # subscribes to everything
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and close sockets and file."""
        self._ended.set()
        self._thread.join()
        self._context.destroy(linger=0)
        if self._file:
            self._file.close()

    def state(self) -> dict[str, Any]:
        """What the page shows; JSON types only, no NaN."""
        with self._lock:
            return {
                "age": time.time() - self._last if self._last else None,
                "rejected": self._rejected,
                "dropped": self._dropped,
                "offered": dict(self._offered),
                "parts": {name: dict(part) for name, part in self._parts.items()},
                "history": list(self._history),
                "displays": dict(self._displays),
            }

    def choose(self, what: str, name: str) -> None:
        """Ask the receiver for another detector (``"model"``) or estimator (``"estimator"``).

        Raises:
            ValueError: it does not offer that.
        """
        with self._lock:
            offered = self._offered.get(what, [])
        if name not in offered:
            raise ValueError(f"{name!r} is none of those that are offered: {', '.join(offered) or 'none'}")
        self._waiting.put(f"{what}={name}".encode())

    def take_stats(self, values: dict[str, Any], when: float) -> None:
        """Counters of one part of the receiver."""
        part = next((name for key, name in PARTS.items() if key in values), "other")
        with self._lock:
            self._parts[part] = {str(key): _plain(value) for key, value in sorted(values.items())}
            self._last = when
            if part == "decoder":
                self._add_point(when)

    def _add_point(self, when: float) -> None:
        decoder, estimator = self._parts["decoder"], self._parts.get("estimator", {})
        frames, errors = decoder.get("frames", 0), decoder.get("block_errors", 0)
        if not isinstance(frames, int) or not isinstance(errors, int):
            return
        new = frames - self._counted[0]
        rate = (errors - self._counted[1]) / new if new > 0 else None
        self._counted = (frames, errors)
        self._history.append({"time": when, "snr_db": estimator.get("snr_db"), "block_error_rate": rate})

    def _run(self) -> None:
        while not self._ended.is_set():
            while not self._waiting.empty():
                self._socket.send(self._waiting.get())
            if not self._socket.poll(200):
                continue
            try:
                self._take(decode_pmt(self._socket.recv()))
            except (FrameError, ValueError):
                with self._lock:
                    self._rejected += 1

    def _take(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise ValueError("no dict")
        self._count(values.pop("number", None))
        if "symbols" in values:
            shown: dict[str, Any] = {name: _points(values.get(name)) for name in DISPLAYS}
            shown |= {name: _plain(values.get(name)) for name in ("num_rx", "num_tx")}
            offered = {what: str(values.get(f"offered_{what}", "")).split("\n")[:MOST_NAMES] for what in CHOICES}
            with self._lock:
                self._displays = shown
                self._offered = {what: names for what, names in offered.items() if names != [""]}
            return
        when = time.time()
        self.take_stats(values, when)
        if self._file:
            self._file.write(json.dumps({"time": when, "stats": {str(k): _plain(v) for k, v in values.items()}}) + "\n")
            self._file.flush()

    def _count(self, number: Any) -> None:
        """What is missing before a message, unless the publisher began anew."""
        if not isinstance(number, int):
            return
        with self._lock:
            if 0 < self._number < number:
                self._dropped += number - self._number - 1
            self._number = number


def replay(path: Path, feed: Any) -> Iterator[None]:
    """Give a recording's counters to a feed's `take_stats`, as fast as they came.

    Raises:
        ValueError: a line is none that a feed writes; the message names the file and the line.
    """
    before = None
    for number, line in enumerate(_lines(path), 1):
        try:
            entry = json.loads(line)
            when, values = float(entry["time"]), dict(entry["stats"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}: line {number} is none that `kaq monitor --record` writes") from None
        if before is not None:
            time.sleep(min(max(when - before, 0.0), 2.0))
        before = when
        feed.take_stats(values, time.time())
        yield


def _lines(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8") as file:
        yield from file


def _points(values: Any) -> list[float]:
    """The first ones, real and imaginary part in turn; what is not finite is 0."""
    if not isinstance(values, np.ndarray) or values.dtype not in (np.complex64, np.float32):
        raise ValueError("no display")
    flat = values[:MOST_POINTS].view(np.float32)
    return [round(float(value), 3) for value in np.nan_to_num(flat, posinf=0, neginf=0)]


def _plain(value: Any) -> Any:
    """For JSON: numbers that are finite, text, and lists of these; else None."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in list(value)[:64]]
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else None
