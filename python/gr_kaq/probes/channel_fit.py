# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver's channel: bandwidth, centre and peak of its sensitivity over the bands of an axis.

As "Spatial-frequency channels, shape bias, and adversarial robustness" (arXiv 2309.13190) has it, a Gaussian is fitted:

    sensitivity(x) = peak exp(-(x - centre)^2 / (2 sigma^2)),    bandwidth = 2 sqrt(2 ln 2) sigma

The bandwidth is the full width at half of the maximum. The sensitivity to a band is the reciprocal of the noise power
that the receiver stands there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]

__all__ = ["Channel", "fit_channel", "fit_gaussian", "half_power_width"]

WIDTHS_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
DRAWS = 200  # of the thresholds, for the intervals
DB = math.log(10) / 10


@dataclass(frozen=True)
class Channel:
    """What passes a receiver on its way to an error.

    Each but `flat` is a value and its 95 % interval, by drawing the thresholds anew within their standard errors.

    Attributes:
        bandwidth: full width at half maximum of the fitted Gaussian, in the axis' unit; inf where it is flat.
        half_power_width: of the sensitivities themselves, straight lines between them; at most the axis' length.
        centre: of the Gaussian; the axis' middle where it is flat.
        peak_db: sensitivity at the centre, in dB.
        flat: the Gaussian is wider than the axis is long: the axis does not say how wide.
    """

    bandwidth: tuple[float, float, float]
    half_power_width: tuple[float, float, float]
    centre: tuple[float, float, float]
    peak_db: tuple[float, float, float]
    flat: bool


def fit_gaussian(
    positions: ArrayLike,
    sensitivities: ArrayLike,
    start: tuple[float, float, float],
    bounds: tuple[ArrayLike, ArrayLike] = (-np.inf, np.inf),
) -> tuple[float, float, float]:
    """Peak, centre and sigma (above 0) of the Gaussian with the least squared error.

    Raises:
        ValueError: there are fewer than three positions.
    """
    x, y = np.asarray(positions, np.float64), np.asarray(sensitivities, np.float64)
    if x.shape != y.shape or x.size < 3:
        raise ValueError(f"{x.size} positions and {y.size} sensitivities; at least three of each expected")
    peak, centre, sigma = least_squares(lambda values: _gaussian(x, *values) - y, start, bounds=bounds).x
    return float(peak), float(centre), abs(float(sigma))


def _gaussian(x: NDArray[np.float64], peak: float, centre: float, sigma: float) -> NDArray[np.float64]:
    return peak * np.exp(-((x - centre) ** 2) / (2 * sigma**2 + 1e-30))


def half_power_width(positions: ArrayLike, sensitivities: ArrayLike) -> float:
    """The length over which sensitivity, straight lines from one position to the next, is at least half its maximum.

    The first and the last band reach as far beyond their position as half of the way to their neighbour.
    """
    x, y = np.asarray(positions, np.float64), np.asarray(sensitivities, np.float64)
    ends = x[0] - (x[1] - x[0]) / 2, x[-1] + (x[-1] - x[-2]) / 2
    fine = np.linspace(*ends, 20001)
    return float(np.mean(np.interp(fine, x, y) >= y.max() / 2) * (ends[1] - ends[0]))


def fit_channel(positions: ArrayLike, sensitivities_db: ArrayLike, errors_db: ArrayLike, seed: int = 0) -> Channel:
    """The channel that fits to the sensitivities of bands.

    Args:
        positions: middles of the bands, ascending, at least three.
        sensitivities_db: of the bands, in dB; -inf: the band does no harm.
        errors_db: their standard errors.
        seed: of the intervals.

    Raises:
        ValueError: no band does any harm, or there are too few.
    """
    x, levels = np.asarray(positions, np.float64), np.asarray(sensitivities_db, np.float64)
    errors = np.where(np.isfinite(levels), np.asarray(errors_db, np.float64), 0.0)
    if not np.isfinite(levels).any():
        raise ValueError("no band does any harm: there is no channel to fit")
    length = (x[-1] - x[0]) * len(x) / (len(x) - 1)
    found = _fitted(x, levels, length)
    rng = np.random.default_rng(seed)
    drawn = np.array([_fitted(x, levels + errors * rng.standard_normal(len(x)), length) for _ in range(DRAWS)])
    bandwidth, centre, peak_db, width = (
        (value, *(float(v) for v in np.percentile(values, [2.5, 97.5], method="nearest")))
        for value, values in zip(found, drawn.T, strict=True)
    )
    return Channel(bandwidth, width, centre, peak_db, math.isinf(found[0]))  # type: ignore[arg-type]


def _fitted(x: NDArray[np.float64], levels: NDArray[np.float64], length: float) -> tuple[float, float, float, float]:
    """Bandwidth, centre, peak in dB, half-power width."""
    reference = levels[np.isfinite(levels)].max()
    y = np.exp(DB * (levels - reference))
    width = half_power_width(x, y)
    start = (1.0, float(x[np.argmax(y)]), width / WIDTHS_PER_SIGMA)
    spacing = length / len(x)
    peak, centre, sigma = fit_gaussian(
        x, y, start, ([0, x[0] - spacing, 0.05 * spacing], [4, x[-1] + spacing, 100 * length])
    )
    if WIDTHS_PER_SIGMA * sigma > length:
        return math.inf, float(x[0] + x[-1]) / 2, reference + float(np.log(y.mean()) / DB), width
    return WIDTHS_PER_SIGMA * sigma, centre, reference + math.log(peak) / DB, width
