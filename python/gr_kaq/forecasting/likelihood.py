# SPDX-License-Identifier: GPL-3.0-or-later
"""How likely each `Fading` of a grid makes each series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fading import Fading
from .series import Series
from .wiener import Likelihood

__all__ = ["DOPPLERS", "FadingGrid", "fitting", "likely_noise", "pooled_doppler", "refined"]

DOPPLERS = np.array([0.0, *np.geomspace(1e-3, 0.5, 90)])  # times the step between estimates
LINE_DOPPLERS = DOPPLERS[1::3]
LINES = (0.2, 0.5, 0.8, 0.95, 0.99)
FINE_LINES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.98, 0.99, 0.995)
NOISE_FACTORS = 2.0 ** np.arange(13)
POWER_SHARES = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)
LEAST = 4  # estimates that say anything


@dataclass(frozen=True, eq=False)
class FadingGrid:
    """Candidates, and the log-likelihood of each series with each of them.

    Attributes:
        fadings: C candidates.
        values: (S, C).
    """

    fadings: list[Fading]
    values: NDArray[np.float64]

    @classmethod
    def scattered(cls, series: Series) -> FadingGrid:
        """Without a line: Dopplers up to half a cycle per step."""
        dopplers = DOPPLERS / np.median(np.diff(series.times))
        columns = [Likelihood(series, float(doppler)).of(0.0) for doppler in dopplers]
        return cls([Fading(float(doppler)) for doppler in dopplers], np.concatenate(columns, axis=1))

    @classmethod
    def all(cls, series: Series) -> FadingGrid:
        """Without a line and with one, whose shift is within the Doppler; four times as fine as the times resolve."""
        found = cls.scattered(series)
        fadings, columns = list(found.fadings), [found.values]
        span = series.times[-1] - series.times[0]
        for doppler in LINE_DOPPLERS / np.median(np.diff(series.times)):
            half = int(np.ceil(4 * doppler * span))
            shifts = doppler * np.arange(-half, half + 1) / half
            likelihood = Likelihood(series, float(doppler))
            for line in LINES:
                fadings += [Fading(float(doppler), line, float(shift)) for shift in shifts]
                columns.append(likelihood.of(line, shifts))
        return cls(fadings, np.concatenate(columns, axis=1))


def fitting(series: Series) -> Series | None:
    """What a fit can use: times at which anything was estimated, and series that were estimated at all of them.

    None where that is not enough.
    """
    some = series.known.any(axis=0)
    if not some.any():
        return None
    left = Series(series.times[some], series.values[:, some], series.noise_var)
    left = left.take(left.whole)
    return left if len(left.values) and len(left.times) >= LEAST else None


def pooled_doppler(series: Series) -> float:
    """The Doppler that is the most likely for all series, in cycles per unit of time; 0 where nothing tells."""
    usable = fitting(series)
    if usable is None:
        return 0.0
    grid = FadingGrid.scattered(usable)
    return grid.fadings[int(np.argmax(grid.values.sum(axis=0)))].doppler


def likely_noise(series: Series) -> Series:
    """The series with more noise, where that makes them more likely: a factor for all, and a share of each power.

    A filter that takes noise for fading extrapolates it. So what is said of the noise of a recording is a lower bound.
    The share is what errors of phase, timing and gain are: a strong tap has more of them than of noise, and would seem
    to fade fast otherwise.
    """
    usable = fitting(series)
    if usable is None:
        return series
    dopplers = DOPPLERS[::4] / np.median(np.diff(usable.times))

    def noise_of(some: Series, factor: float, share: float) -> NDArray[np.float64]:
        return factor * some.noise_var + share * some.powers

    def likelihood(factor: float, share: float) -> float:
        noisier = Series(usable.times, usable.values, noise_of(usable, factor, share))
        return max(float(Likelihood(noisier, float(doppler)).of(0.0).sum()) for doppler in dopplers)

    factor = max(NOISE_FACTORS, key=lambda each: likelihood(each, 0.0))
    share = max(POWER_SHARES, key=lambda each: likelihood(factor, each))
    if share:
        factor = max(NOISE_FACTORS, key=lambda each: likelihood(each, share))
    return Series(series.times, series.values, noise_of(series, factor, share))


def refined(series: Series, fading: Fading, weights: NDArray[np.float64]) -> Fading:
    """A `Fading` with a line, made more likely for the weighted series than the grid has it."""
    if not fading.line:
        return fading
    grid = DOPPLERS / np.median(np.diff(series.times))
    reach = 0.5 / (series.times[-1] - series.times[0])
    for _ in range(2):
        likelihood = Likelihood(series, fading.doppler)
        for zoom in (1, 4, 16):
            shifts = fading.shift + reach / zoom * np.linspace(-1, 1, 9)
            best = int(np.argmax(weights @ likelihood.of(fading.line, shifts)))
            fading = Fading(fading.doppler, fading.line, float(shifts[best]))
        dopplers = grid[(grid > 0.75 * fading.doppler) & (grid < 1.35 * fading.doppler)]
        choices = [Fading(float(doppler), line, fading.shift) for doppler in dopplers for line in FINE_LINES]
        found = [
            weights @ Likelihood(series, choice.doppler).of(choice.line, [choice.shift])[:, 0] for choice in choices
        ]
        fading = choices[int(np.argmax(found))]
    return fading
