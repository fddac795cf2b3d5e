# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the estimates of a channel as they arrive, and says what it will be until the next one comes."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from .carriers import CarrierForecast, carrier_modes, forecast_carriers
from .clusters import Clusters, assigned, find_clusters
from .extrapolation import hold
from .likelihood import likely_noise
from .predictors import forecast_with
from .series import Forecast, Series

__all__ = ["ChannelFollower"]

LEAST = 4  # estimates before there is a forecast
REFIT = 32  # estimates after which modes, clusters and noise are looked for again; sooner at first
POWER_STEP = 4.0  # a mean |h|^2 that changes so much from one estimate to the next is a gain's


class ChannelFollower:
    """Forecasts by `clustered_wiener` from the newest estimates; what takes long is found anew at some of them only.

    Args:
        history: estimates that a forecast is made of, at least 4.

    Raises:
        ValueError: history is below 4.

    Attributes:
        restarts: estimates that do not go on from those before: of an earlier time, with a gain that jumped, or with an
            antenna or a stream that came or went.
    """

    def __init__(self, history: int = 32):
        if history < LEAST:
            raise ValueError(f"history is {history}; at least {LEAST} expected")
        self._past: deque[tuple[float, NDArray[np.complexfloating], float]] = deque(maxlen=history)
        self._count = 0
        self._modes: NDArray[np.complex128] | None = None
        self._clusters: Clusters | None = None
        self._noise: NDArray[np.float64] = np.ones(1)  # of each series, over what is said of it
        self.restarts = 0

    def take(
        self, time: float, h: NDArray[np.complexfloating], error_var: float, horizons: NDArray[np.float64]
    ) -> CarrierForecast | None:
        """Take the next estimate, and forecast; None: too few are known.

        Args:
            time: of the estimate, in any unit.
            h: finite, (num_subcarriers, num_rx, num_tx), of the same shape each time.
            error_var: of an entry; a lower bound.
            horizons: after it, (H,).
        """
        power = float(np.mean(np.abs(h) ** 2))
        if self._past and not _goes_on(*self._past[-1][:2], time, h):
            self._past.clear()
            self._count, self._modes, self.restarts = 0, None, self.restarts + 1
        self._past.append((time, h, max(error_var, 1e-9 * power)))
        self._count += 1
        if len(self._past) < LEAST or not power:
            return None
        times, channels, errors = zip(*self._past, strict=True)
        known = np.stack(channels)
        if self._is_due():
            self._modes = carrier_modes(known)
        return forecast_carriers(times, known, float(np.mean(errors)), horizons, self._predict, self._modes)

    def _is_due(self) -> bool:
        few = not self._count & (self._count - 1)  # a power of two
        return self._modes is None or few or self._count % REFIT == 0

    def _predict(self, series: Series, horizons: NDArray[np.float64]) -> Forecast:
        if self._is_due():
            noisier = likely_noise(series)
            self._noise = noisier.noise_var / series.noise_var
            self._clusters = find_clusters(noisier)
        series = Series(series.times, series.values, series.noise_var * self._noise)
        if self._clusters is None:
            return hold(series, horizons)
        return forecast_with(assigned(series, self._clusters), series, horizons)


def _goes_on(before: float, last: NDArray[np.complexfloating], time: float, h: NDArray[np.complexfloating]) -> bool:
    """Whether this channel can have come of that one, by fading alone."""
    ratio = np.sum(np.abs(h) ** 2) / max(float(np.sum(np.abs(last) ** 2)), 1e-300)
    if time <= before or not 1 / POWER_STEP < ratio < POWER_STEP:
        return False
    return np.array_equal(h.any(axis=0), last.any(axis=0))  # no antenna or stream came or went
