# SPDX-License-Identifier: GPL-3.0-or-later
"""Series that fade alike, found by expectation-maximization: a Doppler, and perhaps a line, for each cluster.

What two series of a cluster have in common is their correlation over time, and not their values: independent taps of
equal Doppler are not alike in any sample, and are predicted by the same filter. So the mixture is one of covariances,

    p(x_s) = sum over clusters k of weight_k CN(0, power_s R_k + noise_s I),

over candidates on a grid. Each step of the expectation-maximization raises its likelihood, less what the parameters
cost (BIC): two of a cluster, weight and Doppler, and two more with a line. A cluster is added as long as that raises
it, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fading import Fading
from .likelihood import FadingGrid, fitting, refined
from .series import Series
from .wiener import Likelihood, log_likelihoods

__all__ = ["Clusters", "assigned", "find_clusters"]

MOST = 8
STEPS = 30


@dataclass(frozen=True, eq=False)
class Clusters:
    """What was found.

    Attributes:
        fadings: of K clusters.
        memberships: how probable it is that a series is of a cluster, (S, K); rows add up to 1.
        weights: the same of any series, (K,).
    """

    fadings: list[Fading]
    memberships: NDArray[np.float64]
    weights: NDArray[np.float64]


def find_clusters(series: Series, most: int = MOST) -> Clusters | None:
    """The clusters of these series; None where there are too few estimates to tell.

    Series with gaps do not take part in the search, and are assigned to what it finds.

    Args:
        series: what was estimated.
        most: clusters at most.
    """
    usable = fitting(series)
    if usable is None:
        return None
    grid = FadingGrid.all(usable)
    prices = math.log(usable.values.size) * (1 + (grid.lines > 0))
    found = _mixture(grid.values, prices, np.zeros(0, np.int64))
    while len(found.places) < min(most, len(usable.values)):
        more = _mixture(grid.values, prices, found.places)
        if more.score <= found.score:
            break
        found = more
    fadings = [refined(usable, grid.fading(c), found.members[:, k]) for k, c in enumerate(found.places)]
    return Clusters(fadings, _memberships(series, fadings, found.weights), found.weights)


def assigned(series: Series, clusters: Clusters) -> Clusters:
    """Clusters that were found before, with the memberships of these series."""
    memberships = _memberships(series, clusters.fadings, clusters.weights)
    return Clusters(clusters.fadings, memberships, clusters.weights)


@dataclass(frozen=True, eq=False)
class _Mixture:
    places: NDArray[np.int64]  # of the candidates, (K,)
    weights: NDArray[np.float64]  # (K,)
    members: NDArray[np.float64]  # (S, K)
    score: float  # log-likelihood, less the prices


def _mixture(values: NDArray[np.float64], prices: NDArray[np.float64], start: NDArray[np.int64]) -> _Mixture:
    """Expectation-maximization from `start`, and the candidate that helps most beside it."""
    best = values[:, start].max(axis=1, keepdims=True) if start.size else np.full((len(values), 1), -np.inf)
    gains = np.maximum(values, best).sum(axis=0) - prices
    places = np.append(start, np.argmax(gains))
    weights = np.full(len(places), 1 / len(places))
    for _ in range(STEPS):
        members, _ = _posterior(values[:, places], weights)
        moved = np.argmax(members.T @ values - prices, axis=1)
        weights = np.asarray(members.mean(axis=0), np.float64)
        if np.array_equal(moved, places):
            break
        places = moved
    places, back = np.unique(places, return_inverse=True)  # two that have become one
    weights = np.asarray(np.bincount(back.ravel(), weights), np.float64)
    members, likelihood = _posterior(values[:, places], weights)
    return _Mixture(places, weights, members, likelihood - float(prices[places].sum()))


def _posterior(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    joint = values + np.log(np.maximum(weights, 1e-300))
    top = joint.max(axis=1, keepdims=True)
    members = np.exp(joint - top)
    total = members.sum(axis=1, keepdims=True)
    return members / total, float(np.sum(top + np.log(total)))


def _memberships(series: Series, fadings: list[Fading], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.zeros((len(series.values), len(fadings)))
    whole, gaps = series.whole, ~series.whole & series.known.any(axis=1)
    for k, fading in enumerate(fadings):
        if whole.any():
            shifts = [fading.shift] if fading.line else ()
            values[whole, k] = Likelihood(series.take(whole), fading.doppler, shifts).of(fading.line)[:, 0]
        if gaps.any():
            values[gaps, k] = log_likelihoods(series.take(gaps), fading)
    return _posterior(values, weights)[0]
