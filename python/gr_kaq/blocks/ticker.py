# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that calls a block again and again while its flowgraph runs: blocks without samples have no clock."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Ticker"]


class Ticker:
    """Calls `tick` about every `interval_s` seconds, from `begin` to `end`.

    Args:
        tick: must not raise.
        interval_s: seconds.
    """

    def __init__(self, tick: Callable[[], None], interval_s: float):
        self._tick, self._interval_s = tick, interval_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Called when the flowgraph starts."""
        self.end()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._ended,), daemon=True)
        self._thread.start()

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(self._interval_s):
            self._tick()

    def end(self) -> None:
        """Called when it has ended."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
