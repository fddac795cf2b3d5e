# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the estimates of a channel as they arrive, and says what it will be until the next one comes.

A forecast is linear in the newest estimates. The weights are made once, and hold until estimates come at other
distances, the noise changes, or the next review. A review renews what is known of the carriers and of powers. Clusters
are found anew less often: when twice as many estimates are known, or when forecasts fail.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .carriers import CarrierForecast, CarrierMemory, modes_of
from .clusters import Clusters, assigned, find_clusters
from .likelihood import NoiseModel, noise_model
from .predictors import weights_with
from .series import Series

__all__ = ["LEAST", "ChannelFollower"]

LEAST = 4  # estimates before there is a forecast
REVIEW = 128  # estimates at most from one review to the next
RENEWAL = 4096  # estimates at most from one search to the next
KEPT = 1 << 22  # weights, about
NOISE_STEP = 1.25  # of the noise variance, until the weights are made again
SURPRISE = 2.0, 10.0  # squared error of all, and of an antenna, over what was expected: perhaps of a gain
SURPRISES = 8  # until a review that is not due yet
POWER_STEP = 4.0  # a mean |h|^2 that changes so much from one estimate to the next is a gain's
GAIN_STEP, COHERENT = 2.0, 0.95  # or |h|^2 of an antenna, whose channels stay so much alike


class _Newest:
    """The newest estimates of S series, oldest first, without moving them at each new one."""

    def __init__(self, num_series: int, length: int):
        self._length, self._count = length, 0
        self._times = np.zeros(2 * length)
        self._values = np.zeros((num_series, 2 * length), np.complex64)  # each twice, `length` apart

    def push(self, time: float, values: NDArray[np.complex64]) -> None:
        place = self._count % self._length
        self._times[place :: self._length] = time
        self._values[:, place :: self._length] = values[:, None]
        self._count += 1

    def _window(self) -> slice:
        end = (self._count - 1) % self._length + self._length + 1
        return slice(end - min(self._count, self._length), end)

    @property
    def times(self) -> NDArray[np.float64]:
        return self._times[self._window()]

    @property
    def values(self) -> NDArray[np.complex64]:
        """(S, N)."""
        return self._values[:, self._window()]


@dataclass(frozen=True, eq=False)
class _Weights:
    """What estimates at certain ages are weighed with.

    Attributes:
        values: (S, H + 1, N); the last horizon is the step between the newest two estimates.
        error_var: mean squared errors that are expected of an entry of h, (H,).
        step: the last horizon.
        expected_of: squared error of the next estimate, if it comes then, of each antenna, (num_rx,).
        expected: the same of all.
    """

    values: NDArray[np.complex64]
    error_var: NDArray[np.float64]
    step: float
    expected_of: NDArray[np.float64]
    expected: float


class ChannelFollower:
    """Forecasts as `clustered_wiener`, from the newest estimates, in a small part of the time.

    Args:
        horizons: after each estimate, (H,), in the unit of its time.
        history: estimates that a forecast is made of, at least 4.

    Raises:
        ValueError: history is below 4.

    Attributes:
        restarts: estimates that do not go on from those before: of an earlier time, with a gain that jumped, or with an
            antenna or a stream that came or went. What was before them is forgotten.
        fault: why the last one of them did not.
    """

    def __init__(self, horizons: ArrayLike, history: int = 32):
        if history < LEAST:
            raise ValueError(f"history is {history}; at least {LEAST} expected")
        self._horizons = np.asarray(horizons, np.float64)
        self._history = history
        self.restarts, self.fault = 0, ""
        self._begin()

    def _begin(self) -> None:
        self._past: deque[tuple[float, NDArray[np.complex64]]] = deque(maxlen=self._history)
        self._count = 0
        self._error_var = self._weighed_error_var = 0.0  # the mean of the newest estimates, and when weights were made
        self._analysis: NDArray[np.complex64] | None = None  # from carriers to modes, (K, F)
        self._clusters: Clusters | None = None
        self._noise = NoiseModel()
        self._reviewed = self._searched = 0  # at which count
        self._changed = 0  # at which count the channel began to fade as it does
        self._coming: tuple[float, NDArray[np.complex64], _Weights] | None = None
        self._memory: CarrierMemory | None = None
        self._surprises = 0  # since the last review: forecasts that erred by more than was to be expected

    def take(self, time: float, h: NDArray[np.complex64], error_var: float) -> CarrierForecast | None:
        """Take the next estimate, and forecast; None: too few are known.

        Args:
            time: of the estimate.
            h: finite, (num_subcarriers, num_rx, num_tx), of the same shape each time.
            error_var: of an entry; a lower bound.
        """
        present = h.any(axis=0)
        seen = self._seen(h)
        if self._past and (fault := self._fault(time, h, present, seen)):
            self._begin()
            self.restarts, self.fault = self.restarts + 1, fault
        self._past.append((time, h))
        self._present = present
        self._count += 1
        self._error_var += (error_var - self._error_var) / len(self._past)
        if len(self._past) < LEAST or not present.any():
            return None
        interval = min(max((self._reviewed - self._changed) // 4, 1), REVIEW)
        if self._count >= self._reviewed + interval or self._is_surprised():
            self._review()
        else:
            self._newest.push(time, seen.ravel())
        return self._forecast(time, h.shape)

    def _seen(self, h: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """What a channel has of each mode, (K, num_rx num_tx); nothing as long as these are not known."""
        return h[:0, 0] if self._analysis is None else np.asarray(self._analysis @ h.reshape(len(h), -1))

    def _fault(
        self, time: float, h: NDArray[np.complex64], present: NDArray[np.bool_], seen: NDArray[np.complex64]
    ) -> str:
        """Why this channel cannot have come of the one before, by fading alone; empty: it can."""
        before, last = self._past[-1]
        if time <= before:
            return f"its time is {time:g}; after {before:g} expected"
        if not np.array_equal(present, self._present):
            return _what_came_or_went(self._present, present)
        if self._coming and self._coming[0] == time:
            _, forecast, weights = self._coming
            away = seen - forecast
            error = float(np.vdot(away, away).real)
            if error < SURPRISE[0] * weights.expected:
                return ""
            self._surprises += 1
            errors = np.sum(np.abs(away).reshape(len(away), len(weights.expected_of), -1) ** 2, axis=(0, 2))
            if (errors < SURPRISE[1] * weights.expected_of).all():
                return ""
        return _gain_that_jumped(last, h)

    def _review(self) -> None:
        """Have modes and powers of all that was seen, and clusters found anew, if that is due."""
        known = np.stack([h for _, h in self._past])
        if self._memory is None:
            self._memory = CarrierMemory(known)
        else:
            self._memory.add(known[-REVIEW:])
        modes = self._memory.modes.astype(np.complex64)
        self._analysis, self._synthesis = modes.conj(), np.ascontiguousarray(modes.T)
        self._newest = _Newest(len(modes) * known[0, 0].size, self._history)
        for (time, _), values in zip(self._past, modes_of(known, modes).T, strict=True):
            self._newest.push(time, values)
        self._weights: dict[bytes, _Weights] = {}  # by the ages of the estimates
        self._reviewed = self._count
        series = self._series(self._memory)
        if self._clusters is not None and not self._is_due():
            self._clusters = assigned(self._noise.of(series), self._clusters)
        else:
            self._noise = noise_model(series)
            self._clusters = find_clusters(self._noise.of(series))
            self._searched = self._count
        self._surprises = 0

    def _is_surprised(self) -> bool:
        """Whether forecasts have often erred by more than was to be expected, though there was time to learn."""
        return self._surprises >= SURPRISES and self._count - self._changed > REVIEW

    def _is_due(self) -> bool:
        """Whether clusters are to be found anew: forecasts have failed, or twice as much is known as when they were."""
        if self._is_surprised():
            self._changed = self._count - LEAST  # what was before will be out of the way soon
            return True
        return self._count - self._searched >= min(self._searched - self._changed, RENEWAL)

    def _series(self, memory: CarrierMemory) -> Series:
        noise = max(memory.noise(self._error_var), 1e-9 * float(memory.energies.mean()))
        return Series(self._newest.times, self._newest.values, noise, memory.energies)

    def _forecast(self, time: float, shape: tuple[int, ...]) -> CarrierForecast | None:
        if self._memory is None or self._clusters is None:
            return None
        least, most = sorted((self._error_var, self._weighed_error_var))
        if most > NOISE_STEP * least or sum(each.values.size for each in self._weights.values()) > KEPT:
            self._weights.clear()
        ages = (self._newest.times - time).tobytes()
        weights = self._weights.get(ages)
        if weights is None:
            weights = self._weigh(self._noise.of(self._series(self._memory)), self._clusters, shape)
            self._weights[ages] = weights
        values = np.matmul(weights.values, self._newest.values[:, :, None])[..., 0].T
        values = values.reshape(len(values), self._synthesis.shape[1], -1)
        self._coming = time + weights.step, values[-1], weights
        h = np.matmul(self._synthesis, values[:-1])
        return CarrierForecast(h.reshape(-1, *shape), weights.error_var)

    def _weigh(self, series: Series, clusters: Clusters, shape: tuple[int, ...]) -> _Weights:
        step = float(series.times[-1] - series.times[-2])
        weights, errors = weights_with(clusters, series, np.append(self._horizons, step))
        expected = (errors[:, -1] + series.noise_var).reshape(-1, *shape[1:]).sum(axis=(0, 2))
        self._weighed_error_var = self._error_var
        error_var = errors[:, :-1].sum(axis=0) / math.prod(shape)
        return _Weights(weights.astype(np.complex64), error_var, step, expected, float(expected.sum()))


def _what_came_or_went(before: NDArray[np.bool_], now: NDArray[np.bool_]) -> str:
    for axis, name in ((1, "antenna"), (0, "stream")):
        one, other = before.any(axis=axis), now.any(axis=axis)
        for number in np.flatnonzero(one != other):
            return f"{name} {number} {'came' if other[number] else 'went'}"
    return "a channel from a stream to an antenna came or went"


def _gain_that_jumped(before: NDArray[np.complex64], now: NDArray[np.complex64]) -> str:
    """Which: all of an antenna grew or shrank at once, and nothing else changed; or the power of all by a lot."""
    one, other = (h.swapaxes(0, 1).reshape(h.shape[1], -1).astype(np.complex128) for h in (before, now))
    energies = np.stack([np.sum(np.abs(each) ** 2, axis=1) for each in (one, other)])  # of each antenna
    alike = np.abs(np.sum(one.conj() * other, axis=1)) ** 2 > COHERENT * energies[0] * energies[1]
    jumped = np.flatnonzero(alike & (energies.max(axis=0) > GAIN_STEP * energies.min(axis=0)))
    if jumped.size:
        step = energies[:, jumped].sum(axis=1)
        name = f"the gain of antenna {', '.join(map(str, jumped))}"
    else:
        step, name = energies.sum(axis=1), "the power of all"
        if step.max() <= POWER_STEP * step.min():
            return ""
    return f"{name} jumped by {10 * np.log10(step[1] / step[0]):.1f} dB"
