# SPDX-License-Identifier: GPL-3.0-or-later
"""From the training symbols' carriers to all carriers and symbols of the frame: linear and Wiener interpolation.

interpolator(observation) -> the centred channel, complex64 (14, num_active, num_rx, num_tx)
"""

from __future__ import annotations

import itertools
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..frames.frame_format import FrameFormat
from .observation import (
    DELAY_MODELS,
    DELAY_SPREADS,
    DIFFUSE,
    DOPPLERS,
    SNR_RANGE_DB,
    SNR_STEP_DB,
    Observation,
    channel_covariance,
)

__all__ = [
    "FrequencyWienerInterpolator",
    "Interpolator",
    "LinearInterpolator",
    "WienerInterpolator",
    "channel_modes",
    "filter_steps",
    "steps_of",
]

Interpolator = Callable[[Observation], NDArray[np.complex64]]

TOLERANCE = 0.1  # of the noise: eigenvalues below do not matter
CACHED_FILTERS = 128


def _between(steps: Sequence[float]) -> list[float]:
    """Where the nearest of ascending steps changes."""
    return [(low + high) / 2 for low, high in itertools.pairwise(steps)]


SPREADS_BETWEEN = {share: _between([spread for spread, a in DELAY_MODELS if a == share]) for share in DIFFUSE}
DOPPLERS_BETWEEN = _between(DOPPLERS.tolist())


class LinearInterpolator:
    """Straight lines between LS estimates: over the carriers of each training symbol, then over the symbols.

    Beyond a stream's first and last training carrier, its first and last value.
    """

    def __init__(self, frame_format: FrameFormat):
        carriers = frame_format.active_carriers.astype(np.float64)
        filters = [
            [_lines(carriers[places], carriers) for places in symbol] for symbol in frame_format.training_indices
        ]
        self._frequency = np.stack(filters).astype(np.complex64)  # (3, num_tx, num_active, P)
        self._time = _lines(frame_format.training_symbols, np.arange(frame_format.num_symbols)).astype(np.float32)

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        return _over_time(self._time, self.at_training_symbols(observation))

    def at_training_symbols(self, observation: Observation) -> NDArray[np.complex64]:
        """The same at the training symbols only, complex64 (3, num_active, num_rx, num_tx)."""
        return _over_carriers(self._frequency, observation.training)


class FrequencyWienerInterpolator:
    """Wiener interpolation over the carriers of each training symbol, straight lines over the symbols."""

    def __init__(self, frame_format: FrameFormat):
        self._frame_format = frame_format
        self._covariance = channel_covariance(frame_format)
        self._time = _lines(frame_format.training_symbols, np.arange(frame_format.num_symbols)).astype(np.float32)
        self._filters = lru_cache(maxsize=CACHED_FILTERS)(self._make_filters)

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        snr_step, delay_step, _ = steps_of(self._frame_format, observation)
        return _over_time(self._time, _over_carriers(self._filters(snr_step, delay_step), observation.training))

    def _make_filters(self, snr_step: int, delay_step: int) -> NDArray[np.complex64]:
        """(3, num_tx, num_active, P)."""
        places = self._frame_format.training_indices
        covariance = self._covariance.frequency(*DELAY_MODELS[delay_step])
        noise = _training_noise(self._frame_format, snr_step) * np.eye(places.shape[-1])
        filters = [
            np.linalg.solve(covariance[np.ix_(p, p)] + noise, covariance[p]).conj().T
            for p in places.reshape(-1, places.shape[-1])
        ]
        return np.stack(filters).reshape(*places.shape[:2], *filters[0].shape).astype(np.complex64)


class WienerInterpolator:
    """Two-dimensional Wiener interpolation (LMMSE) with the covariance of `ChannelCovariance`.

        h = (T kron F) g,  g ~ CN(0, I):   T T^H = covariance over time, F F^H = covariance over frequency
        y = S h + noise:   g = (B^H B + noise_var I)^-1 B^H y,  B = S (T kron F)

    T and F hold the dominant eigenvectors only. So this is the exact two-dimensional filter at a separable one's cost.
    Filters are cached, for statistics on a grid.

    Attributes:
        native: the `WienerFilters` of the kernel.
    """

    def __init__(self, frame_format: FrameFormat):
        self._frame_format = frame_format
        self.native = native.extension().WienerFilters(partial(_make_wiener_filter, frame_format), CACHED_FILTERS)

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        training = np.ascontiguousarray(observation.training.transpose(0, 2, 3, 1))
        return self._filter(observation).interpolate(training)

    def error_variance(self, observation: Observation) -> NDArray[np.float64]:
        """Error variance of an entry of H at each symbol, (14,), relative to the mean |h|^2."""
        return self._filter(observation).error

    def _filter(self, observation: Observation) -> Any:
        return self.native.get(*steps_of(self._frame_format, observation))


def _make_wiener_filter(frame_format: FrameFormat, snr_step: int, delay_model: int, doppler: int) -> Any:
    """Analysis (num_tx, J K, 3 P), T (14, J), F (num_active, K), error variance (14,)."""
    noise = _training_noise(frame_format, snr_step)
    time, frequency = channel_modes(frame_format, snr_step, delay_model, doppler)
    analysis, errors = [], np.zeros(frame_format.num_symbols)
    for stream in range(frame_format.num_tx):
        places = frame_format.training_indices[:, stream]  # (3, P)
        b = np.einsum("sj,spk->spjk", time[list(frame_format.training_symbols)], frequency[places]).reshape(
            places.size, -1
        )
        b_h = b.conj().T
        inverse = np.linalg.inv(b_h @ b + noise * np.eye(b.shape[1]))
        analysis.append(inverse @ b_h)
        # noise * inverse is the covariance of the error of g; only its blocks over time matter to the mean error
        blocks = inverse.reshape(time.shape[1], frequency.shape[1], time.shape[1], frequency.shape[1])
        energies = np.sum(np.abs(frequency) ** 2, axis=0) / len(frequency)
        errors += noise * np.einsum("ti,ikjk,k,tj->t", time, blocks, energies, time).real / frame_format.num_tx
    return native.extension().WienerFilter(
        analysis=np.stack(analysis).astype(np.complex64),
        time=time.astype(np.float32),
        frequency=frequency.astype(np.complex64),
        error=errors,
    )


def filter_steps(
    frame_format: FrameFormat, snr_db: float, delay_spread: float, doppler: float, diffuse: float = 1.0
) -> tuple[int, int, int]:
    """The filter for these statistics, as `Observation` has them: steps of SNR, of `DELAY_MODELS` and of `DOPPLERS`."""
    share = DIFFUSE.index(diffuse) * len(DELAY_SPREADS)
    return (
        round(min(max(snr_db, SNR_RANGE_DB[0]), SNR_RANGE_DB[1]) / SNR_STEP_DB),
        share + bisect(SPREADS_BETWEEN[diffuse], delay_spread / frame_format.fft_size),
        bisect(DOPPLERS_BETWEEN, doppler),
    )


def channel_modes(
    frame_format: FrameFormat, snr_step: int, delay_model: int, doppler: int
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """T (14, J) and F (num_active, K) of a channel of unit power, see `WienerInterpolator`."""
    covariance = channel_covariance(frame_format)
    tolerance = TOLERANCE * _training_noise(frame_format, snr_step)
    return (
        _factor(*np.linalg.eigh(covariance.time(DOPPLERS[doppler])), tolerance),
        _factor(*covariance.frequency_modes(delay_model), tolerance),
    )


def steps_of(frame_format: FrameFormat, observation: Observation) -> tuple[int, int, int]:
    """`filter_steps` of an observation."""
    return filter_steps(
        frame_format, observation.snr_db, observation.delay_spread, observation.doppler, observation.diffuse
    )


def _training_noise(frame_format: FrameFormat, snr_step: int) -> float:
    """Noise variance of an LS estimate, for channels of unit power."""
    return frame_format.num_tx / frame_format.comb / 10 ** (snr_step * SNR_STEP_DB / 10)


def _factor(values: NDArray[np.float64], vectors: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """F with F F^H = covariance, but for eigenvalues below `tolerance`."""
    keep = values > min(tolerance, values[-1] / 2)
    return vectors[:, keep] * np.sqrt(values[keep])


def _over_carriers(filters: NDArray[np.complex64], training: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Filters (3, num_tx, num_active, P) on (3, num_rx, num_tx, P): (3, num_active, num_rx, num_tx)."""
    values = filters @ training.transpose(0, 2, 3, 1)  # (3, num_tx, num_active, num_rx)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1))


def _over_time(filters: NDArray[np.float32], values: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Filters (14, 3) on (3, ...): (14, ...)."""
    h = (filters @ values.reshape(3, -1).view(np.float32)).view(np.complex64)
    return h.reshape(len(filters), *values.shape[1:])


def _lines(known: NDArray | Sequence[int], wanted: NDArray) -> NDArray[np.float64]:
    """The matrix (len(wanted), len(known)) of straight lines between known places."""
    return np.stack([np.interp(wanted, known, unit) for unit in np.eye(len(known))], axis=1)
