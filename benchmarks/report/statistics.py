# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates with intervals that know of clusters, paired comparisons, and decibels between curves.

Errors come in clusters: one bad channel spoils all the vectors it carries. Every interval here therefore rests on the
counts per channel estimate, not per bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_RATIO_ERRORS",
    "Crossing",
    "Interval",
    "Pair",
    "Rate",
    "crossing",
    "distance",
    "paired_distance",
    "t_interval",
]

Z = 1.959964
"""97.5 % quantile of the normal distribution: every interval is a 95 % interval."""

MIN_RATIO_ERRORS = 100
"""Errors that each of two rates needs for their ratio to be quoted."""

T_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True)
class Rate:
    """Errors per trial (bits, blocks), counted in clusters (channel estimates).

    Args:
        errors: in all.
        trials: in all.
        clusters: how many, each of trials / clusters trials.
        squares: sum of the squares of the clusters' errors.
    """

    errors: int = 0
    trials: int = 0
    clusters: int = 0
    squares: int = 0

    @classmethod
    def of(cls, errors: NDArray[np.integer], trials: int) -> Rate:
        """From the errors of each cluster and the trials of all of them."""
        errors = errors.astype(np.int64)
        return cls(int(errors.sum()), trials, len(errors), int((errors * errors).sum()))

    @classmethod
    def read(cls, document: dict[str, Any]) -> Rate:
        """From `asdict`'s form."""
        return cls(**document)

    def __add__(self, other: Rate) -> Rate:
        return Rate(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    @property
    def value(self) -> float:
        """errors / trials; NaN before the first trial."""
        return self.errors / self.trials if self.trials else math.nan

    @property
    def design_effect(self) -> float:
        """Variance of the number of errors over that of independent ones; at least 1."""
        independent = self.errors * (1 - self.value) if self.trials else 0.0
        if self.clusters < 2 or independent == 0:
            return 1.0
        return max(1.0, _variance_of_sum(self.errors, self.squares, self.clusters) / independent)

    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval with the trials divided by the design effect (Kish)."""
        if not self.trials:
            return 0.0, 1.0
        n = self.trials / self.design_effect
        p = self.value
        centre = (p * n + Z * Z / 2) / (n + Z * Z)
        spread = Z * math.sqrt(p * (1 - p) * n + Z * Z / 4) / (n + Z * Z)
        return max(0.0, centre - spread), min(1.0, centre + spread)

    @property
    def log10(self) -> float:
        """log10 of the rate; no error counts as half of one, so that a curve can be interpolated."""
        return math.log10(max(self.errors, 0.5) / self.trials)

    @property
    def log10_error(self) -> float:
        """Standard error of `log10`."""
        return math.sqrt(self.design_effect / max(self.errors, 0.5)) / math.log(10)


@dataclass(frozen=True)
class Pair:
    """Two detectors' errors on the same received vectors.

    Args:
        first, second: of the two detectors, over what both of them saw.
        squares: sum of the squares of the clusters' differences, first minus second.
    """

    first: Rate = Rate()
    second: Rate = Rate()
    squares: int = 0

    @classmethod
    def of(cls, first: NDArray[np.integer], second: NDArray[np.integer], trials: int) -> Pair:
        """From both detectors' errors of each cluster."""
        difference = first.astype(np.int64) - second
        return cls(Rate.of(first, trials), Rate.of(second, trials), int((difference * difference).sum()))

    @classmethod
    def read(cls, document: dict[str, Any]) -> Pair:
        """From `asdict`'s form."""
        return cls(Rate.read(document["first"]), Rate.read(document["second"]), document["squares"])

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.first + other.first, self.second + other.second, self.squares + other.squares)

    def difference(self) -> Interval:
        """First rate minus second rate."""
        errors = self.first.errors - self.second.errors
        spread = Z * math.sqrt(_variance_of_sum(errors, self.squares, self.first.clusters))
        trials = max(self.first.trials, 1)
        return Interval(errors / trials, (errors - spread) / trials, (errors + spread) / trials)

    def log10_ratio(self) -> tuple[float, float]:
        """log10 of first rate over second rate, and its standard error."""
        a, b, n = max(self.first.errors, 0.5), max(self.second.errors, 0.5), self.first.clusters
        var_a = _variance_of_sum(self.first.errors, self.first.squares, n) or a
        var_b = _variance_of_sum(self.second.errors, self.second.squares, n) or b
        difference = _variance_of_sum(self.first.errors - self.second.errors, self.squares, n)
        covariance = (var_a + var_b - difference) / 2
        variance = var_a / a**2 + var_b / b**2 - 2 * covariance / (a * b)
        return math.log10(a / b), math.sqrt(max(variance, 0.0)) / math.log(10)

    def ratio(self) -> Interval:
        """First rate over second rate."""
        value, error = self.log10_ratio()
        return Interval(10**value, 10 ** (value - Z * error), 10 ** (value + Z * error))


def _variance_of_sum(total: int, squares: int, clusters: int) -> float:
    if clusters < 2:
        return float(squares)
    return max(0.0, clusters / (clusters - 1) * (squares - total * total / clusters))


@dataclass(frozen=True)
class Crossing:
    """Where a curve falls through a level.

    Args:
        snr_db: there.
        error_db: standard error, from the points on both sides.
        slope: of log10(rate) there, per dB; negative.
    """

    snr_db: float
    error_db: float
    slope: float


def crossing(snr_db: Sequence[float], rates: Sequence[Rate], level: float) -> Crossing | None:
    """Where the curve first falls through `level`, log10(rate) interpolated linearly; None where it does not."""
    goal = math.log10(level)
    points = sorted(zip(snr_db, rates, strict=True), key=lambda point: point[0])
    for (snr_a, a), (snr_b, b) in itertools.pairwise(points):
        if a.log10 >= goal > b.log10:
            slope = (b.log10 - a.log10) / (snr_b - snr_a)
            share = (goal - a.log10) / (b.log10 - a.log10)
            error = math.hypot((1 - share) * a.log10_error, share * b.log10_error)
            return Crossing(snr_a + share * (snr_b - snr_a), error / -slope, slope)
    return None


def distance(reference: Crossing | None, other: Crossing | None) -> Interval | None:
    """dB that `other` needs more than `reference`, the two measured independently; None where one is missing."""
    if reference is None or other is None:
        return None
    spread = Z * math.hypot(reference.error_db, other.error_db)
    value = other.snr_db - reference.snr_db
    return Interval(value, value - spread, value + spread)


def paired_distance(snr_db: Sequence[float], pairs: Sequence[Pair], level: float) -> Interval | None:
    """dB that each pair's first needs more than its second where the second falls through `level`.

    From the vertical distance over the slope, so for curves that are close; the interval profits from the pairing.
    """
    where = crossing(snr_db, [pair.second for pair in pairs], level)
    if where is None:
        return None
    ordered = sorted(zip(snr_db, pairs, strict=True), key=lambda point: point[0])
    after = next(i for i, (snr, _) in enumerate(ordered) if snr >= where.snr_db)
    (snr_a, a), (snr_b, b) = ordered[after - 1], ordered[after]
    share = (where.snr_db - snr_a) / (snr_b - snr_a)
    (value_a, error_a), (value_b, error_b) = a.log10_ratio(), b.log10_ratio()
    value = ((1 - share) * value_a + share * value_b) / -where.slope
    spread = Z * math.hypot((1 - share) * error_a, share * error_b) / -where.slope
    return Interval(value, value - spread, value + spread)


def t_interval(values: Sequence[float]) -> Interval | None:
    """Mean and Student's t interval of a few independent values (seeds); no interval (infinite) for a single one."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    freedom = len(values) - 1
    if not freedom:
        return Interval(mean, -math.inf, math.inf)
    if freedom <= len(T_QUANTILES):
        quantile = T_QUANTILES[freedom - 1]
    else:  # Cornish-Fisher, within 1e-3 from here on
        quantile = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    spread = quantile * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / freedom / len(values))
    return Interval(mean, mean - spread, mean + spread)
