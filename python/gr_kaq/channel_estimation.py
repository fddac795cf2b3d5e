# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimation of one MIMO-OFDM frame (`gr_kaq.frame`): from its training symbols and pilots to H everywhere.

    grid (14, num_rx, num_active) -> observe -> Observation -> interpolator -> centred channel -> Estimate

`observe` divides what was received at the training places by what was sent there (least squares, LS), takes out the
mean delay and the carrier offset that all pairs of antennas share, and estimates the statistics of noise and channel.
What remains is a channel centred at delay 0, which an *interpolator* carries to the whole grid:

    interpolator(observation: Observation) -> NDArray[complex64], (14, num_active, num_rx, num_tx)

`LinearInterpolator(format)` and `WienerInterpolator(format)` are two. A learned one is another: it calls these two on
the observation for its inputs, reads `observation.snr_db`, `.delay_spread` and `.doppler`, and returns the refined grid
in the same shape, centred as they are. It may rely on finite numbers. `ChannelEstimator` then puts the mean delay back,
and has the pilots say by how much each data symbol's phase is off.
"""

from __future__ import annotations

from collections.abc import Callable
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .channel_interpolation import (
    FrequencyWienerInterpolator,
    Interpolator,
    LinearInterpolator,
    WienerInterpolator,
)
from .channel_observation import Observation, observe, observer
from .frame import DATA_SYMBOLS, NUM_SYMBOLS, FrameFormat
from .phase_tracking import track_phase

__all__ = [
    "INTERPOLATORS",
    "ChannelEstimator",
    "DataSymbols",
    "Estimate",
    "FrequencyWienerInterpolator",
    "Interpolator",
    "LinearInterpolator",
    "Observation",
    "WienerInterpolator",
    "observe",
]

INTERPOLATORS: dict[str, Callable[[FrameFormat], Interpolator]] = {
    "ls": LinearInterpolator,
    "lmmse-frequency": FrequencyWienerInterpolator,
    "lmmse": WienerInterpolator,
}

DATA = np.array(DATA_SYMBOLS)
SATURATION = 1e10  # larger samples are errors: a detector would not take their channel
ERROR_RANGE = (0.25, 10.0)


@dataclass(frozen=True)
class Estimate:
    """What is known of a frame's channel. Every number is finite.

        received[t, :, f] = exp(j phase[t]) h[t, f] x[t, :, f] + n,   n ~ CN(0, diag(noise_var))

    Attributes:
        h: complex64 (14, num_active, num_rx, num_tx).
        phase: the common phase of each symbol, in radians, (14,).
        noise_var: noise variance of each antenna's carriers, (num_rx,); 0 for an antenna of zeros.
        error: by how much the errors of h raise the noise on each symbol, as a share of the noise, (14,).
        delay: mean delay in samples.
        carrier_offset: what the synchronizer has left, in cycles per OFDM symbol.
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.
        snr_db: as `gr_kaq.signal_model` defines it, over the whole frame and all antennas that receive anything.
    """

    h: NDArray[np.complex64]
    phase: NDArray[np.float64]
    noise_var: NDArray[np.float64]
    error: NDArray[np.float64]
    delay: float
    carrier_offset: float
    delay_spread: float
    doppler: float
    snr_db: float


@dataclass(frozen=True)
class DataSymbols:
    """What a detector gets: the data carriers with the same noise on all antennas and symbols.

        y = H x + n,   n ~ CN(0, noise_var I)

    Attributes:
        received: complex64 (num_rx, 11, num_data).
        h: complex64 (11, num_data, num_rx, num_tx).
        noise_var: the errors of h included.
        snr_db: as `gr_kaq.signal_model` defines it.
    """

    received: NDArray[np.complex64]
    h: NDArray[np.complex64]
    noise_var: float
    snr_db: float


class ChannelEstimator:
    """Estimates the channel of frames, one at a time.

    Args:
        format: of the frames.
        interpolator: a key of `INTERPOLATORS`: ``"ls"``, ``"lmmse-frequency"`` (linear over time) or ``"lmmse"``
            (two-dimensional); or any other interpolator for this format.

    Raises:
        ValueError: there is no interpolator of this name.
    """

    def __init__(self, format: FrameFormat, interpolator: str | Interpolator = "lmmse"):
        if isinstance(interpolator, str):
            if interpolator not in INTERPOLATORS:
                raise ValueError(f"unknown method {interpolator!r}; one of {', '.join(INTERPOLATORS)} expected")
            interpolator = INTERPOLATORS[interpolator](format)
        self.format = format
        self._observer = observer(format)  # made now, not when the first frame waits for it
        self._interpolator = interpolator
        self._wiener = interpolator if isinstance(interpolator, WienerInterpolator) else WienerInterpolator(format)
        # places in a grid whose symbols and carriers are one axis
        first = format.num_active * DATA[:, None]
        self._pilot_places = (first + format.pilot_indices).reshape(-1)
        self._data_places = (first + format.data_indices).reshape(-1)
        known = format.known_grid.swapaxes(1, 2).reshape(-1, format.num_tx)
        self._pilots = known[self._pilot_places, :, None]  # (11 num_pilots, num_tx, 1)

    def estimate(self, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating]) -> Estimate:
        """The channel of a frame.

        Args:
            grid: received, (14, num_rx, num_active), as `FrameFormat.demodulate` gives it.
            guards: received guard carriers, (14, num_rx, any number).

        NaN, Inf and values beyond 1e10 count as zeros.
        """
        format = self.format
        grid, guards = without_errors(grid), without_errors(guards)
        observation = self._observer(grid, guards)
        h = without_errors(self._interpolator(observation))
        turns = observation.delay / format.fft_size * format.active_carriers
        h *= np.exp(-2j * np.pi * turns).astype(np.complex64)[:, None, None]
        phase = 2 * np.pi * observation.carrier_offset * np.arange(NUM_SYMBOLS)

        num_symbols, num_rx = len(DATA), grid.shape[1]
        scale = _equal_noise(observation.noise_var)
        expected = (_places(h, self._pilot_places) @ self._pilots)[..., 0]  # (11 num_pilots, num_rx)
        expected = np.multiply(expected, scale).reshape(num_symbols, -1)
        received = _places(grid.swapaxes(1, 2), self._pilot_places).reshape(num_symbols, -1, num_rx)
        received = (received * (np.exp(-1j * phase[DATA])[:, None, None] * scale)).reshape(num_symbols, -1)
        turned = track_phase(expected, received)
        phase[DATA] += turned
        received *= np.exp(-1j * turned)[:, None]
        residual = float(np.vdot(received, received).real - 2 * np.vdot(expected, received).real)
        residual += float(np.vdot(expected, expected).real)
        return Estimate(
            h,
            phase,
            observation.noise_var,
            self._error(observation, residual / (received.size // num_rx)),
            observation.delay,
            observation.carrier_offset,
            observation.delay_spread,
            observation.doppler,
            observation.snr_db,
        )

    def _error(self, observation: Observation, residual: float) -> NDArray[np.float64]:
        """`Estimate.error`: the Wiener filter's own estimate of it, as a whole corrected by what the pilots show.

        Args:
            residual: mean square of what the estimate does not explain at the pilots, a sum over antennas.
        """
        error = self._wiener.error_variance(observation) * 10 ** (observation.snr_db / 10)
        noise = observation.noise_var.sum()  # as it is after the scaling, too
        if noise == 0:
            return np.zeros(NUM_SYMBOLS)
        shown = (residual / noise - 1) / (error[DATA].sum() / len(DATA))
        return error * min(max(shown, ERROR_RANGE[0]), ERROR_RANGE[1])

    def data_symbols(self, grid: NDArray[np.complexfloating], estimate: Estimate) -> DataSymbols:
        """The data carriers for a detector: common phases corrected, antennas and symbols scaled to equal noise.

        Args:
            grid: as it was given to `estimate`.
        """
        num_rx, num_tx = estimate.h.shape[2:]
        shape = len(DATA), self.format.num_data
        error = 1 + estimate.error[DATA]
        scale = np.outer(np.sqrt(error.mean() / error), _equal_noise(estimate.noise_var)).astype(np.float32)
        turn = np.exp(-1j * estimate.phase[DATA]).astype(np.complex64)
        received = _places(without_errors(grid).swapaxes(1, 2), self._data_places).reshape(*shape, num_rx)
        received = received.transpose(2, 0, 1) * (scale.T * turn)[..., None]
        h = _places(estimate.h, self._data_places).reshape(*shape, num_rx, num_tx)
        h *= scale[:, None, :, None]
        power = float(np.vdot(h, h).real) / (h.size // num_tx)
        alive = max(np.count_nonzero(estimate.noise_var), 1)
        noise_var = float((estimate.noise_var.sum() / alive or 1.0) * error.mean())
        return DataSymbols(received, h, noise_var, 10 * math.log10(max(power / noise_var, 1e-4)))


def _places(grid: NDArray[np.complex64], places: NDArray[np.int64]) -> NDArray[np.complex64]:
    """Some places of a grid (14, num_active, ...), counted over both axes: (len(places), ...)."""
    return grid.reshape(-1, *grid.shape[2:]).take(places, axis=0)


def _equal_noise(noise_var: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each antenna is multiplied with so that all have the mean noise variance; 0 where nothing is received."""
    alive = noise_var > 0
    if alive.all():
        return np.sqrt(noise_var.sum() / len(noise_var) / noise_var)
    scale = np.zeros(len(noise_var))
    if alive.any():
        scale[alive] = np.sqrt(noise_var[alive].mean() / noise_var[alive])
    return scale


def without_errors(samples: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """`samples`, or a copy with zeros for NaN, Inf and absurd values."""
    values = np.ascontiguousarray(samples)
    parts = np.abs(values.view(values.real.dtype))
    if np.max(parts, initial=0) <= SATURATION:  # False for NaN
        return samples
    good = (parts.reshape(*values.shape, 2) <= SATURATION).all(axis=-1)
    return np.where(good, values, 0)
