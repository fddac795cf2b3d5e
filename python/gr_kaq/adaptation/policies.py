# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that choose MCS and rank of the next transport block from reports and acknowledgements.

    policy.observe_report(frame, snrs_db)   effective SNRs of all ranks in a frame that was received, or is forecast
    policy.observe_ack(mcs, rank, ok)       of each first transmission, in order; a frame that nobody answers is not ok
    policy.choose(frame)                    (mcs, rank) for this frame

Frames are counted by their sender. All policies compare ranks by the goodput that block error curves promise. The inner
loop believes a report as far as it is known to hold: by the correlation of reports as far apart as the report is old,

    snr(now) = mean + correlation(age) (snr(report) - mean)

so that a loop that is too slow for the channel falls back to its long-term statistics. The outer loop (Pedersen et al.,
"Frequency domain scheduling for OFDMA with limited and noisy channel feedback", VTC 2007) adds an offset that goes up
by step target / (1 - target) with each acknowledgement and down by a step without. So the share of blocks that fail
is the target, whatever the reports are worth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..frames.frame_format import FrameFormat
from ..frames.modulation_coding import MCS_TABLE, transport_block_bytes
from .block_error_curves import BlockErrorCurves, shipped_curves

__all__ = ["POLICIES", "TARGET", "Arf", "Fixed", "Policy", "make_policy"]

TARGET = 0.1
"""Share of first transmissions that may fail."""

STEP_DB, SMALL_STEP_DB = 0.5, 0.2  # of an outer loop that follows the fading itself, and of one behind an inner loop
MOST_OFFSET_DB = 20.0
MEMORY = 2000  # reports: of the long-term statistics
HISTORY = 4096  # reports that are kept to find their correlation
LEAST_VARIANCE = 1e-2  # dB^2: below, nothing fades


class Policy(ABC):
    """Chooses MCS and rank.

    Args:
        frame_format: of the frames; its constellation does not matter.
        curves: of the receiver; None: those that ship.
        target: share of first transmissions that may fail, between 0 and 1.
        ranks: that may be chosen; None: all.

    Raises:
        ValueError: an argument is out of range.
    """

    name: str

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        if not 0 < target < 1:
            raise ValueError(f"target is {target}; between 0 and 1 expected")
        self.curves, self.target = curves or shipped_curves(), target
        self.num_ranks = frame_format.num_tx
        self._ranks = list(ranks or range(1, self.num_ranks + 1))
        if not set(self._ranks) <= set(range(1, self.num_ranks + 1)):
            raise ValueError(f"ranks is {ranks}; some of 1 to {self.num_ranks} expected")
        self.most_robust = 0, min(self._ranks)
        self.fastest = len(MCS_TABLE) - 1, max(self._ranks)
        self.block_bytes = np.array(
            [
                [transport_block_bytes(frame_format, mcs, rank) for mcs in range(len(MCS_TABLE))]
                for rank in range(1, frame_format.num_tx + 1)
            ]
        )

    @abstractmethod
    def choose(self, frame: int) -> tuple[int, int]:
        """MCS and rank of a new transport block in this frame."""

    def observe_report(self, frame: int, snrs_db: ArrayLike) -> None:  # noqa: B027 - some need none
        """Take effective SNRs of ranks 1 to num_tx, in dB, that hold in a frame."""

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:  # noqa: B027
        """Take how a first transmission ended."""

    def best(self, snrs_db: NDArray[np.float64], target: float | None = None) -> tuple[int, int]:
        """MCS and rank with the greatest goodput of those whose error rate is at most the target; or the most robust.

        Args:
            snrs_db: effective SNRs of the ranks, (num_ranks,).
            target: None: that of the policy.
        """
        rates = self.curves.block_error_rate(snrs_db)
        goodputs = np.where(rates <= (target or self.target), self.block_bytes * (1 - rates), 0)
        best = max(self._ranks, key=lambda rank: goodputs[rank - 1].max())
        mcs = int(goodputs[best - 1].argmax())
        return (mcs, best) if goodputs[best - 1, mcs] > 0 else self.most_robust


class Fixed(Policy):
    """Always the same.

    Args:
        frame_format, curves, ranks: as for `Policy`.
        mcs, rank: what it is.

    Raises:
        ValueError: one is out of range.
    """

    name = "fixed"

    def __init__(
        self,
        frame_format: FrameFormat,
        mcs: int,
        rank: int,
        curves: BlockErrorCurves | None = None,
        ranks: Sequence[int] | None = None,
    ):
        super().__init__(frame_format, curves, ranks=ranks)
        transport_block_bytes(frame_format, mcs, rank)  # which checks them
        self._choice = mcs, rank
        self.name = f"fixed {MCS_TABLE[mcs]} x{rank}"

    def choose(self, frame: int) -> tuple[int, int]:
        """As it is."""
        return self._choice


class LongTerm(Policy):
    """What all policies that take reports know of them: mean and correlation, of each rank."""

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        super().__init__(frame_format, curves, target, ranks)
        self._reports: OrderedDict[int, NDArray[np.float64]] = OrderedDict()  # newest last
        self._count = 0
        self._age = 0  # of the newest report when it was used last
        self._mean = np.zeros(self.num_ranks)
        self._variance, self._covariance = np.zeros(self.num_ranks), np.zeros(self.num_ranks)
        self._pairs = 0

    def observe_report(self, frame: int, snrs_db: ArrayLike) -> None:
        """Take effective SNRs; those of a frame that is known already are replaced."""
        snrs = np.array(snrs_db, np.float64)
        if snrs.shape != (self.num_ranks,) or not np.isfinite(snrs).all():
            raise ValueError(f"snrs_db is {snrs.tolist()}; {self.num_ranks} finite numbers expected, one for each rank")
        self._reports[frame] = snrs
        while len(self._reports) > HISTORY:
            self._reports.popitem(last=False)
        self._count += 1
        self._mean += (snrs - self._mean) / min(self._count, MEMORY)
        before = self._reports.get(frame - self._age) if self._age else None
        if before is not None:
            self._pairs += 1
            gain = 1 / min(self._pairs, MEMORY)
            now, then = snrs - self._mean, before - self._mean
            self._variance += gain * ((now**2 + then**2) / 2 - self._variance)
            self._covariance += gain * (now * then - self._covariance)

    def mean(self) -> NDArray[np.float64]:
        """Mean of the effective SNRs in dB, (num_ranks,)."""
        return self._mean

    def correlation(self) -> NDArray[np.float64]:
        """Of reports as far apart as the newest was old when it was used, 0 to 1, (num_ranks,).

        What as many pairs of independent reports may have by chance is taken away, so that it is 0 at first.
        """
        if self._pairs < 2:
            return np.zeros(self.num_ranks)
        known = np.maximum(self._variance, LEAST_VARIANCE)
        found = np.where(self._variance > LEAST_VARIANCE, self._covariance / known, 1.0)
        chance = min(self._pairs, MEMORY) ** -0.5
        return np.clip((found - chance) / (1 - chance), 0, 1)

    def predict(self, frame: int) -> NDArray[np.float64] | None:
        """Effective SNRs in this frame; None before the first report."""
        if not self._reports:
            return None
        newest = next(reversed(self._reports))
        self._age = max(0, frame - newest)
        return self._mean + self.correlation() * (self._reports[newest] - self._mean)


class InnerLoop(LongTerm):
    """The best by the newest report, as far as that is still believed (ILLA)."""

    name = "illa"

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        snrs = self.predict(frame)
        return self.most_robust if snrs is None else self.best(snrs)


class _Offset:
    """The offset of an outer loop."""

    def __init__(self, policy: Policy, step_db: float):
        self._step = step_db
        self._ends = policy.most_robust, policy.fastest
        self._up = step_db * policy.target / (1 - policy.target)
        self.db = 0.0

    def observe(self, mcs: int, rank: int, ok: bool) -> None:
        """Move, but at the ends of the table, beyond which there is nothing to choose."""
        if (mcs, rank) != self._ends[int(ok)]:
            self.db = float(np.clip(self.db + (self._up if ok else -self._step), -MOST_OFFSET_DB, MOST_OFFSET_DB))


class OuterLoop(LongTerm):
    """The long-term mean of the reports, and an outer loop (OLLA)."""

    name = "olla"
    step_db = STEP_DB

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        super().__init__(frame_format, curves, target, ranks)
        self._offset = _Offset(self, self.step_db)

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        return self.best(self.mean() + self._offset.db) if self._reports else self.most_robust

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """Move the offset."""
        self._offset.observe(mcs, rank, ok)

    def offset_db(self) -> float:
        """The offset."""
        return self._offset.db


class BothLoops(OuterLoop):
    """Inner and outer loop. The outer one takes small steps: what it sees are bursts, as feedback is late."""

    name = "both"
    step_db = SMALL_STEP_DB

    def choose(self, frame: int) -> tuple[int, int]:
        """The best."""
        snrs = self.predict(frame)
        return self.most_robust if snrs is None else self.best(snrs + self._offset.db)


class Arf(LongTerm):
    """Automatic rate fallback (Kamerman and Monteban, Bell Labs Tech. J. 2(3), 1997), rank by the long-term mean.

    Ten blocks in a row that arrive: one MCS more. Two in a row that do not, or the first after that: one less.
    """

    name = "arf"
    UP, DOWN = 10, 2

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        super().__init__(frame_format, curves, target, ranks)
        self._mcs, self._right, self._wrong, self._tries = 0, 0, 0, False

    def choose(self, frame: int) -> tuple[int, int]:
        """What it has come to."""
        return self._mcs, self.best(self.mean())[1] if self._reports else self.most_robust[1]

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

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        super().__init__(frame_format, curves, target, ranks)
        self._shift, self._integral = 0.0, 0.0
        self._surprises: deque[float] = deque(maxlen=self.WINDOW)
        self._rng = np.random.default_rng(1)

    def choose(self, frame: int) -> tuple[int, int]:
        """The best, or a probe."""
        if not self._reports:
            return self.most_robust
        snrs = self.mean() + self._shift
        full = len(self._surprises) == self.WINDOW
        if full and sum(self._surprises) / self.WINDOW > self.BIAS and self._rng.random() < self.PROBABILITY:
            return self.best(snrs, self.PROBED)
        return self.best(snrs - self._integral)

    def observe_ack(self, mcs: int, rank: int, ok: bool) -> None:
        """One step down the gradient."""
        if not self._reports:
            return
        right = 1 - float(self.curves.block_error_rate(self.mean()[rank - 1] + self._shift)[mcs])
        self._surprises.append(ok - right)
        self._shift = float(np.clip(self._shift + self.RATE_DB * (ok - right), -MOST_OFFSET_DB, MOST_OFFSET_DB))
        integral = self._integral + self.INTEGRAL_DB * ((not ok) - self.target)
        self._integral = float(np.clip(integral, -self.MOST_INTEGRAL_DB, self.MOST_INTEGRAL_DB))


POLICIES: dict[str, type[LongTerm]] = {policy.name: policy for policy in (Arf, OuterLoop, InnerLoop, BothLoops, Salad)}


def make_policy(
    name: str,
    frame_format: FrameFormat,
    curves: BlockErrorCurves | None = None,
    target: float = TARGET,
    ranks: Sequence[int] | None = None,
) -> Policy:
    """The policy with this name.

    Raises:
        ValueError: there is none.
    """
    if name not in POLICIES:
        raise ValueError(f"unknown policy {name!r}; one of {', '.join(POLICIES)} expected")
    return POLICIES[name](frame_format, curves, target, ranks)
