# SPDX-License-Identifier: GPL-3.0-or-later
"""Which traffic class is next: the most urgent one, but each has its minimum share, and none more than its rate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..frames.frame_header import NUM_CLASSES

__all__ = ["Scheduler", "TokenBucket", "TrafficClass"]

MAX_CREDIT = 1 << 16  # bytes that a class may be ahead of its share, or behind


@dataclass(frozen=True)
class TrafficClass:
    """What a class is promised.

    Attributes:
        min_share: of the bytes that are sent, while it has something to send; 0 to 1.
        rate: bytes per second that it may send at most, repetitions apart; None: as many as it can.
        burst: bytes that it may send at once then.

    Raises:
        ValueError: an argument is out of range.
    """

    min_share: float = 0.0
    rate: float | None = None
    burst: int = 1 << 14

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share is {self.min_share}; 0 to 1 expected")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ValueError(f"rate is {self.rate}; a number above 0, or None, expected")
        if self.burst < 1:
            raise ValueError(f"burst is {self.burst}; at least 1 expected")


class TokenBucket:
    """Lets through `rate` bytes per second in the long run, and `burst` at once.

    What is taken may exceed what is there by one block; the debt is paid before the next one.

    Args:
        rate: bytes per second.
        burst: bytes.
    """

    def __init__(self, rate: float, burst: int):
        self._rate, self._burst = rate, burst
        self._tokens, self._filled_at = float(burst), float("-inf")

    def open(self, now: float) -> bool:
        """Whether something may be taken."""
        if self._filled_at > float("-inf"):
            self._tokens = min(self._burst, self._tokens + self._rate * max(0.0, now - self._filled_at))
        self._filled_at = max(now, self._filled_at)
        return self._tokens > 0

    def take(self, num_bytes: int) -> None:
        """So many bytes were sent."""
        self._tokens -= num_bytes


class Scheduler:
    """Chooses among the classes that have something to send.

    A class with a minimum share earns credit whenever bytes are sent while it waits, and pays for what it sends. One
    with credit goes first; else the lowest number does.

    Args:
        classes: at most 4, the most urgent one first.

    Raises:
        ValueError: there are none, or too many; the shares exceed 1.
    """

    def __init__(self, classes: Sequence[TrafficClass]):
        if not 1 <= len(classes) <= NUM_CLASSES:
            raise ValueError(f"{len(classes)} traffic classes; 1 to {NUM_CLASSES} expected")
        if sum(one.min_share for one in classes) > 1:
            raise ValueError("the minimum shares exceed 1 in sum")
        self._shares = [one.min_share for one in classes]
        self._buckets = [None if one.rate is None else TokenBucket(one.rate, one.burst) for one in classes]
        self._credits = [0.0] * len(classes)

    def allowed(self, traffic_class: int, now: float) -> bool:
        """Whether the rate of a class lets it send."""
        bucket = self._buckets[traffic_class]
        return bucket is None or bucket.open(now)

    def choose(self, candidates: Collection[int]) -> int:
        """The one of these classes that is next."""
        owed = [one for one in candidates if self._credits[one] > 0]
        return max(owed, key=lambda one: (self._credits[one], -one)) if owed else min(candidates)

    def begun(self, traffic_class: int, num_bytes: int) -> None:
        """Bytes of a class are sent for the first time."""
        bucket = self._buckets[traffic_class]
        if bucket is not None:
            bucket.take(num_bytes)

    def sent(self, traffic_class: int, num_bytes: int, waiting: Collection[int]) -> None:
        """Bytes of a class were sent while these classes had something to send, it included."""
        for one, share in enumerate(self._shares):
            earned = share * num_bytes if one in waiting else 0.0
            paid = num_bytes if one == traffic_class else 0
            self._credits[one] = min(MAX_CREDIT, max(-MAX_CREDIT, self._credits[one] + earned - paid))
