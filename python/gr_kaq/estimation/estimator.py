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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..detection.detector import Detector
from ..frames.frame_format import FrameFormat
from .frame_memory import FrameMemory
from .interpolation import (
    FrequencyWienerInterpolator,
    Interpolator,
    LinearInterpolator,
    WienerInterpolator,
)
from .observation import DELAY_MODELS, DOPPLERS, Arrival, Interference, Observation, observe, observer

__all__ = [
    "INTERPOLATORS",
    "ChannelEstimator",
    "DataSymbols",
    "Estimate",
    "FrameReport",
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
    "lmmse-memory": FrameMemory,
}

SATURATION = 1e10  # larger samples are errors: a detector would not take their channel


@dataclass(frozen=True)
class Estimate:
    """What is known of a frame's channel. Every number is finite.

        received[t, :, f] = exp(j phase[t]) h[t, f] x[t, :, f] + n,   n ~ CN(0, diag(noise_var))

    Where noise is not white, whitening[f] n ~ CN(0, noise_var.mean() I).

    Attributes:
        h: complex64 (14, num_active, num_rx, num_tx).
        phase: the common phase of each symbol, in radians, (14,).
        noise_var: noise variance of each antenna's carriers, (num_rx,); 0 for an antenna of zeros. Interference on
            single carriers does not count.
        error: by how much the errors of h raise the noise on each symbol, as a share of the noise, (14,).
        delay: mean delay in samples.
        carrier_offset: what the synchronizer has left, in cycles per OFDM symbol.
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.
        snr_db: as `gr_kaq.signals.signal_model` defines it, over the whole frame and all antennas that receive
            anything; after whitening.
        whitening, interference: as in `Observation`.
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
    whitening: NDArray[np.complex64] | None = None
    interference: Interference | None = None


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

    def llrs(self, frame_format: FrameFormat, detector: Detector) -> NDArray[np.float32]:
        """LLRs of the frame's coded bits, (coded_bits,), each data carrier detected with its own channel."""
        received = np.ascontiguousarray(self.received.transpose(1, 2, 0)).reshape(-1, 1, len(self.received))
        h = self.h.reshape(-1, *self.h.shape[2:])
        return frame_format.collect_llrs(detector.prepare(h, noise_var=self.noise_var).detect(received).llrs)


class FrameReport(NamedTuple):
    """What is said of a frame; the attributes are those of `Estimate`, and those of the data of `DataSymbols`."""

    noise_var: float  # the mean over the antennas
    snr_db: float
    delay_spread: float
    doppler: float
    carrier_offset: float
    delay: float
    data_noise_var: float
    data_snr_db: float
    interference: Interference | None
    is_forecast: bool = False


class ChannelEstimator:
    """Estimates the channel of frames: one at a time, or many from their Fourier transforms to what a detector gets.

    Args:
        frame_format: of the frames.
        interpolator: a key of `INTERPOLATORS`: ``"ls"``, ``"lmmse-frequency"`` (linear over time), ``"lmmse"``
            (two-dimensional) or ``"lmmse-memory"`` (over the last frames, too); or any other interpolator for this
            format.
        whitens: whether interference is searched for, and noise that is not white whitened. Otherwise all of it is
            taken to be white.

    Raises:
        ValueError: there is no interpolator of this name.

    Attributes:
        frame_format, interpolator: in use.
    """

    def __init__(self, frame_format: FrameFormat, interpolator: str | Interpolator = "lmmse", *, whitens: bool = True):
        if isinstance(interpolator, str):
            if interpolator not in INTERPOLATORS:
                raise ValueError(f"unknown method {interpolator!r}; one of {', '.join(INTERPOLATORS)} expected")
            interpolator = INTERPOLATORS[interpolator](frame_format)
        self.frame_format = frame_format
        self._observer = observer(frame_format)  # made now, not when the first frame waits for it
        self.interpolator = interpolator
        self._errors: FrameMemory | WienerInterpolator = (
            interpolator
            if isinstance(interpolator, FrameMemory | WienerInterpolator)
            else WienerInterpolator(frame_format)
        )
        symbols = np.array(frame_format.data_symbols)[:, None]
        pilots = frame_format.known_grid[symbols, :, frame_format.pilot_indices]  # (11, num_pilots, num_tx)
        self._carriers = native.extension().CarrierMap(
            num_symbols=frame_format.num_symbols,
            num_active=frame_format.num_active,
            symbols=frame_format.data_symbols,
            pilots=frame_format.pilot_indices.reshape(-1),
            data=frame_format.data_indices.reshape(-1),
            values=pilots.reshape(-1, frame_format.num_tx),
        )
        self._native: tuple[int, Any] | None = None  # for so many antennas
        self._noise = self._observer.track() if whitens else None
        self._turns = -2j * np.pi / frame_format.fft_size * frame_format.active_carriers

    def forget_noise(self) -> None:
        """Have `estimate` know nothing of interference in the frames before."""
        if self._noise is not None:
            self._noise = self._observer.track()

    def estimate(
        self,
        grid: NDArray[np.complexfloating],
        guards: NDArray[np.complexfloating],
        arrival: Arrival | None = None,
    ) -> Estimate:
        """The channel of a frame.

        Args:
            grid: received, (14, num_rx, num_active), as `FrameFormat.demodulate` gives it.
            guards: received guard carriers, (14, num_rx, any number).
            arrival: when it came, for an interpolator that remembers.

        NaN, Inf and values beyond 1e10 count as zeros.
        """
        grid, guards = without_errors(grid), without_errors(guards)
        return self._estimate(grid, replace(self._observer(grid, guards, self._noise), arrival=arrival))

    def _estimate(self, grid: NDArray[np.complex64], observation: Observation) -> Estimate:
        h = without_errors(self.interpolator(observation))
        if not h.flags.writeable:
            h = h.copy()
        phase = 2 * np.pi * observation.carrier_offset * np.arange(self.frame_format.num_symbols)
        slope = np.exp(observation.delay * self._turns).astype(np.complex64)
        received, channel, noise_var = _whitened(observation, grid, h)
        error = self._carriers.track_phases(
            grid=received,
            slope=slope,
            noise_var=noise_var,
            snr=10 ** (observation.snr_db / 10),
            error=self._errors.error_variance(observation),  # whosever it is: the pilots correct it
            h=channel,
            phase=phase,
        )
        if channel is not h:
            h = h * slope[:, None, None]
        return Estimate(
            h,
            phase,
            observation.noise_var,
            error,
            observation.delay,
            observation.carrier_offset,
            observation.delay_spread,
            observation.doppler,
            observation.snr_db,
            observation.whitening,
            observation.interference,
        )

    def data_symbols(self, grid: NDArray[np.complexfloating], estimate: Estimate) -> DataSymbols:
        """The data carriers for a detector: common phases corrected, antennas, carriers and symbols whitened.

        Args:
            grid: as it was given to `estimate`.
        """
        return self._data_symbols(without_errors(grid), estimate)

    def _data_symbols(self, grid: NDArray[np.complex64], estimate: Estimate) -> DataSymbols:
        received, h, noise_var = _whitened(estimate, grid, estimate.h)
        return DataSymbols(
            *self._carriers.take_data(
                grid=received, h=h, phase=estimate.phase, noise_var=noise_var, error=estimate.error
            )
        )

    def estimate_frames(
        self,
        transforms: Sequence[NDArray[np.complex64]],
        starts: Sequence[int],
        received: Sequence[NDArray[np.complex64]],
        channels: Sequence[NDArray[np.complex64]],
        magnitudes: NDArray[np.float32] | None = None,
        arrivals: Sequence[Arrival | None] | None = None,
        looks: Sequence[bool] | None = None,
    ) -> list[FrameReport]:
        """What `estimate` and `data_symbols` do, for many frames and into memory that is there.

        With the interpolators ``"lmmse"`` and ``"lmmse-memory"`` next to nothing of it is Python, and other threads run
        meanwhile.

        Args:
            transforms: for each antenna (items, fft_size), carrier 0 in the middle.
            starts: items at which frames begin, 14 items each.
            received: for each antenna (items, data_per_stream), an item for each frame.
            channels: for each frame, data_per_stream * num_rx * num_tx values: the channel of each data carrier.
            magnitudes: |h| in dB in the middle of each frame, (items, num_rx * num_tx * num_active), antennas
                outermost; or None.
            arrivals: when each frame came, as far as that is known, for an interpolator that remembers.
            looks: whether to look at the training of each frame; None: of all. Otherwise ``"lmmse-memory"`` forecasts
                the channel from the frames before, as far as they say it, and pilots say phase and timing.
        """
        frame_format = self.frame_format
        kernel = self._frame_estimator(len(transforms))
        if self._errors is self.interpolator:  # it is native
            estimates = kernel.estimate_frames(
                transforms=transforms,
                starts=starts,
                arrivals=arrivals,
                looks=looks,
                received=received,
                channels=channels,
                magnitudes=magnitudes,
            )
            size = frame_format.fft_size
            return [
                FrameReport(
                    noise_var,
                    snr_db,
                    DELAY_MODELS[delay_model][0] * size,
                    float(DOPPLERS[doppler]),
                    offset,
                    delay * size,
                    data_noise_var,
                    data_snr_db,
                    interference and Interference(*interference),
                    is_forecast,
                )
                for (
                    noise_var,
                    snr_db,
                    delay_model,
                    doppler,
                    offset,
                    delay,
                    data_noise_var,
                    data_snr_db,
                    interference,
                    is_forecast,
                ) in estimates
            ]
        reports = []
        num_guards = frame_format.num_symbols * len(frame_format.guard_carriers)
        for item, start in enumerate(starts):
            grid, guards = kernel.collect_grid(transforms, start)
            with np.errstate(all="ignore"):  # an interpolator may leave the range
                observation = self._observer.observe(grid, guards, num_guards, self._noise)
                if arrivals:
                    observation = replace(observation, arrival=arrivals[item])
                estimate = self._estimate(grid, observation)
            data = self._data_symbols(grid, estimate)
            for antenna, values in zip(received, data.received, strict=True):
                antenna[item] = values.reshape(-1)
            channels[item][:] = data.h.reshape(-1)
            if magnitudes is not None:
                of_pairs = np.abs(estimate.h[frame_format.num_symbols // 2]).transpose(1, 2, 0)
                magnitudes[item] = 20 * np.log10(np.maximum(of_pairs, 1e-10)).reshape(-1)
            reports.append(
                FrameReport(
                    float(estimate.noise_var.mean()),
                    estimate.snr_db,
                    estimate.delay_spread,
                    estimate.doppler,
                    estimate.carrier_offset,
                    estimate.delay,
                    data.noise_var,
                    data.snr_db,
                    estimate.interference,
                )
            )
        return reports

    def _frame_estimator(self, num_rx: int) -> Any:
        """The `FrameEstimator` of the kernel for so many antennas."""
        if self._native is None or self._native[0] != num_rx:
            frame_format, middle = self.frame_format, self.frame_format.fft_size // 2
            self._native = (
                num_rx,
                native.extension().FrameEstimator(
                    observer=self._observer.native,
                    interpolator=self._errors.native,
                    fft_size=frame_format.fft_size,
                    active=frame_format.active_carriers + middle,
                    guards=frame_format.guard_carriers + middle,
                    numbers=frame_format.active_carriers,
                    correction=frame_format.advance_correction,
                    carriers=self._carriers,
                    num_rx=num_rx,
                    whitens=self._noise is not None,
                ),
            )
        return self._native[1]


def _whitened(
    of: Observation | Estimate, grid: NDArray[np.complex64], h: NDArray[np.complex64]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64], NDArray[np.float64]]:
    """Grid and channel after whitening, and the noise variance that antennas then have."""
    if of.whitening is None:
        return grid, h, of.noise_var
    alive = of.noise_var > 0
    received = np.ascontiguousarray((of.whitening @ grid.T).T)
    return received, of.whitening @ h, np.where(alive, of.noise_var[alive].mean() if alive.any() else 0, 0)


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
