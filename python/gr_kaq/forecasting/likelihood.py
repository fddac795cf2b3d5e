# SPDX-License-Identifier: GPL-3.0-or-later
"""How likely each `Fading` of a grid makes each series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fading import Fading
from .series import Series
from .wiener import Likelihood

__all__ = [
    "DOPPLERS",
    "FadingGrid",
    "NoiseModel",
    "fitting",
    "likely_noise",
    "noise_model",
    "pooled_doppler",
    "refined",
]

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
        dopplers, lines, shifts: of C candidates.
        values: (S, C).
    """

    dopplers: NDArray[np.float64]
    lines: NDArray[np.float64]
    shifts: NDArray[np.float64]
    values: NDArray[np.float64]

    def fading(self, place: int) -> Fading:
        """One of the candidates."""
        return Fading(*(float(each[place]) for each in (self.dopplers, self.lines, self.shifts)))

    @classmethod
    def scattered(cls, series: Series) -> FadingGrid:
        """Without a line: Dopplers up to half a cycle per step."""
        dopplers = DOPPLERS / np.median(np.diff(series.times))
        columns = [Likelihood(series, float(doppler)).of(0.0) for doppler in dopplers]
        zeros = np.zeros_like(dopplers)
        return cls(dopplers, zeros, zeros, np.concatenate(columns, axis=1))

    @classmethod
    def all(cls, series: Series) -> FadingGrid:
        """Without a line and with one, whose shift is within the Doppler; four times as fine as the times resolve."""
        found = cls.scattered(series)
        dopplers, lines, places, columns = [found.dopplers], [found.lines], [found.shifts], [found.values]
        span = series.times[-1] - series.times[0]
        for doppler in LINE_DOPPLERS / np.median(np.diff(series.times)):
            half = int(np.ceil(4 * doppler * span))
            shifts = doppler * np.arange(-half, half + 1) / half
            likelihood = Likelihood(series, float(doppler), shifts)
            for line in LINES:
                dopplers.append(np.full(len(shifts), doppler))
                lines.append(np.full(len(shifts), line))
                places.append(shifts)
                columns.append(likelihood.of(line))
        return cls(
            np.concatenate(dopplers), np.concatenate(lines), np.concatenate(places), np.concatenate(columns, axis=1)
        )


def fitting(series: Series) -> Series | None:
    """What a fit can use: times at which anything was estimated, and series that were estimated at all of them.

    None where that is not enough.
    """
    some = series.known.any(axis=0)
    if not some.any():
        return None
    left = Series(series.times[some], series.values[:, some], series.noise_var, series.energies)
    left = left.take(left.whole)
    return left if len(left.values) and len(left.times) >= LEAST else None


def pooled_doppler(series: Series) -> float:
    """The Doppler that is the most likely for all series, in cycles per unit of time; 0 where nothing tells."""
    usable = fitting(series)
    if usable is None:
        return 0.0
    grid, weights = FadingGrid.scattered(usable), np.ones(len(usable.values))
    return refined(usable, grid.fading(int(np.argmax(weights @ grid.values))), weights).doppler


@dataclass(frozen=True)
class NoiseModel:
    """How much more noise series have than what is said of it: a factor for all, and a share of each power.

    The share is what errors of phase, timing and gain are: a strong tap has more of them than of noise, and would seem
    to fade fast otherwise.
    """

    factor: float = 1.0
    share: float = 0.0

    def of(self, series: Series) -> Series:
        """The series with that noise."""
        noise_var = self.factor * series.noise_var + self.share * series.powers
        return Series(series.times, series.values, noise_var, series.energies)


def noise_model(series: Series) -> NoiseModel:
    """The one that makes the series the most likely.

    A filter that takes noise for fading extrapolates it. So what is said of the noise of a recording is a lower bound.
    """
    usable = fitting(series)
    if usable is None:
        return NoiseModel()
    factors = [NoiseModel(factor) for factor in NOISE_FACTORS.tolist()]
    best = _likeliest(usable, factors)
    best = _likeliest(usable, [NoiseModel(best.factor, share) for share in POWER_SHARES])
    if best.share:
        best = _likeliest(usable, [NoiseModel(each.factor, best.share) for each in factors])
    return best


def _likeliest(series: Series, models: list[NoiseModel]) -> NoiseModel:
    noisier = [model.of(series) for model in models]
    powers, noise = (np.stack([getattr(one, name) for one in noisier]) for name in ("powers", "noise_var"))
    found = [
        Likelihood(series, float(doppler)).scattered(powers[:, :, None], noise[:, :, None]).sum(axis=1)
        for doppler in DOPPLERS[::4] / np.median(np.diff(series.times))
    ]
    return models[int(np.argmax(np.max(found, axis=0)))]


def likely_noise(series: Series) -> Series:
    """The series with the noise of their `noise_model`."""
    return noise_model(series).of(series)


def refined(series: Series, fading: Fading, weights: NDArray[np.float64]) -> Fading:
    """A `Fading`, made more likely for the weighted series than the grid has it."""
    grid = DOPPLERS / np.median(np.diff(series.times))
    if not fading.line:
        place = int(np.argmin(np.abs(grid - fading.doppler)))
        dopplers = np.linspace(grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)], 9)
        found = [weights @ Likelihood(series, float(doppler)).of(0.0)[:, 0] for doppler in dopplers]
        return Fading(float(dopplers[np.argmax(found)]))
    reach = 0.5 / (series.times[-1] - series.times[0])
    for _ in range(2):
        for zoom in (1, 4, 16):
            shifts = fading.shift + reach / zoom * np.linspace(-1, 1, 9)
            best = int(np.argmax(weights @ Likelihood(series, fading.doppler, shifts).of(fading.line)))
            fading = Fading(fading.doppler, fading.line, float(shifts[best]))
        dopplers = grid[(grid > 0.75 * fading.doppler) & (grid < 1.35 * fading.doppler)]
        choices = [Fading(float(doppler), line, fading.shift) for doppler in dopplers for line in FINE_LINES]
        found = [
            weights @ Likelihood(series, choice.doppler, [choice.shift]).of(choice.line)[:, 0] for choice in choices
        ]
        fading = choices[int(np.argmax(found))]
    return fading
