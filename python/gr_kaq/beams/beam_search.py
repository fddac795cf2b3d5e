# SPDX-License-Identifier: GPL-3.0-or-later
"""A search whose pilots come one at a time, and what follows it: tracking, and a new search when the user is lost."""

from __future__ import annotations

import cmath

import numpy as np
from numpy.typing import NDArray

from .planar_array import Beam, PlanarArray
from .policies import DEFAULT, POLICIES
from .statistics import PilotStatistics
from .tracking import Tracker

__all__ = ["MAX_BUDGET", "BeamSearch"]

MAX_BUDGET = 1 << 20


class BeamSearch:
    """A policy as three calls; whatever the rewards are, it goes on.

        while not search.done:
            beam = search.next_beam()
            search.observe(reward of a pilot in this beam, or None)
        beam = search.recommend()

    A reward is |sqrt(snr) c + n|^2 - 1, n ~ CN(0, 1): power in units of the noise, without bias; for a coherent policy,
    the complex amplitude. None stands for a pilot that was not heard at all, and counts as no power. NaN, infinity and
    what is no number are counted, and the same beam is asked for again: they change nothing.

    With `tracking`, a search never ends: rounds of three pilots follow the user, see `Tracker`, and when the user is
    lost, the search begins anew. Between two rounds the beam in use stays for `hold` rewards, so that something else
    than pilots can be received.

    Args:
        array: whose beams.
        policy: of `POLICIES`.
        budget: pilots of a search, at least what the policy needs on this array, at most 2^20.
        seed: of the policy's random choices.
        tracking: whether to follow the user afterwards.
        hold: rewards between two rounds of tracking, at least 0.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        array: PlanarArray,
        policy: str = DEFAULT,
        budget: int = 64,
        *,
        seed: int = 0,
        tracking: bool = False,
        hold: int = 0,
    ):
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; one of {', '.join(POLICIES)} expected")
        self._policy = POLICIES[policy]
        least = self._policy.least_budget(array)
        if not least <= budget <= MAX_BUDGET:
            size = "x".join(str(count) for count in array.shape)
            raise ValueError(f"budget is {budget}; {policy} needs {least} to {MAX_BUDGET} pilots on {size} elements")
        if hold < 0:
            raise ValueError(f"hold is {hold}; at least 0 expected")
        self._array, self._budget, self._hold = array, int(budget), int(hold)
        self._tracking = tracking and not self._policy.coherent
        if tracking and not self._tracking:
            raise ValueError(f"tracking is on; {policy} has complex rewards, and tracking needs powers")
        self._rng = np.random.default_rng(seed)
        self.searches = 0
        """Begun so far: more than one where the user was lost."""
        self.missing = 0
        """Pilots that were not heard."""
        self.invalid = 0
        """Rewards that were NaN, infinite or no number."""
        self._found: Beam | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new search; the beam recommended so far stays until it ends."""
        self.searches += 1
        self._tracker: Tracker | None = None
        self._search = self._policy.search(self._array, self._budget, self._rng)
        self._measured = PilotStatistics(self._array, coherent=self._policy.coherent)
        self._begin_round(next(self._search))

    @property
    def done(self) -> bool:
        """Whether there is nothing more to probe."""
        return self._tracker is None and not len(self._beams)

    @property
    def coherent(self) -> bool:
        """Whether rewards are complex amplitudes."""
        return self._policy.coherent

    @property
    def searching(self) -> bool:
        """Whether a search is on, and no tracking."""
        return self._tracker is None and len(self._beams) > 0

    def next_beam(self) -> Beam:
        """The beam of the next pilot; the same until its reward has been observed. When done: the one recommended."""
        if len(self._rewards) < len(self._beams):
            return Beam(*(int(value) for value in self._beams[len(self._rewards)]))
        return self.recommend()

    def observe(self, reward: complex | None) -> None:
        """Take the reward of a pilot in `next_beam()`; None: it was not heard."""
        if self.done:
            return
        if reward is None:
            self.missing += 1
            reward = 0.0
        try:
            value = complex(reward)
        except (TypeError, ValueError, OverflowError):
            value = complex("nan")
        if not cmath.isfinite(value) or abs(value) > 1e30 or (value.imag and not self._policy.coherent):
            self.invalid += 1
            return
        self._rewards.append(value if self._policy.coherent else value.real)
        if len(self._rewards) == len(self._beams):
            self._end_round()

    def recommend(self) -> Beam:
        """The beam to use, as far as is known: of a search that has not ended, the narrow beam with the best mean.

        Before any reward of a narrow beam, that of the search before, or beam (0, 0).
        """
        if self._tracker is not None:
            return self._tracker.beam
        if self.searching and np.isfinite(self._measured.means()).any():
            return Beam(*self._measured.best())
        return self._found or Beam(0, 0)

    def _begin_round(self, beams: NDArray[np.int_]) -> None:
        self._beams = beams
        self._rewards: list[complex] = []

    def _end_round(self) -> None:
        rewards = np.array(self._rewards)
        if self._tracker is not None:
            self._tracker.observe(rewards[self._hold :])
            if self._tracker.lost:
                self._found = self._tracker.beam
                self.restart()
            else:
                self._begin_tracking_round()
            return
        self._measured.add(self._beams, rewards)
        try:
            self._begin_round(self._search.send(rewards))
        except StopIteration as stop:
            self._found = Beam(*stop.value)
            self._begin_round(self._beams[:0])
            if self._tracking:
                self._tracker = Tracker(self._array, self._found)
                self._begin_tracking_round()

    def _begin_tracking_round(self) -> None:
        assert self._tracker is not None
        self._begin_round(np.array([self._tracker.beam] * self._hold + self._tracker.next_beams()))
