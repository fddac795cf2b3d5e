# SPDX-License-Identifier: GPL-3.0-or-later
"""The predictors by their names, behind one interface: `series.Predictor`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .autoregressive import autoregressive
from .clusters import Clusters, find_clusters
from .extrapolation import hold, linear
from .fading import Fading
from .kalman import kalman
from .likelihood import FadingGrid, fitting, pooled_doppler
from .series import Forecast, Predictor, Series
from .wiener import FadingFilter, known_wiener

__all__ = [
    "PREDICTORS",
    "clustered_wiener",
    "forecast_with",
    "known_doppler",
    "predictor",
    "weights_with",
    "wiener",
    "wiener_each",
]

NEGLIGIBLE = 1e-3  # of a membership


def known_doppler(doppler: float) -> Predictor:
    """Wiener prediction of scattered series whose Doppler is known, in cycles per unit of time."""

    def predict(series: Series, horizons: NDArray[np.float64]) -> Forecast:
        return _filtered(series, horizons, Fading(doppler))

    return predict


def wiener(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """Wiener prediction with one Doppler for all series, the most likely one; held where nothing tells it."""
    if fitting(series) is None:
        return hold(series, horizons)
    return known_doppler(pooled_doppler(series))(series, horizons)


def wiener_each(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """Wiener prediction with a `Fading` of its own for each series, the most likely one; those with gaps are held."""
    forecast = hold(series, horizons)
    places = np.flatnonzero(series.whole)
    usable = fitting(series.take(places)) if len(places) else None
    if usable is None:
        return forecast
    grid = FadingGrid.all(usable)
    best = np.argmax(grid.values, axis=1)
    for choice in np.unique(best):
        own = places[best == choice]
        part = FadingFilter(grid.fading(choice), series.times, horizons)(series.take(own))
        forecast.values[own], forecast.error_var[own] = part.values, part.error_var
    return forecast


def clustered_wiener(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """Wiener prediction with a `Fading` for each cluster of series (`clusters`); held where nothing tells them."""
    clusters = find_clusters(series)
    return hold(series, horizons) if clusters is None else forecast_with(clusters, series, horizons)


def forecast_with(clusters: Clusters, series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """Forecast with clusters that were found before: the mean over those that a series may be of."""
    parts = [_filtered(series, horizons, fading) for fading in clusters.fadings]
    shares = clusters.memberships.T[:, :, None]
    values = sum(share * part.values for share, part in zip(shares, parts, strict=True))
    spreads = [part.error_var + np.abs(part.values - values) ** 2 for part in parts]
    return Forecast(values, sum(share * spread for share, spread in zip(shares, spreads, strict=True)))


def weights_with(
    clusters: Clusters, series: Series, horizons: NDArray[np.float64]
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """What `forecast_with` weighs each estimate with, (S, H, N), and its error variances (S, H); no series has gaps."""
    shape = len(series.values), len(horizons)
    weights, parts = np.zeros((*shape, len(series.times)), np.complex128), []
    for share, fading in zip(clusters.memberships.T, clusters.fadings, strict=True):
        own = np.flatnonzero(share > NEGLIGIBLE)
        part, error_var = FadingFilter(fading, series.times, horizons).weights(series.take(own))
        weights[own] += share[own, None, None] * part
        parts.append((own, share[own, None], part, error_var))
    values, errors = np.einsum("shn,sn->sh", weights, series.values), np.zeros(shape)
    for own, share, part, error_var in parts:
        away = np.einsum("shn,sn->sh", part, series.values[own]) - values[own]
        errors[own] += share * (error_var + np.abs(away) ** 2)
    return weights, errors


def _filtered(series: Series, horizons: NDArray[np.float64], fading: Fading) -> Forecast:
    """Series with gaps each by themselves, the others together; nothing is known where there is not one estimate."""
    shape = len(series.values), len(horizons)
    forecast = Forecast(np.zeros(shape, np.complex128), np.full(shape, np.inf))
    whole, gaps = series.whole, ~series.whole & series.known.any(axis=1)
    if whole.any():
        part = FadingFilter(fading, series.times, horizons)(series.take(whole))
        forecast.values[whole], forecast.error_var[whole] = part.values, part.error_var
    if gaps.any():
        part = known_wiener(series.take(gaps), horizons, fading.correlation)
        forecast.values[gaps], forecast.error_var[gaps] = part.values, part.error_var
    return forecast


PREDICTORS: dict[str, Predictor] = {
    "hold": hold,
    "linear": linear,
    "ar": autoregressive,
    "kalman": kalman,
    "wiener": wiener,
    "wiener-each": wiener_each,
    "cw-wiener": clustered_wiener,
}
"""By the names that `kaq forecast` takes."""


def predictor(name: str) -> Predictor:
    """The predictor of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in PREDICTORS:
        raise ValueError(f"no predictor {name!r}; one of {', '.join(PREDICTORS)} expected")
    return PREDICTORS[name]
