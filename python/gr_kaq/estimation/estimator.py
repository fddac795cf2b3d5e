# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimation of one MIMO-OFDM frame: from its training symbols and pilots to H everywhere.

    grid (14, num_rx, num_active) -> observe -> Observation -> interpolator -> centred channel -> Estimate

`observe` divides what was received at the training places by what was sent there (least squares, LS), takes out the
mean delay and the carrier offset that all pairs of antennas share, and estimates the statistics of noise and channel.
What remains is a channel centred at delay 0, which an *interpolator* carries to the whole grid:

    interpolator(observation: Observation) -> NDArray[complex64], (14, num_active, num_rx, num_tx)

`LinearInterpolator(frame_format)` and `WienerInterpolator(frame_format)` are two. A learned one is another: it calls
these two on the observation for its inputs, reads `observation.snr_db`, `.delay_spread` and `.doppler`, and returns the
refined grid in the same shape, centred as they are. It may rely on finite numbers. `ChannelEstimator` then puts the
mean delay back, and has the pilots say by how much each data symbol's phase is off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..frames.frame_format import DATA_SYMBOLS, NUM_SYMBOLS, FrameFormat
from .interpolation import (
    FrequencyWienerInterpolator,
    Interpolator,
    LinearInterpolator,
    WienerInterpolator,
)
from .observation import Observation, observe, observer

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
LEAST_NOISE = 1e-64  # of the noisiest antenna; to scale less to equal noise would leave complex64
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
        snr_db: as `gr_kaq.signals.signal_model` defines it, over the whole frame and all antennas that receive
            anything.
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
        snr_db: as `gr_kaq.signals.signal_model` defines it.
    """

    received: NDArray[np.complex64]
    h: NDArray[np.complex64]
    noise_var: float
    snr_db: float


class ChannelEstimator:
    """Estimates the channel of frames, one at a time.

    Args:
        frame_format: of the frames.
        interpolator: a key of `INTERPOLATORS`: ``"ls"``, ``"lmmse-frequency"`` (linear over time) or ``"lmmse"``
            (two-dimensional); or any other interpolator for this format.

    Raises:
        ValueError: there is no interpolator of this name.

    Attributes:
        frame_format, interpolator: in use.
    """

    def __init__(self, frame_format: FrameFormat, interpolator: str | Interpolator = "lmmse"):
        if isinstance(interpolator, str):
            if interpolator not in INTERPOLATORS:
                raise ValueError(f"unknown method {interpolator!r}; one of {', '.join(INTERPOLATORS)} expected")
            interpolator = INTERPOLATORS[interpolator](frame_format)
        self.frame_format = frame_format
        self._observer = observer(frame_format)  # made now, not when the first frame waits for it
        self.interpolator = interpolator
        self._wiener = (
            interpolator if isinstance(interpolator, WienerInterpolator) else WienerInterpolator(frame_format)
        )
        pilots = frame_format.known_grid[DATA[:, None], :, frame_format.pilot_indices]  # (11, num_pilots, num_tx)
        self._carriers = native.extension().CarrierMap(
            num_symbols=NUM_SYMBOLS,
            num_active=frame_format.num_active,
            symbols=DATA_SYMBOLS,
            pilots=frame_format.pilot_indices.reshape(-1),
            data=frame_format.data_indices.reshape(-1),
            values=pilots.reshape(-1, frame_format.num_tx),
        )
        self._turns = -2j * np.pi / frame_format.fft_size * frame_format.active_carriers

    def estimate(self, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating]) -> Estimate:
        """The channel of a frame.

        Args:
            grid: received, (14, num_rx, num_active), as `FrameFormat.demodulate` gives it.
            guards: received guard carriers, (14, num_rx, any number).

        NaN, Inf and values beyond 1e10 count as zeros.
        """
        grid, guards = without_errors(grid), without_errors(guards)
        observation = self._observer(grid, guards)
        h = without_errors(self.interpolator(observation))
        if not h.flags.writeable:
            h = h.copy()
        phase = 2 * np.pi * observation.carrier_offset * np.arange(NUM_SYMBOLS)
        residual = self._carriers.track_phases(
            grid=grid,
            slope=np.exp(observation.delay * self._turns).astype(np.complex64),
            scale=_equal_noise(observation.noise_var),
            h=h,
            phase=phase,
        )
        return Estimate(
            h,
            phase,
            observation.noise_var,
            self._error(observation, residual),
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
        error = 1 + estimate.error[DATA]
        mean_error = float(error.sum()) / len(DATA)
        scale = np.sqrt(mean_error / error)[:, None] * _equal_noise(estimate.noise_var)
        received, h, power = self._carriers.take_data(
            grid=without_errors(grid), h=estimate.h, phase=estimate.phase, scale=scale.astype(np.float32)
        )
        power /= len(DATA) * self.frame_format.num_data * len(estimate.noise_var)
        alive = max(np.count_nonzero(_alive(estimate.noise_var)), 1)
        noise_var = float((estimate.noise_var.sum() / alive or 1.0) * mean_error)
        return DataSymbols(received, h, noise_var, 10 * math.log10(max(power / noise_var, 1e-4)))


def _equal_noise(noise_var: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each antenna is multiplied with so that all have the mean noise variance; 0 where nothing is received."""
    alive = _alive(noise_var)
    if alive.all():
        return np.sqrt(noise_var.sum() / len(noise_var) / noise_var)
    scale = np.zeros(len(noise_var))
    if alive.any():
        scale[alive] = np.sqrt(noise_var[alive].mean() / noise_var[alive])
    return scale


def _alive(noise_var: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which antennas receive something."""
    return noise_var > LEAST_NOISE * noise_var.max(initial=0)


def without_errors(samples: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    """`samples`, or a copy with zeros for NaN, Inf and absurd values; one after the other in memory."""
    values = samples
    if samples.dtype != np.complex64 or not samples.flags.c_contiguous:
        with np.errstate(over="ignore"):  # what does not fit becomes Inf
            values = np.ascontiguousarray(samples, np.complex64)
    if native.squared_norm(values) <= SATURATION**2:  # False for NaN
        return values
    parts = np.abs(values.view(np.float32))
    good = (parts.reshape(*values.shape, 2) <= SATURATION).all(axis=-1)
    return np.where(good, values, 0)
