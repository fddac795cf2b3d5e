# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that choose MCS and rank of the next transport block from reports and acknowledgements.

    policy.observe_report(frame, snrs_db)   effective SNRs of all ranks in a frame that was received, or is forecast
    policy.observe_ack(mcs, rank, ok)       of each first transmission, in order; a frame that nobody answers is not ok
    policy.choose(frame)                    (mcs, rank) for this frame

Frames are counted by their sender. All policies compare ranks by the goodput that block error curves promise. A report
of a frame that is over is believed as far as those before have told what came as much later (`regression.Regression`).
So a loop that is too slow for the channel falls back to its long-term statistics. The outer loop (Pedersen et al.,
"Frequency domain scheduling for OFDMA with limited and noisy channel feedback", VTC 2007) adds an offset that goes up
by step target / (1 - target) with each acknowledgement and down by a step without. So the share of blocks that fail
is the target, whatever the reports are worth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict, deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..frames.modulation_coding import MCS_TABLE
from .choices import Choices
from .regression import MEMORY, Regression

__all__ = ["POLICIES", "Arf", "BothLoops", "Fixed", "Goodput", "InnerLoop", "OuterLoop", "Policy", "make_policy"]

STEP_DB, SMALL_STEP_DB = 0.5, 0.2  # of an outer loop that follows the fading itself, and of one behind an inner loop
MOST_OFFSET_DB = 20.0
HISTORY = 4096  # reports that are kept, to learn what they are worth later


class Policy(ABC):
    """Chooses MCS and rank.

    Args:
        choices: what from.
    """

    name: str

    def __init__(self, choices: Choices):
        self.choices = choices

    @abstractmethod
    def choose(self, frame: int) -> tuple[int, int]:
        """MCS and rank of a new transport block in this frame."""

    def observe_report(self, frame: int, snrs_db: ArrayLike) -> None:  # noqa: B027 - some need none
        """Take effective SNRs of ranks 1 to num_tx, in dB, that hold in a frame."""

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:  # noqa: B027
        """Take how a first transmission ended."""

    def offset_db(self) -> float:
        """What acknowledgements have added to effective SNRs; 0 where they add nothing."""
        return 0.0


class Fixed(Policy):
    """Always the same.

    Args:
        choices: as for `Policy`.
        mcs, rank: what it is.

    Raises:
        ValueError: one is out of range.
    """

    name = "fixed"

    def __init__(self, choices: Choices, mcs: int, rank: int):
        super().__init__(choices)
        ranks, mcss = choices.block_bytes.shape
        if not (0 <= mcs < mcss and 1 <= rank <= ranks):
            raise ValueError(f"mcs is {mcs} and rank {rank}; 0 to {mcss - 1} and 1 to {ranks} expected")
        self._choice = mcs, rank
        self.name = f"fixed {MCS_TABLE[mcs]} x{rank}"

    def choose(self, frame: int) -> tuple[int, int]:
        """As it is."""
        return self._choice


class LongTerm(Policy):
    """What all policies that take reports know of them: their mean, and what one is worth when it is used."""

    def __init__(self, choices: Choices):
        super().__init__(choices)
        self._reports: OrderedDict[int, NDArray[np.float64]] = OrderedDict()  # newest last
        self._count = 0
        self._age = 0  # of the newest report when it was used last
        self._mean = np.zeros(choices.num_ranks)
        self._aged = Regression(choices.num_ranks)  # from reports to those that come as much later

    def observe_report(self, frame: int, snrs_db: ArrayLike) -> None:
        """Take effective SNRs; those of a frame that is known already are replaced."""
        snrs, expected = np.array(snrs_db, np.float64), self.choices.num_ranks
        if snrs.shape != (expected,) or not np.isfinite(snrs).all():
            raise ValueError(f"snrs_db is {snrs.tolist()}; {expected} finite numbers expected, one for each rank")
        self._reports[frame] = snrs
        while len(self._reports) > HISTORY:
            self._reports.popitem(last=False)
        self._count += 1
        self._mean += (snrs - self._mean) / min(self._count, MEMORY)
        before = self._reports.get(frame - self._age) if self._age else None
        if before is not None:
            self._aged.observe(before, snrs)

    def mean(self) -> NDArray[np.float64]:
        """Mean of the effective SNRs in dB, (num_ranks,)."""
        return self._mean

    def belief(self) -> NDArray[np.float64]:
        """How far the newest report was believed when it was used last, 0 to 1, (num_ranks,)."""
        return self._aged.slope() if self._age else np.ones(self.choices.num_ranks)

    def predict(self, frame: int) -> NDArray[np.float64] | None:
        """Effective SNRs in this frame; None before the first report."""
        if not self._reports:
            return None
        newest = next(reversed(self._reports))
        self._age = max(0, frame - newest)
        return self._aged.predict(self._reports[newest]) if self._age else self._reports[newest]

    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation in dB of what `predict` said last, (num_ranks,): as far as reports tell."""
        return self._aged.deviation() if self._age else np.zeros(self.choices.num_ranks)


class InnerLoop(LongTerm):
    """The best by the newest report, as far as that is still believed (ILLA)."""

    name = "illa"

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        snrs = self.predict(frame)
        return self.choices.most_robust if snrs is None else self.choices.best(snrs)


class OuterLoop(LongTerm):
    """The long-term mean of the reports, and an outer loop (OLLA)."""

    name = "olla"
    step_db = STEP_DB

    def __init__(self, choices: Choices):
        super().__init__(choices)
        self._ends = choices.most_robust, choices.fastest
        self._up = self.step_db * choices.target / (1 - choices.target)
        self._offset_db = 0.0

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        return self.choices.best(self.mean() + self._offset_db) if self._reports else self.choices.most_robust

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """Move the offset, but at the ends of the table, beyond which there is nothing to choose."""
        if (mcs, rank) != self._ends[int(ok)]:
            self._move(self._up if ok else -self.step_db)

    def _move(self, step_db: float) -> None:
        self._offset_db = float(np.clip(self._offset_db + step_db, -MOST_OFFSET_DB, MOST_OFFSET_DB))

    def offset_db(self) -> float:
        """The offset."""
        return self._offset_db


class BothLoops(OuterLoop):
    """Inner and outer loop. The outer one takes small steps: what it sees are bursts, as feedback is late."""

    name = "both"
    step_db = SMALL_STEP_DB

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        snrs = self.predict(frame)
        return self.choices.most_robust if snrs is None else self.choices.best(snrs + self._offset_db)


class Goodput(OuterLoop):
    """The most bytes per frame, repeats counted, by all that is known of the SNR: there is no target.

    What of a prediction is not known counts as a distribution. The offset makes the curves right: it goes up where more
    blocks arrive than they promise, and down where fewer do.
    """

    name = "goodput"
    step_db = SMALL_STEP_DB

    def __init__(self, choices: Choices):
        super().__init__(choices)
        self._promised: dict[tuple[int, int], float] = {}  # error rates of choices, when they were made last

    def choose(self, frame: int) -> tuple[int, int]:
        """The most."""
        snrs = self.predict(frame)
        if snrs is None:
            return self.choices.most_robust
        snrs, deviations = snrs + self._offset_db, self.deviation()
        choice = self.choices.most_bytes(snrs, deviations)
        self._promised[choice] = self.choices.error_rate(snrs, *choice, deviations)
        return choice

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """One step down the gradient of the cross-entropy of acknowledgements and curves."""
        promised = self._promised.get((mcs, rank))
        if promised is not None:
            self._move(self.step_db * (promised - (not ok)))


class Arf(LongTerm):
    """Automatic rate fallback (Kamerman and Monteban, Bell Labs Tech. J. 2(3), 1997), rank by the long-term mean.

    Ten blocks in a row that arrive: one MCS more. Two in a row that do not, or the first after that: one less.
    """

    name = "arf"
    UP, DOWN = 10, 2

    def __init__(self, choices: Choices):
        super().__init__(choices)
        self._mcs, self._right, self._wrong, self._tries = 0, 0, 0, False

    def choose(self, frame: int) -> tuple[int, int]:
        """What it has come to."""
        return self._mcs, (self.choices.best(self.mean()) if self._reports else self.choices.most_robust)[1]

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """Count, and go up or down."""
        if mcs != self._mcs:  # sent before it changed
            return
        self._right, self._wrong = (self._right + 1, 0) if ok else (0, self._wrong + 1)
        if self._right == self.UP and self._mcs < len(MCS_TABLE) - 1:
            self._mcs, self._right, self._tries = self._mcs + 1, 0, True
        elif not ok and (self._tries or self._wrong == self.DOWN):
            self._mcs, self._wrong, self._tries = max(0, self._mcs - 1), 0, False
        elif ok:
            self._tries = False


class Salad(LongTerm):
    """Self-adaptive link adaptation from acknowledgements, after the description of SALAD (NVIDIA, 2025).

    The SNR is estimated by descending the cross-entropy of acknowledgements and error curves; an integral of the error
    rate over its target is taken from it. If the curves have been too pessimistic for the last blocks, it probes: now
    and then it takes an MCS that may well fail. What reports say of ranks on the long term is where it begins.
    """

    name = "salad"
    RATE_DB, INTEGRAL_DB, MOST_INTEGRAL_DB = 1.5, 0.3, 6.0
    WINDOW, BIAS, PROBABILITY, PROBED = 15, 0.25, 0.15, 0.95

    def __init__(self, choices: Choices):
        super().__init__(choices)
        self._shift, self._integral = 0.0, 0.0
        self._surprises: deque[float] = deque(maxlen=self.WINDOW)
        self._rng = np.random.default_rng(1)

    def choose(self, frame: int) -> tuple[int, int]:
        """The best, or a probe."""
        if not self._reports:
            return self.choices.most_robust
        snrs = self.mean() + self._shift
        full = len(self._surprises) == self.WINDOW
        if full and sum(self._surprises) / self.WINDOW > self.BIAS and self._rng.random() < self.PROBABILITY:
            return self.choices.best(snrs, self.PROBED)
        return self.choices.best(snrs - self._integral)

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """One step down the gradient."""
        if not self._reports:
            return
        right = 1 - self.choices.error_rate(self.mean() + self._shift, mcs, rank)
        self._surprises.append(ok - right)
        self._shift = float(np.clip(self._shift + self.RATE_DB * (ok - right), -MOST_OFFSET_DB, MOST_OFFSET_DB))
        integral = self._integral + self.INTEGRAL_DB * ((not ok) - self.choices.target)
        self._integral = float(np.clip(integral, -self.MOST_INTEGRAL_DB, self.MOST_INTEGRAL_DB))


POLICIES: dict[str, type[LongTerm]] = {
    policy.name: policy for policy in (Arf, OuterLoop, InnerLoop, BothLoops, Goodput, Salad)
}


def make_policy(name: str, choices: Choices) -> Policy:
    """The policy with this name.

    Raises:
        ValueError: there is none.
    """
    if name not in POLICIES:
        raise ValueError(f"unknown policy {name!r}; one of {', '.join(POLICIES)} expected")
    return POLICIES[name](choices)
