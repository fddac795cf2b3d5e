# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames to train and measure estimators on: true channels, and what the receiver's estimators make of them.

A frame passes a delay line at the reference numerology (31.25 kHz) that is constant within an OFDM symbol; what
its change within a symbol adds, interference between carriers, is noise of the mean power (pi Doppler / spacing)^2 / 6
(Robertson and Kaiser, "The effects of Doppler spreads in OFDM(A) mobile radio systems", VTC 1999, for Jakes Doppler).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import complex_normal
from gr_kaq.channels.profiles import delay_line
from gr_kaq.estimation.estimator import LinearInterpolator, Observation, WienerInterpolator, observe
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from gr_kaq.signals.signal_model import from_db

from .config import Data

__all__ = ["SPACING_HZ", "Conditions", "Frame", "FrameSource", "format_of", "interpolators"]

SPACING_HZ = 31250.0
"""Carrier spacing of the reference numerology."""


@dataclass(frozen=True)
class Conditions:
    """Where a frame was received.

    Attributes:
        frame_format: of the frame.
        profile: of the delay line.
        snr_db: mean over the channels' fading, per receive antenna.
        doppler_hz: maximum Doppler shift.
        delay_spread_ns: RMS.
        num_rx: receive antennas.
        band_noise: of a frame with noise in a band of its training symbols, its lowest active carrier, how many there
            are, and its power relative to the signal on all carriers.
    """

    frame_format: FrameFormat
    profile: str
    snr_db: float
    doppler_hz: float
    delay_spread_ns: float
    num_rx: int = 4
    band_noise: tuple[int, int, float] | None = None


@dataclass(frozen=True)
class Frame:
    """One frame: what the receiver observed, and the truth.

    Attributes:
        conditions: that it was drawn for.
        observation: of the receiver.
        channel: the true one, complex64 (14, num_active, num_rx, num_tx), centred as the observation is.
        shift: of the receiver's timing, in cycles per carrier.
        noise_var: of a received carrier, interference included.
    """

    conditions: Conditions
    observation: Observation
    channel: NDArray[np.complex64]
    shift: float
    noise_var: float


class FrameSource:
    """Draws frames.

    Args:
        timing: largest shift of the receiver's timing, in samples at 64 carriers.
        seed: the same seed draws the same frames.
    """

    def __init__(self, timing: float, seed: int):
        self._timing = timing
        self._rng = np.random.default_rng(seed)

    def draw(self, conditions: Conditions) -> Frame:
        """A frame of these conditions; powers are such that a carrier of a pair has mean power 1."""
        frame_format, rng = conditions.frame_format, self._rng
        line = delay_line(
            conditions.num_rx,
            frame_format.num_tx,
            profile=conditions.profile,
            delay_spread=1e-9 * conditions.delay_spread_ns,
            doppler=conditions.doppler_hz,
            seed=int(rng.integers(2**62)),
        )
        times = np.arange(NUM_SYMBOLS) * frame_format.symbol_length / (frame_format.fft_size * SPACING_HZ)
        h = line.frequency_response(times, frame_format.active_carriers * SPACING_HZ)
        shift = rng.uniform(-self._timing, self._timing) / 64
        h = h * np.exp(-2j * np.pi * shift * frame_format.active_carriers)[:, None, None]

        noise_var = frame_format.num_tx / float(from_db(conditions.snr_db))
        interference = frame_format.num_tx * (np.pi * conditions.doppler_hz / SPACING_HZ) ** 2 / 6
        grid = np.zeros((NUM_SYMBOLS, conditions.num_rx, frame_format.num_active), np.complex64)
        for symbol in TRAINING_SYMBOLS:
            grid[symbol] = np.einsum("krt,tk->rk", h[symbol], frame_format.known_grid[symbol])
        grid += (noise_var + interference) ** 0.5 * complex_normal(rng, grid.shape)
        if conditions.band_noise:
            first, count, power = conditions.band_noise
            density = frame_format.num_tx * power * frame_format.num_active / count
            places = np.ix_(TRAINING_SYMBOLS, range(conditions.num_rx), range(first, first + count))
            grid[places] += density**0.5 * complex_normal(rng, grid[places].shape)
        guards = (NUM_SYMBOLS, conditions.num_rx, len(frame_format.guard_carriers))
        observation = observe(frame_format, grid, noise_var**0.5 * complex_normal(rng, guards))
        delay = np.exp(2j * np.pi / frame_format.fft_size * observation.delay * frame_format.active_carriers)
        turning = np.exp(-2j * np.pi * observation.carrier_offset * np.arange(NUM_SYMBOLS))
        centred = h * delay[:, None, None] * turning[:, None, None, None]
        return Frame(conditions, observation, centred.astype(np.complex64), shift, noise_var + interference)

    def random(self, data: Data, frames: int) -> Iterator[Frame]:
        """Frames of random conditions; one in ten of a channel that stands still."""
        rng = self._rng
        for _ in range(frames):
            # interpolators of other formats have other caches: one object per format
            frame_format = format_of(int(rng.choice(data.num_tx)), int(rng.choice(data.fft_sizes)))
            yield self.draw(
                Conditions(
                    frame_format,
                    str(rng.choice(data.profiles)),
                    rng.uniform(*data.snr_db),
                    rng.uniform(*data.doppler_hz) if rng.random() > 0.1 else 0.0,
                    float(np.exp(rng.uniform(*np.log(data.delay_spread_ns)))),
                    int(rng.choice(data.num_rx)),
                    self._band(frame_format, data),
                )
            )

    def _band(self, frame_format: FrameFormat, data: Data) -> tuple[int, int, float] | None:
        rng = self._rng
        if not data.band_noise or rng.random() >= data.band_noise:
            return None
        count = int(rng.integers(2, 14)) * frame_format.num_active // 52
        first = int(rng.integers(0, frame_format.num_active - count + 1))
        return first, count, float(from_db(rng.uniform(*data.band_noise_db)))


@lru_cache
def format_of(num_tx: int, fft_size: int) -> FrameFormat:
    """The frame format with so many streams and carriers, made once."""
    return FrameFormat(num_tx, fft_size)


@lru_cache
def interpolators(frame_format: FrameFormat) -> tuple[LinearInterpolator, WienerInterpolator]:
    """Those of the receiver."""
    return LinearInterpolator(frame_format), WienerInterpolator(frame_format)
