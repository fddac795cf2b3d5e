# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiener prediction: the least mean squared error that is possible with a known correlation, for Gaussian series.

    forecast = r^H (R + noise / power I)^-1 x        error variance = power (1 - r^H (R + noise / power I)^-1 r)

`known_wiener` is that formula, for any correlation, and for series with gaps. `FadingFilter` is the same for one
`Fading`, with the eigenvectors of its scattered part, so that series of any power and noise share the work; the line
is one more vector.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimation.observation import j0
from .fading import Fading
from .series import Forecast, Series

__all__ = ["FadingFilter", "Likelihood", "known_wiener", "log_likelihoods", "wiener_error"]

Correlation = Callable[[NDArray[np.float64]], NDArray[np.complexfloating]]
"""From lags (...) to correlations (S, ...) or (...)."""

UNKNOWN = 1e12  # noise of what was not estimated, over the power


def known_wiener(
    series: Series, horizons: ArrayLike, correlation: Correlation, powers: NDArray[np.float64] | None = None
) -> Forecast:
    """Forecast with a correlation that is known.

    Args:
        series: what was estimated.
        horizons: (H,).
        correlation: of each series, or of all.
        powers: of the series, (S,), above 0; None: as `Series.powers` has it.
    """
    powers = series.powers if powers is None else powers
    covariance, across = _covariances(series, np.asarray(horizons, np.float64), correlation, powers)
    filters = np.linalg.solve(covariance, across)  # (S, N, H)
    values = np.einsum("snh,sn->sh", filters.conj(), series.filled)
    error = 1 - np.einsum("snh,snh->sh", filters.conj(), across).real
    return Forecast(values, powers[:, None] * np.clip(error, 0, 1))


def wiener_error(times: ArrayLike, horizons: ArrayLike, correlation: Correlation, noise: float) -> NDArray[np.float64]:
    """The bound: error variance (H,) over the power, with that noise over the power. No data is needed."""
    moments = np.asarray(times, np.float64)
    one = Series(moments, np.zeros((1, moments.size)), noise)
    return known_wiener(one, horizons, correlation, np.ones(1)).error_var[0]


def log_likelihoods(series: Series, fading: Fading) -> NDArray[np.float64]:
    """How likely each series is, (S,), with its gaps; `FadingFilter` is faster without."""
    covariance, _ = _covariances(series, np.zeros(1), fading.correlation, series.powers)
    scale = series.powers
    explained = np.linalg.solve(covariance, series.filled[..., None])[..., 0]
    quadratic = np.sum((series.filled.conj() * explained).real, axis=1) / scale
    gaps = (~series.known).sum(axis=1) * np.log(UNKNOWN)
    return -quadratic - np.linalg.slogdet(covariance)[1] + gaps - series.known.sum(axis=1) * np.log(scale)


def _covariances(
    series: Series, horizons: NDArray[np.float64], correlation: Correlation, powers: NDArray[np.float64]
) -> tuple[NDArray, NDArray]:
    """Of the estimates over the power, (S, N, N), and between them and what is to come, (S, N, H)."""
    times = series.times - series.times[-1]
    noise = series.noise_var / powers
    diagonal = np.where(series.known, noise[:, None], UNKNOWN)
    covariance = np.broadcast_to(correlation(times[:, None] - times), (len(powers), len(times), len(times))).copy()
    covariance[:, range(len(times)), range(len(times))] += diagonal
    across = correlation(times[:, None] - horizons)
    return covariance, np.broadcast_to(across, (len(powers), *across.shape[-2:]))


@lru_cache(maxsize=1024)
def _scattered(doppler: float, ages: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (N,) and eigenvectors (N, N) of what is scattered, at these ages."""
    times = np.frombuffer(ages)
    values, vectors = np.linalg.eigh(j0(2 * np.pi * doppler * (times[:, None] - times)))
    return np.maximum(values, 0), vectors


def _energy(values: NDArray) -> NDArray[np.float64]:
    """|values|^2, a root faster than by np.abs."""
    return np.asarray(values.real**2 + values.imag**2, np.float64)


class Likelihood:
    """Series without gaps in the eigenvectors of one Doppler: how likely they are, with or without a line.

    Args:
        series: all of them `Series.whole`.
        doppler: of what is scattered.
        shifts: of W lines that are compared.
    """

    def __init__(self, series: Series, doppler: float, shifts: ArrayLike = ()):
        times = series.times - series.times[-1]
        self._values, vectors = _scattered(doppler, times.tobytes())
        self._turned = series.filled @ vectors  # (S, N)
        self._energies = _energy(self._turned)
        self._powers, self._noise = series.powers[:, None], series.noise_var[:, None]
        shifts = np.asarray(shifts, np.float64)
        self._waves = np.exp(2j * np.pi * np.outer(shifts, times)) @ vectors if shifts.size else None  # (W, N)

    def scattered(self, powers: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-likelihoods without a line (..., S), if the series had these powers and noise (..., S, 1)."""
        return self._found(powers * self._values + noise)

    def of(self, line: float) -> NDArray[np.float64]:
        """Log-likelihoods, (S, W) for the shifts of the line; (S, 1) where `line` is 0."""
        variances = self._powers * (1 - line) * self._values + self._noise
        found = self._found(variances)[:, None]
        if not line or self._waves is None:
            return found
        seen = (self._turned / variances) @ self._waves.conj().T
        gain = self._powers * line
        room = 1 + gain * ((1 / variances) @ _energy(self._waves).T)
        return found + gain * _energy(seen) / room - np.log(room)

    def _found(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.sum(self._energies / variances + np.log(variances), axis=-1)


class FadingFilter:
    """Wiener prediction of series without gaps, for one `Fading`.

    Args:
        fading: of all the series.
        times: of their estimates, (N,).
        horizons: (H,).
    """

    def __init__(self, fading: Fading, times: NDArray[np.float64], horizons: ArrayLike):
        ages = times - times[-1]
        ahead = np.asarray(horizons, np.float64)
        self._line = fading.line
        self._values, self._vectors = _scattered(fading.doppler, ages.tobytes())
        self._wave = np.exp(2j * np.pi * fading.shift * ages) @ self._vectors  # (N,)
        across = fading.correlation(ages[:, None] - ahead)  # (N, H)
        self._across = across.T @ self._vectors  # (H, N)

    def __call__(self, series: Series) -> Forecast:
        """Forecast series that were estimated at these times."""
        gains, error_var = self._gains(series)
        return Forecast(np.einsum("shn,sn->sh", gains, series.filled @ self._vectors), error_var)

    def weights(self, series: Series) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """What the forecasts weigh each estimate with, (S, H, N), and their error variances (S, H).

        Series of the same powers and noise have the same weights.
        """
        gains, error_var = self._gains(series)
        return gains @ self._vectors.T, error_var

    def _gains(self, series: Series) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """`weights` of the eigenvectors."""
        powers, noise = series.powers[:, None], series.noise_var[:, None]
        variances = powers * (1 - self._line) * self._values + noise  # (S, N)
        across: NDArray[np.complex128] = self._across.conj()  # (H, N), or (S, H, N)
        explained = (1 / variances) @ (np.abs(across) ** 2).T  # (S, H)
        if self._line:
            gain = powers * self._line
            room = 1 + gain * ((1 / variances) @ _energy(self._wave))[:, None]
            met = (1 / variances) @ (across * self._wave).T  # (S, H): r^H A^-1 a
            across = across - (gain / room * met)[:, :, None] * self._wave.conj()
            explained = explained - gain / room * _energy(met)
        gains = across * (powers / variances)[:, None, :]
        return gains, powers * np.clip(1 - powers * explained, 0, 1)
