# SPDX-License-Identifier: GPL-3.0-or-later
"""At which noise level the error rate reaches a target: an adaptive staircase over frames, and a logistic fit in dB.

    P(wrong at level x) = clean + (1 - clean) / (1 + exp(-slope (x - middle)))

`clean` is the error rate without that noise. First a staircase goes up, over the same few frames but those that are
wrong without noise, until the target is reached: more noise may do less harm, as a receiver finds a jammer that is
loud, so it is the lowest such level that counts. Then batches of other frames are spent on both sides of where all
batches so far put the target. The standard error of that place is from the Fisher information of the fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

__all__ = ["Threshold", "find_threshold", "fit_logistic"]

BATCH = 20
STEP_DB = 4.0
BELOW_DB, ABOVE_DB = -1.0, 2.0  # of the target: where its place and the slope are both learned
NEAR_DB = 8.0  # what lies further away does not say how the curve is at the target
SLOPE, SLOPE_SPREAD = 0.5, 0.3  # per dB, what is expected of it, as a weak prior
LEAST_FRAMES = 200


@dataclass(frozen=True)
class Threshold:
    """The lowest noise level at which the error rate is the target's.

    Attributes:
        level_db: of the noise; inf: the target is not reached at the highest level.
        error_db: standard error; nan where the target is not reached.
        slope: of the log-odds, per dB.
        frames: that the fit has.
    """

    level_db: float
    error_db: float
    slope: float
    frames: int


def find_threshold(
    wrong: Callable[[float, int], bool],
    *,
    target: float,
    clean: float,
    start_db: float,
    range_db: tuple[float, float],
    num_frames: int,
    max_error_db: float,
) -> Threshold:
    """Look for the lowest level at which the share of wrong frames is the target.

    Args:
        wrong: whether a frame, by its number below num_frames, is wrong at a level in dB; -inf: without that noise. The
            fit asks once.
        target: the share, above `clean`.
        clean: the share of wrong frames without noise.
        start_db: where to begin, low enough for every band.
        range_db: lowest and highest level.
        num_frames: that there are.
        max_error_db: the standard error that is enough.
    """

    def count(level: float, frames: range) -> tuple[float, int, int]:
        return level, len(frames), sum(wrong(level, frame) for frame in frames)

    low, high = range_db
    first = range(min(BATCH, num_frames))
    good = [frame for frame in first if clean == 0 or not wrong(-math.inf, frame)]

    def reached(level: float) -> bool:
        return sum(wrong(level, frame) for frame in good) >= (target - clean) * len(first)

    place = min(max(start_db, low), high)
    while reached(place) and place > low:
        place = max(place - STEP_DB, low)
    while not reached(place):
        if place >= high:
            return Threshold(math.inf, math.nan, math.nan, len(first))
        place = min(place + STEP_DB, high)
    tried: list[tuple[float, int, int]] = []
    used, error, slope = 0, math.inf, SLOPE
    while used < num_frames and (error > max_error_db or used < LEAST_FRAMES):
        for offset in (BELOW_DB, ABOVE_DB):
            frames = range(used, min(used + BATCH, num_frames))
            tried.append(count(place + offset, frames))
            used += len(frames)
        near = [point for point in tried if abs(point[0] - place) <= NEAR_DB]
        found, error, slope = fit_logistic(*np.array(near, np.float64).T, target=target, clean=clean)
        place = min(max(found, place - STEP_DB, low), place + STEP_DB)
    if place > high:
        return Threshold(math.inf, math.nan, math.nan, used)
    return Threshold(place, error, slope, used)


def fit_logistic(
    levels: NDArray[np.float64],
    counts: NDArray[np.float64],
    wrong: NDArray[np.float64],
    *,
    target: float,
    clean: float,
) -> tuple[float, float, float]:
    """Where the curve of the module passes the target, in dB; the standard error of that; the slope per dB.

    Args:
        levels: in dB.
        counts, wrong: frames at each, and those that were wrong.
        target, clean: shares of wrong frames.
    """
    share = (target - clean) / (1 - clean)
    offset = math.log(share / (1 - share))  # the log-odds at the target

    def rates(parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        place, slope = parameters
        rising = 1 / (1 + np.exp(-np.clip(slope * (levels - place) + offset, -500, 500)))
        return np.clip(clean + (1 - clean) * rising, 1e-9, 1 - 1e-9), rising

    def cost(parameters: NDArray[np.float64]) -> float:
        p, _ = rates(parameters)
        likelihood = np.sum(wrong * np.log(p) + (counts - wrong) * np.log(1 - p))
        return float(-likelihood + 0.5 * ((parameters[1] - SLOPE) / SLOPE_SPREAD) ** 2)

    weight = counts + 1e-9
    start = np.array([np.average(levels, weights=weight), SLOPE])
    spread = (levels.min() - 10, levels.max() + 10)
    found = minimize(cost, start, method="L-BFGS-B", bounds=[spread, (0.02, 5.0)])
    place, slope = found.x
    p, rising = rates(found.x)
    gradient = ((1 - clean) * rising * (1 - rising))[:, None] * np.stack(
        [np.full_like(levels, -slope), levels - place], axis=1
    )
    information = (gradient * (counts / (p * (1 - p)))[:, None]).T @ gradient
    information[1, 1] += 1 / SLOPE_SPREAD**2
    with np.errstate(all="ignore"):
        determinant = information[0, 0] * information[1, 1] - information[0, 1] ** 2
        error = math.sqrt(information[1, 1] / determinant) if determinant > 1e-12 else math.inf
    return float(place), error, float(slope)
