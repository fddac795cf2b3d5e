# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: which beams to probe with a fixed budget of pilots, and which one to take then.

A policy is a generator: it yields beams (n, 4) to probe one after the other, is sent their rewards (n,), and returns
the narrow beam that it recommends, (first, second). So a policy reads from top to bottom, and a simulation draws all
rewards of a round at once. `beam_search.BeamSearch` hands the pilots out one by one.

Rewards are those of `PilotStatistics`: powers in units of the noise, without bias. Indices count on a circle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .direction_posterior import DirectionPosterior
from .planar_array import PlanarArray
from .statistics import PilotStatistics

__all__ = ["DEFAULT", "POLICIES", "Policy", "Search"]

Search = Generator[NDArray[np.int_], NDArray, tuple[int, int]]

ARC = 3  # beams of an axis that smoothing cannot tell apart
SHARE = 0.75  # of a budget that a phase, or a round of one, takes
FINALISTS = 4
ROUND = 0.2  # of the pilots left
SECOND_LINE = 1 / 3  # of the pilots left, at most
UNLIKELY = 0.05  # probability of a high SNR; at first it is 0.13
COVERED = 0.8  # probability of the beams of a round


@dataclass(frozen=True)
class Policy:
    """A policy.

    Attributes:
        search: begins one, given the array, the budget in pilots, and what draws its random choices.
        least_budget: pilots that it needs on an array.
        coherent: it takes complex amplitudes instead of powers.
    """

    search: Callable[[PlanarArray, int, np.random.Generator], Search]
    least_budget: Callable[[PlanarArray], int]
    coherent: bool = False


def exhaustive(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """Every narrow beam as often as the budget allows, the rest at random; the greatest mean wins."""
    beams, measured = array.narrow_beams(), PilotStatistics(array)
    rest = rng.permutation(array.num_beams)[: budget % array.num_beams]
    probed = np.concatenate([np.tile(beams, (budget // array.num_beams, 1)), beams[rest]])
    measured.add(probed, (yield probed))
    return measured.best()


def sequential_halving(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """Rounds with equal budgets; after each the better half of the beams stays, by the mean of all its rewards.

    After Karnin, Koren and Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013. A round has at least
    one pilot for each beam, so small budgets end before the last round.
    """
    beams, measured = array.narrow_beams(), PilotStatistics(array)
    left = budget
    while left >= len(beams) > 1:
        rounds = math.ceil(math.log2(len(beams)))
        probed = np.tile(beams, (max(left // (rounds * len(beams)), 1), 1))
        measured.add(probed, (yield probed))
        left -= len(probed)
        means = measured.means()[beams[:, 0], beams[:, 1]]
        beams = beams[np.argsort(-means, kind="stable")[: math.ceil(len(beams) / 2)]]
    return int(beams[0, 0]), int(beams[0, 1])


def separable_scan(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """All beams of the first axis with the second at random, then all of the second at the best first one."""
    first, second = array.shape
    measured = PilotStatistics(array)
    other = int(rng.integers(second))
    probed = _line(array, 0, np.arange(first), other, repeats=budget // (first + second))
    measured.add(probed, (yield probed))
    row = int(np.argmax(measured.means()[:, other]))
    probed = _line(array, 1, np.arange(second), row, repeats=(budget - len(probed)) // second)
    measured.add(probed, (yield probed))
    return row, int(np.argmax(measured.means()[row]))


def hierarchical(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """From beams of two elements on each axis to narrow ones: at each level the best of those within the last.

    Elements that are on double with each level. The wider a level, the more pilots it gets: twice as many as the next.
    """
    levels = _level_sizes(array)
    at = np.zeros(2, int)
    left = budget
    for level in range(1, len(levels) + 1):
        widths = [max(count >> level, 1) for count in array.shape]
        offsets = [_children(count, level) for count in array.shape]
        beams = np.array([(at[0] + i, at[1] + j, *widths) for i in offsets[0] for j in offsets[1]])
        beams[:, :2] %= array.shape
        later, rest = sum(levels[level:]), len(levels) - level
        share = min(left * 2**rest // (2 ** (rest + 1) - 1), left - later)
        repeats = max(share // len(beams), 1)
        rewards = yield np.tile(beams, (repeats, 1))
        left -= repeats * len(beams)
        at = beams[np.argmax(rewards.reshape(repeats, -1).mean(0)), :2]
    return int(at[0]), int(at[1])


def _children(count: int, level: int) -> list[int]:
    """Where the beams of an axis at this level lie from the one of the level before."""
    if count >> (level - 1) < 1:
        return [0]  # narrow already, with its neighbours compared
    if level == 1:
        return sorted({count // 4, count * 3 // 4})
    half = max(count >> level, 1) // 2
    return [-half, half] if half else [-1, 0, 1][: max(count, 1)]


def _level_sizes(array: PlanarArray) -> list[int]:
    """Beams at each level of `hierarchical`."""
    levels = max(1, *(count.bit_length() for count in array.shape))
    sizes = [math.prod(len(_children(count, level)) for count in array.shape) for level in range(1, levels + 1)]
    return [size for number, size in enumerate(sizes) if size > 1 or number == 0]


def ub3(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """A line search on each axis with narrow beams, after UB3: four beams of an interval, a third of which is dropped.

    The paper's constants are not at hand. On a circle, the first round compares four beams a quarter turn apart, and
    keeps the half circle around the best. Then each round probes both ends and two inner beams, and drops the third
    beyond the inner beam that is farther from the best. Rounds get 1, 2, 3, ... parts of an axis' half of the budget.
    """
    row = yield from _thirds(array, 0, int(rng.integers(array.shape[1])), budget // 2)
    return row, (yield from _thirds(array, 1, row, budget - budget // 2))


def _thirds(array: PlanarArray, axis: int, other: int, budget: int) -> Generator[NDArray[np.int_], NDArray, int]:
    count = array.shape[axis]
    sizes = _interval_sizes(count)
    parts = sum(range(1, len(sizes) + 1))
    start = 0
    for number, size in enumerate(sizes, 1):
        circle = number == 1 and count > 4
        inner = np.arange(4) * size // 4 if circle else np.unique(np.linspace(0, size - 1, min(4, size)).astype(int))
        indices = (start + inner) % count
        repeats = max(budget * number // (parts * len(indices)), 1)
        rewards = yield _line(array, axis, indices, other, repeats)
        best = int(np.argmax(rewards.reshape(repeats, -1).mean(0)))
        if number == len(sizes):
            return int(indices[best])
        if circle:
            start = int(indices[best]) - sizes[1] // 2
        elif best >= len(indices) // 2:
            start += size - sizes[number]
    return start % count


def _least_of_thirds(count: int) -> int:
    """Pilots that `_thirds` needs at least: its rounds have 1, 2, 3, ... parts, and four beams."""
    rounds = len(_interval_sizes(count))
    return 4 * sum(range(1, rounds + 1))


def _interval_sizes(count: int) -> list[int]:
    """Beams of the interval in each round of `_thirds`, to the last one, where all are probed."""
    sizes = [count] if count <= 4 else [count, count // 2 + 1]
    while sizes[-1] > 4:
        sizes.append(max(math.ceil(2 * sizes[-1] / 3), 4))
    return sizes


def osub(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """OSUB: the leader and its four neighbours by their KL-UCB indices; the leader itself every fifth time.

    After Combes and Proutiere, "Unimodal bandits: regret lower bounds and optimal algorithms", ICML 2014, with the
    divergence of exponential distributions, whose variance is an upper bound of a power's. It minimizes regret: here it
    is scored by the beam that it recommends, the one with the greatest mean.
    """
    rows, columns = array.shape
    counts, sums = np.zeros(array.shape, int).tolist(), np.zeros(array.shape).tolist()
    leading = np.zeros(array.shape, int).tolist()
    leader = beam = (int(rng.integers(rows)), int(rng.integers(columns)))
    top = -math.inf
    for _ in range(budget):
        (reward,) = yield np.array([(*beam, 1, 1)])
        i, j = beam
        counts[i][j] += 1
        sums[i][j] += float(reward) + 1  # a power: positive
        mean = sums[i][j] / counts[i][j]
        if beam == leader or mean > top:
            if beam == leader and mean < top:  # somebody else may lead now
                means = np.array(sums) / np.maximum(counts, 1)
                i, j = (int(k) for k in np.unravel_index(np.argmax(means), means.shape))
                mean = float(means[i, j])
            leader, top = (i, j), mean
        i, j = leader
        leading[i][j] += 1
        around = [leader, ((i + 1) % rows, j), ((i - 1) % rows, j), (i, (j + 1) % columns), (i, (j - 1) % columns)]
        if leading[i][j] % len(around) == 0:
            beam = leader
            continue
        bound = math.log(leading[i][j]) + 3 * math.log(max(math.log(leading[i][j]), 1.0))
        beam = max(around, key=lambda b: _upper(counts[b[0]][b[1]], sums[b[0]][b[1]], bound))
    return leader


def _upper(count: int, total: float, bound: float) -> float:
    """The greatest mean whose divergence from the mean of `count` rewards is at most bound / count."""
    if not count:
        return math.inf
    c = bound / count
    z = c + 1.0  # logarithm of the greatest mean over the mean: exp(-z) - 1 + z = c
    for _ in range(4):
        z -= (math.exp(-z) - 1 + z - c) / max(1 - math.exp(-z), 1e-9)
    return total / count * math.exp(min(z, 600.0))


def after_holobeam(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """Two phases, one parameter after the other, each unimodal on a circle; after HoloBeam (arXiv 2401.05420).

    The paper's constants are not at hand. The schedule here:

    - Phase 1 has three quarters of the budget, and leaves at least a pilot for each beam of the second axis. It
      searches the first axis with the second one widened to a single element, so that no sidelobe of the second lies in
      the way. Phase 2 searches the second axis with narrow beams.
    - Each round takes three quarters of what its phase has left, equally for all beams of an arc, at least one each.
      Then the half of the arc around the greatest smoothed mean stays; there are no confidence bounds. The last round,
      of three beams, takes all.
    """
    first, second = array.shape
    share = max(min(round(budget * SHARE), budget - second), first)
    row = yield from _halve_arc(array, 0, 0, share, second)
    return row, (yield from _halve_arc(array, 1, row, budget - share, 1))


def _halve_arc(
    array: PlanarArray, axis: int, other: int, budget: int, other_width: int
) -> Generator[NDArray[np.int_], NDArray, int]:
    """The best beam of an axis, the other one fixed."""
    count = array.shape[axis]
    arc = np.arange(count)
    counts, sums, means = np.zeros(count), np.zeros(count), np.zeros(count)
    while budget >= len(arc) > 1:
        last = len(arc) <= ARC
        repeats = max(int(budget * (1 if last else SHARE) / len(arc)), 1)
        rewards = yield _line(array, axis, arc, other, repeats, other_width)
        budget -= repeats * len(arc)
        counts[arc] += repeats
        sums[arc] += rewards.reshape(repeats, -1).sum(0)
        means = sums / np.maximum(counts, 1)
        if last:
            break
        smoothed = means[arc] + 0.5 * (means[(arc - 1) % count] + means[(arc + 1) % count])
        size = max(math.ceil(len(arc) / 2), ARC)
        start = int(np.argmax(smoothed)) - size // 2
        if len(arc) < count:
            start = max(0, min(start, len(arc) - size))
        arc = (arc[0] + start + np.arange(size)) % count
    return int(arc[np.argmax(means[arc])])


def parametric(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """The most likely beams first, by the posterior of a plane wave's direction and SNR; see `DirectionPosterior`.

    1. The beams of the first axis, the second one widened to a single element. At high SNR that finds the row, at low
       SNR it costs little. Then the same for the second axis, unless that takes more than a third of the pilots left,
       or the SNR seems low.
    2. All narrow beams, if the pilots left are enough.
    3. Rounds of a fifth of the pilots left, in the most likely beams: four at least, at most those that hold 80 %
       between them. Of those that are hardly possible, the ones with the greatest expected gain come first: neighbours
       of the likely ones tell them apart. In the end a round has one pilot.

    So with few pilots and a low SNR, some of the beams are looked at closely instead of all of them in vain. Where
    cells look alike, to probe the most likely one is best: Castanon, "Optimal search strategies in dynamic hypothesis
    testing", IEEE Trans. SMC 25(7), 1995. At last the beam with the greatest expected gain is taken.
    """
    return (yield from _parametric(array, budget, coherent=False))


def parametric_coherent(array: PlanarArray, budget: int, rng: np.random.Generator) -> Search:
    """The same, from complex amplitudes that share a phase."""
    return (yield from _parametric(array, budget, coherent=True))


def _parametric(array: PlanarArray, budget: int, *, coherent: bool) -> Search:
    beams, posterior, left = array.narrow_beams(), DirectionPosterior(array, coherent=coherent), budget
    for axis, count in enumerate(array.shape):
        if axis == 1 and (count > left * SECOND_LINE or posterior.of_high_snr() < UNLIKELY):
            break
        probed = _line(array, axis, np.arange(count), 0, 1, array.shape[1 - axis])
        posterior.add(probed, (yield probed))
        left -= len(probed)
    if left >= len(beams):
        posterior.add(beams, (yield beams))
        left -= len(beams)
    while left > 0:
        probabilities, gains = posterior.of_beams().ravel(), posterior.expected_gains().ravel()
        relative = (probabilities / probabilities.max()).round(3)
        order = np.lexsort((-gains.round(9), -relative))  # equal ones stay neighbours, which share a user
        enough = int(np.searchsorted(np.cumsum(probabilities[order]), COVERED)) + 1
        pilots = max(int(left * ROUND), 1)
        chosen = order[: min(max(enough, FINALISTS), pilots)]
        probed = np.tile(beams[chosen], (max(pilots // len(chosen), 1), 1))
        posterior.add(probed, (yield probed))
        left -= len(probed)
    row, column = np.unravel_index(np.argmax(posterior.expected_gains()), array.shape)
    return int(row), int(column)


def _line(
    array: PlanarArray, axis: int, indices: NDArray[np.int_], other: int, repeats: int = 1, other_width: int = 1
) -> NDArray[np.int_]:
    """Beams along an axis, all of them `repeats` times over; the other axis fixed."""
    beams = np.ones((len(indices), 4), int)
    beams[:, axis], beams[:, 1 - axis], beams[:, 3 - axis] = indices, other, other_width
    return np.tile(beams, (repeats, 1))


def _sum(array: PlanarArray) -> int:
    return sum(array.shape)


def _least_parametric(array: PlanarArray) -> int:
    return array.shape[0] + FINALISTS


def _count(array: PlanarArray) -> int:
    return array.num_beams


POLICIES: dict[str, Policy] = {
    "exhaustive": Policy(exhaustive, _count),
    "sequential-halving": Policy(sequential_halving, _count),
    "separable-scan": Policy(separable_scan, _sum),
    "hierarchical": Policy(hierarchical, lambda array: sum(_level_sizes(array))),
    "ub3": Policy(ub3, lambda array: 2 * max(_least_of_thirds(count) for count in array.shape)),
    "osub": Policy(osub, lambda array: 5),
    "after-holobeam": Policy(after_holobeam, _sum),
    "parametric": Policy(parametric, _least_parametric),
    "parametric-coherent": Policy(parametric_coherent, _least_parametric, coherent=True),
}
DEFAULT = "parametric"
