# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts without a model of fading: the newest estimate, or a line through the newest two.

What they err by is what they would have erred by before: the same rule, applied to every earlier time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .series import Forecast, Series

__all__ = ["hold", "linear"]


def hold(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """The newest estimate. Where there is none at all: 0, with an infinite error variance."""
    return _extrapolate(series, horizons, 0.0)


def linear(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """A line through the two newest estimates."""
    return _extrapolate(series, horizons, 1.0)


def _extrapolate(series: Series, horizons: NDArray[np.float64], slope: float) -> Forecast:
    values, since, slopes, begun = _newest(series)
    slopes *= slope
    forecast = values[:, -1:] + slopes[:, -1:] * (horizons - since[:, -1:])
    return Forecast(forecast, _past_errors(series, horizons, values, since, slopes, begun))


def _newest(series: Series) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """At each time the newest estimate, when it was made (0: at that time), its slope, and whether there is one."""
    known, times = series.known, series.times
    places = np.where(known, np.arange(len(times)), -1)
    newest = np.maximum.accumulate(places, axis=1)
    before = np.concatenate([np.full((len(known), 1), -1), newest[:, :-1]], axis=1)
    before = np.take_along_axis(before, np.maximum(newest, 0), axis=1)  # the one before the newest
    values = np.take_along_axis(series.filled, np.maximum(newest, 0), axis=1)
    earlier = np.take_along_axis(series.filled, np.maximum(before, 0), axis=1)
    passed = times[newest] - times[before]
    two = (newest >= 0) & (before >= 0)
    slopes = np.where(two, values - earlier, 0) / np.where(two, passed, 1)
    return values, np.where(newest >= 0, times[newest] - times, 0), slopes, newest >= 0


def _past_errors(
    series: Series,
    horizons: NDArray[np.float64],
    values: NDArray,
    since: NDArray,
    slopes: NDArray,
    begun: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Error variances (S, H): of all earlier forecasts over about the same time."""
    times = series.times
    step = np.median(np.diff(times)) if len(times) > 1 else 1.0
    lags = times - times[:, None]  # from the row's time to the column's
    worst = np.where(begun[:, -1], 2 * series.powers + series.noise_var, np.inf)
    errors = np.empty((len(values), len(horizons)))
    for place, horizon in enumerate(horizons):
        first, last = np.nonzero(np.abs(lags - horizon) <= 0.5 * step) if horizon else (np.arange(0),) * 2
        told = begun[:, first] & series.known[:, last]
        away = values[:, first] + slopes[:, first] * (lags[first, last] - since[:, first]) - series.filled[:, last]
        count = told.sum(axis=1)
        found = np.sum(np.abs(away) ** 2 * told, axis=1) / np.maximum(count, 1) - series.noise_var
        errors[:, place] = np.where(count > 0, np.maximum(found, series.noise_var), worst)
        if not horizon:
            now = series.known[:, -1]
            errors[now, place] = series.noise_var[now]
    return errors
