# SPDX-License-Identifier: GPL-3.0-or-later
"""Autoregressive prediction: each series has coefficients of its own, from the Yule-Walker equations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .extrapolation import hold
from .series import Forecast, Series

__all__ = ["autoregressive"]

ORDER = 4
LOADING = 1e-4  # of the power, so that a series without noise has a solution
REGULAR = 0.1  # of a step: how far a time may lie beside the grid


def autoregressive(series: Series, horizons: NDArray[np.float64]) -> Forecast:
    """x[n] = sum over i of a_i x[n - i] + innovation, order 4, iterated up to each horizon.

    The correlations are sums over what there is, over the number of all estimates. So no iteration grows without
    end; but slow fading seems faster than it is, and the error variance too large.

    Between steps, what is forecast is on a line. A series is held where times are not regular, where one of the newest
    four estimates is missing, and where there are fewer than twice as many.
    """
    held = hold(series, horizons)
    grid = _on_grid(series)
    if grid is None:
        return held
    step, values = grid
    known = np.isfinite(values)
    usable = known[:, -ORDER:].all(axis=1) & (known.sum(axis=1) >= 2 * ORDER)
    if values.shape[1] < 2 * ORDER or not usable.any():
        return held
    filled, count = np.where(known, values, 0)[usable], known[usable].sum(axis=1)
    lags = [np.sum(filled[:, k:] * filled[:, : filled.shape[1] - k].conj(), axis=1) / count for k in range(ORDER + 1)]
    correlations = np.stack(lags, axis=1)  # (S, ORDER + 1)
    away = np.arange(ORDER)[:, None] - np.arange(ORDER)
    matrix = np.where(away >= 0, correlations[:, np.abs(away)], correlations[:, np.abs(away)].conj())
    matrix = matrix + LOADING * correlations[:, :1, None] * np.eye(ORDER)
    weights = np.linalg.solve(matrix, correlations[:, 1:, None])[..., 0]
    innovation = (correlations[:, 0] - np.sum(weights * correlations[:, 1:].conj(), axis=1)).real

    most = int(np.ceil(horizons.max(initial=0) / step))
    recent = [filled[:, -1 - i] for i in range(ORDER)]
    responses = [np.zeros(len(filled), complex)] * (ORDER - 1) + [np.ones(len(filled), complex)]
    steps, errors = [recent[0]], [np.maximum(series.noise_var[usable], 0)]
    spread = np.zeros(len(filled))
    for _ in range(most):
        following = sum(weights[:, i] * recent[i] for i in range(ORDER))
        recent = [following, *recent[:-1]]
        spread = spread + np.abs(responses[-1]) ** 2 * np.maximum(innovation, 0)
        responses.append(sum(weights[:, i] * responses[-1 - i] for i in range(ORDER)))
        steps.append(following)
        errors.append(np.maximum(spread - series.noise_var[usable], 1e-3 * series.noise_var[usable]))
    at = horizons / step
    low = np.minimum(np.floor(at).astype(int), max(most - 1, 0))
    share = at - low
    result, variance = held.values.copy(), held.error_var.copy()
    for array, parts in ((result, np.stack(steps, axis=1)), (variance, np.stack(errors, axis=1))):
        high = np.minimum(low + 1, most)
        array[usable] = parts[:, low] * (1 - share) + parts[:, high] * share
    return Forecast(result, variance)


def _on_grid(series: Series) -> tuple[float, NDArray[np.complex128]] | None:
    """The step, and the values at multiples of it, NaN in between; None where times are not regular."""
    times = series.times - series.times[0]
    if len(times) < 2:
        return None
    step = float(np.median(np.diff(times)))
    places = np.rint(times / step).astype(np.int64)
    if np.max(np.abs(times - places * step)) > REGULAR * step or places[-1] > 16 * len(times):
        return None
    values = np.full((len(series.values), places[-1] + 1), np.nan, np.complex128)
    values[:, places] = series.values
    return step, values
