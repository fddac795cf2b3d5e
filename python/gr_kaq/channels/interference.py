# SPDX-License-Identifier: GPL-3.0-or-later
"""Interference between samples: band noise, tones, adjacent channels and bursts, from one direction or from none.

An *adjacent channel* is band noise whose band lies beyond the receiver's carriers. What of it reaches them is what the
receiver's Fourier transforms let in, whose windows are not matched to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import db, from_db
from .flat import complex_normal

__all__ = ["KINDS", "Interference", "Interferer", "steering_vector"]

KINDS = ("noise", "tone")
POWER_RANGE_DB = (-200.0, 100.0)

# Band noise is a sum of blocks with random spectra, each in a sine window over half of its neighbours. The squares of
# the windows add up to 1. Beside its band, a block falls to -40 dB within 10 of its bins, and to -60 dB within 30.
BLOCK = 4096
HOP = BLOCK // 2
WINDOW = np.sin(np.pi * (np.arange(BLOCK) + 0.5) / BLOCK).astype(np.float32)
NARROWEST = 4 / BLOCK


@dataclass(frozen=True)
class Interferer:
    """Somebody else's signal, as it arrives.

    Args:
        band: its lowest and highest frequency in Hz, from -sample_rate / 2 to sample_rate / 2, at least 1/1024 of
            sample_rate apart.
        power_db: its power at each receive antenna while it is on, in dB, relative to that of an active carrier of one
            stream: white noise of -SNR + 10 log10(num_tx) dB over the whole sample rate is the noise of this SNR.
            Within its band, its density per carrier is greater by sample_rate / (high - low), see `density_db`.
        kind: ``"noise"``, Gaussian and white within the band, or ``"tone"``, a carrier in the middle of the band.
        direction: from where it comes, in degrees from broadside of a line of antennas half a wavelength apart, so
            that its covariance over the antennas has rank 1; None: independent at each antenna, as diffuse noise is.
            (A tone has a random phase at each antenna then.)
        period: of its bursts, in seconds; 0: it is always on.
        duty: which share of a period it is on, above 0; its first burst begins with the first sample.

    Raises:
        ValueError: an argument is out of range, as far as that does not depend on the sample rate.
    """

    band: tuple[float, float]
    power_db: float = 0.0
    kind: str = "noise"
    direction: float | None = None
    period: float = 0.0
    duty: float = 1.0

    def __post_init__(self) -> None:
        if len(self.band) != 2 or not -math.inf < self.band[0] < self.band[1] < math.inf:
            raise ValueError(f"band is {self.band}; its lowest and its highest frequency in Hz expected, apart")
        if not POWER_RANGE_DB[0] <= self.power_db <= POWER_RANGE_DB[1]:
            low, high = POWER_RANGE_DB
            raise ValueError(f"power_db is {self.power_db}; {low:g} to {high:g} expected")
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; one of {', '.join(KINDS)} expected")
        if self.direction is not None and not abs(self.direction) <= 90:
            raise ValueError(f"direction is {self.direction}; None or -90 to 90 degrees expected")
        if not 0 <= self.period < math.inf:
            raise ValueError(f"period is {self.period}; 0 or more seconds expected")
        if not 0 < self.duty <= 1:
            raise ValueError(f"duty is {self.duty}; above 0 and at most 1 expected")

    def density_db(self, sample_rate: float) -> float:
        """Its power on a carrier within its band (noise only), in dB, relative to a carrier of one stream."""
        return self.power_db + float(db(sample_rate / (self.band[1] - self.band[0])))


class Interference:
    """The samples of an `Interferer` at the antennas of a receiver, without an end.

    Args:
        interferer: who.
        num_rx: antennas.
        sample_rate: in Hz.
        seed: the same seed gives the same samples, however many are drawn at once.

    Raises:
        ValueError: the band lies outside of the sample rate or is too narrow for it.
    """

    def __init__(self, interferer: Interferer, num_rx: int, sample_rate: float, seed: int | np.random.SeedSequence = 0):
        self._num_rx, self._sample_rate = num_rx, float(sample_rate)
        self._rng = np.random.Generator(np.random.SFC64(seed))
        self._drawn = 0
        self._interferer: Interferer | None = None
        self.set_interferer(interferer)

    def set_interferer(self, interferer: Interferer) -> None:
        """Make it another, from the next sample on; where only its power differs, its signal goes on.

        Raises:
            ValueError: as the class does; the one before stays.
        """
        low, high = np.array(interferer.band) / self._sample_rate
        if not -0.5 <= low < high <= 0.5:
            half = self._sample_rate / 2
            raise ValueError(f"band is {interferer.band}; within -{half:g} to {half:g} Hz expected")
        if high - low < NARROWEST * (1 - 1e-9):
            raise ValueError(f"band is {interferer.band}; at least {NARROWEST * self._sample_rate:g} Hz wide expected")
        before, self._interferer = self._interferer, interferer
        self._gain = np.float32(math.sqrt(from_db(interferer.power_db)))
        self._signature = (
            None if interferer.direction is None else steering_vector(self._num_rx, interferer.direction)[:, None]
        )
        self._period = interferer.period * self._sample_rate
        self._centre = (low + high) / 2
        bins = np.arange(-BLOCK // 2, BLOCK // 2)
        self._bins = bins[(bins >= BLOCK * low - 1e-6) & (bins < BLOCK * high - 1e-6)]
        if (
            before is None
            or (before.band, before.kind) != (interferer.band, interferer.kind)
            or ((before.direction is None) != (interferer.direction is None))
        ):
            self._begin()

    def draw(self, count: int) -> NDArray[np.complex64]:
        """The next samples, (num_rx, count)."""
        assert self._interferer is not None
        times = self._drawn + np.arange(count)
        if self._interferer.kind == "tone":
            # turns as a fraction first: the phase stays exact however long it goes on
            signal = self._phases * np.exp(2j * np.pi * np.mod(self._centre * times, 1.0)).astype(np.complex64)
        else:
            signal = self._noise(count)
        signal = signal * self._gain if self._signature is None else self._signature * (signal * self._gain)
        if self._period and self._interferer.duty < 1:
            signal *= np.mod(times, self._period) < self._interferer.duty * self._period
        self._drawn += count
        return signal

    def _begin(self) -> None:
        """Begin the signal anew: of each antenna, or the one that all have."""
        rows = self._num_rx if self._signature is None else 1
        self._phases = np.exp(2j * np.pi * self._rng.random((rows, 1))).astype(np.complex64)
        self._ready = np.zeros((rows, 0), np.complex64)
        self._tail = self._block()[:, HOP:]

    def _noise(self, count: int) -> NDArray[np.complex64]:
        parts = [self._ready]
        missing = count - self._ready.shape[1]
        while missing > 0:
            block = self._block()
            parts.append(self._tail + block[:, :HOP])
            self._tail = block[:, HOP:]
            missing -= HOP
        samples = np.concatenate(parts, axis=1)
        self._ready = samples[:, count:]
        return samples[:, :count]

    def _block(self) -> NDArray[np.complex64]:
        """Noise of unit power with a random spectrum within the band, in its window: (rows, BLOCK)."""
        spectrum = np.zeros((len(self._phases), BLOCK), np.complex64)
        values = complex_normal(self._rng, (len(self._bins), len(self._phases))).T
        spectrum[:, self._bins] = np.float32(BLOCK / math.sqrt(len(self._bins))) * values
        return (np.fft.ifft(spectrum) * WINDOW).astype(np.complex64)


def steering_vector(num_rx: int, direction: float) -> NDArray[np.complex64]:
    """Phases (num_rx,) at a line of antennas half a wavelength apart, for a wave so many degrees from broadside."""
    return np.exp(1j * np.pi * math.sin(math.radians(direction)) * np.arange(num_rx)).astype(np.complex64)
