# SPDX-License-Identifier: GPL-3.0-or-later
"""What predictors take and give: complex series over time, and forecasts with their error variances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Forecast", "Predictor", "Series"]


@dataclass(frozen=True, eq=False)
class Series:
    """S series that were estimated at N times, the same for all of them.

        values[s, n] = g_s(times[n]) + e,   e ~ CN(0, noise_var[s])

    The unit of time is the caller's. Frequencies are in cycles per that unit.

    Args:
        times: ascending, (N,); need not be regular.
        values: complex (S, N); what is not finite was not estimated.
        noise_var: error variance of the estimates, (S,) or one for all; above 0.
        energies: mean |value|^2 of each series, (S,), where more estimates tell it than these; None: of these.

    Raises:
        ValueError: shapes do not fit, times do not ascend, or a variance is not above 0.
    """

    times: NDArray[np.float64]
    values: NDArray[np.complex128]
    noise_var: NDArray[np.float64]
    energies: NDArray[np.float64] | None

    def __init__(
        self,
        times: ArrayLike,
        values: ArrayLike,
        noise_var: ArrayLike,
        energies: NDArray[np.float64] | None = None,
    ):
        moments = np.asarray(times, np.float64)
        numbers = np.asarray(values, np.complex128)
        variances = np.asarray(noise_var, np.float64)
        if moments.ndim != 1 or not moments.size or numbers.ndim != 2 or numbers.shape[1] != moments.size:
            raise ValueError(f"times are {moments.shape}, values {numbers.shape}; (N,) and (S, N) expected, N >= 1")
        if not (np.isfinite(moments).all() and (np.diff(moments) > 0).all()):
            raise ValueError("times do not ascend; each later than the one before expected")
        if variances.shape not in ((), (len(numbers),)):
            raise ValueError(f"noise_var is {variances.shape}; one, or one for each of {len(numbers)} series expected")
        if not (np.isfinite(variances).all() and (variances > 0).all()):
            raise ValueError("noise_var is not above 0 everywhere; finite and above 0 expected")
        object.__setattr__(self, "times", moments)
        object.__setattr__(self, "values", numbers)
        object.__setattr__(self, "noise_var", np.broadcast_to(variances, (len(numbers),)))
        object.__setattr__(self, "energies", energies)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Where there is an estimate, (S, N)."""
        return np.isfinite(self.values)

    @cached_property
    def filled(self) -> NDArray[np.complex128]:
        """The values, 0 where there is no estimate, (S, N)."""
        return np.where(self.known, self.values, 0)

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """Which series were estimated at all times, (S,)."""
        return self.known.all(axis=1)

    @cached_property
    def powers(self) -> NDArray[np.float64]:
        """Mean |g|^2, as the estimates show it, (S,); at least what N estimates of nothing would leave open."""
        count = np.maximum(self.known.sum(axis=1), 1)
        energies = np.sum(np.abs(self.filled) ** 2, axis=1) / count if self.energies is None else self.energies
        return np.maximum(energies - self.noise_var, self.noise_var / count)

    def take(self, which: NDArray) -> Series:
        """Some of the series: an index or a mask."""
        energies = None if self.energies is None else self.energies[which]
        return Series(self.times, self.values[which], self.noise_var[which], energies)


@dataclass(frozen=True, eq=False)
class Forecast:
    """What g will be.

    Attributes:
        values: complex128 (S, H), at the newest time plus each of H horizons.
        error_var: mean |values - g|^2 that is expected, (S, H).
    """

    values: NDArray[np.complex128]
    error_var: NDArray[np.float64]


Predictor = Callable[[Series, NDArray[np.float64]], Forecast]
"""From series, and horizons (H,) in their unit of time, 0 or more, to a `Forecast`."""
