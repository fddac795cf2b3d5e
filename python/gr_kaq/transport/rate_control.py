# SPDX-License-Identifier: GPL-3.0-or-later
"""How much an application should send: what arrives, a little more while nothing waits, less once it does."""

from __future__ import annotations

__all__ = ["RateControl"]

INTERVAL_S = 0.1
SMOOTHING = 0.3
GROWTH, CUT = 1.05, 0.85


class RateControl:
    """A rate for a source that can follow one.

    Every 100 ms: if PDUs wait for longer than is good, 85 % of what arrived lately; else 5 % more than before, as long
    as the source sends about as much as it may.

    Args:
        low, high: the least and the greatest rate, in bytes per second.
        target_wait_s: how long the oldest PDU may wait.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, low: float, high: float, target_wait_s: float):
        if not 0 < low <= high < float("inf"):
            raise ValueError(f"low is {low} and high {high}; 0 < low <= high expected")
        if not 0 < target_wait_s < float("inf"):
            raise ValueError(f"target_wait_s is {target_wait_s}; a number above 0 expected")
        self._low, self._high, self._target_wait_s = low, high, target_wait_s
        self._arrived = 0.0
        self._next: float | None = None
        self._before = 0
        self.rate = low
        """Bytes per second."""

    def update(self, now: float, delivered_bytes: int, wait_s: float) -> float:
        """The rate from now on.

        Args:
            now: the time.
            delivered_bytes: that have arrived since the start.
            wait_s: how long the oldest PDU has waited.
        """
        if self._next is None:
            self._next, self._before = now + INTERVAL_S, delivered_bytes
        if now < self._next:
            return self.rate
        lately = (delivered_bytes - self._before) / (now - self._next + INTERVAL_S)
        self._arrived += SMOOTHING * (lately - self._arrived)
        self._next, self._before = now + INTERVAL_S, delivered_bytes
        if wait_s > self._target_wait_s:
            wanted = CUT * min(self.rate, max(self._arrived, lately))
        else:
            wanted = self.rate * (GROWTH if lately > self.rate / 2 else 1.0)
        self.rate = min(self._high, max(self._low, wanted))
        return self.rate
