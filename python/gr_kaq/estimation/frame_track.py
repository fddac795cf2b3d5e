# SPDX-License-Identifier: GPL-3.0-or-later
"""A channel followed from frame to frame.

    z[n, s, k] = g[k](t[n, s]) + e,   E g(t) conj g(u) = r_stream(t - u),   e ~ CN(0, noise[k]),   h = frequency g

z are the modes (`DelayModes`) of frame n at its training symbol s, in the phase and timing of the track:

1. The carrier offset comes from an `OscillatorTrack`. What a frame itself says of it is too rough: at 5 dB it is 200 Hz
   off, one turn in 5 ms.
2. What the frames before predict is compared with what came. That says phase and timing of the frame as a whole.
3. If a stream or an antenna is not as predicted, the frames before are forgotten. If offset or noise are not, so are
   the statistics: the track is lost.
4. Power delay profile (`ProfileFit`) and the Doppler of each stream (`DopplerTrack`) are those of all frames so far.
5. A Wiener filter over time for each mode and stream takes the frames together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..frames.frame_format import NUM_SYMBOLS, FrameFormat
from .alignment import align
from .delay_profile import profile_fit
from .doppler_track import DopplerTrack
from .observation import TRAINING, Arrival, Observation
from .oscillator_track import OscillatorTrack, offset_variance
from .time_filters import time_filters

__all__ = ["FrameTrack", "Placed", "Track"]

MAX_AGE = 4000.0  # symbols, 160 ms at the reference numerology: what is older says nothing
FIRST_STEPS, MORE_STEPS = 10, 2  # of the profile's fit
REFIT = 16  # frames from one fit to the next; sooner while there are few
PROFILE_FRAMES, NOISE_FRAMES = 32, 16  # that means are taken over, about
MAX_NOISE_RATIO = 2.5  # of a frame's noise variance to the track's, either way
LEAST_NOISE = 1e-30  # of that of the noisiest antenna
# Squared deviation from what was predicted, over what was expected of it: by how much it may exceed 1 for one pair of
# antennas; for a mean over some, by as much less as it varies less
MAX_SURPRISE = 3.0
LAST = len(TRAINING) - 1
WITHIN = float(TRAINING[LAST] - TRAINING[0])

SYMBOLS = tuple(float(symbol) for symbol in range(NUM_SYMBOLS))
TRAINED = tuple(float(symbol) for symbol in TRAINING)


@dataclass(frozen=True)
class Track:
    """What is known of the channel from frame to frame.

    Attributes:
        frames: that the newest estimate is made of.
        carrier_offset: in cycles per sample, as the radio received it.
        delay: of the channel against the newest frame's start, in samples.
        dopplers: of each stream's strongest part, in cycles per OFDM symbol, (num_tx,).
    """

    frames: int
    carrier_offset: float
    delay: float
    dopplers: NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """A frame in the phase and timing of a track, and how it came:

        observed training = training exp(1j (phase + 2 pi offset symbol - 2 pi delay carrier))

    Attributes:
        time: of its start, in symbols.
        training: LS estimates, complex64 (3, num_rx, num_tx, P).
        phase: in radians.
        offset: in cycles per symbol.
        delay: in cycles per carrier.
    """

    time: float
    training: NDArray[np.complex64]
    phase: float = 0.0
    offset: float = 0.0
    delay: float = 0.0


class FrameTrack:
    """Begins with one frame: `begin`, then `estimate`; for each later one `place`, then `estimate`.

    Args:
        frame_format: of the frames.
        frames: that an estimate is made of at most, 1 or more.
        observation: of the first frame; an antenna receives something.

    Attributes:
        surprised: whether an antenna or a stream of the last frame was not as predicted, so that the frames before it
            are forgotten; what is known of the statistics stays.
    """

    def __init__(self, frame_format: FrameFormat, frames: int, observation: Observation):
        self._symbol, self._fft_size, self._num_tx = (
            frame_format.symbol_length,
            frame_format.fft_size,
            frame_format.num_tx,
        )
        self._carriers = frame_format.active_carriers
        self._trained = self._carriers[frame_format.training_indices]  # (3, num_tx, P)
        # from a frame's start to the middle of symbol 0's window, in symbols
        middle = frame_format.preamble_length + frame_format.cp_length - frame_format.timing_advance
        self._lead = (middle + frame_format.fft_size / 2) / self._symbol
        self._fit = profile_fit(frame_format)
        self._noise = 1 / frame_format.comb  # of an LS estimate, where that of a carrier is 1
        self._past: deque[Placed] = deque(maxlen=frames - 1)
        self._values: deque[NDArray[np.complex64]] = deque(maxlen=frames - 1)  # their modes
        self._count = self._used = 0
        self._delay = 0.0
        self._take_noise(observation.noise_var)
        self._doppler = DopplerTrack(self._num_tx, observation.doppler)
        self.surprised = False

    def state(self) -> Track:
        """What is known at the last frame."""
        return Track(self._used, self._oscillators.offset / self._symbol, self._delay, self._doppler.dopplers[:, 0])

    def is_old(self, arrival: Arrival) -> bool:
        """Whether this frame comes so late that all others are forgotten."""
        return arrival.sample / self._symbol - self._time > MAX_AGE

    # Where a frame is

    def begin(self, observation: Observation) -> Placed:
        """The first frame, in its own phase and timing."""
        arrival = observation.arrival or Arrival(0, 0.0)
        self._time = arrival.sample / self._symbol
        offset = arrival.carrier_offset * self._symbol + observation.carrier_offset
        phase = -2 * np.pi * observation.carrier_offset * self._lead
        self._oscillators = OscillatorTrack(self._time, phase, offset, _offset_variance(observation))
        return Placed(self._time, observation.training)

    def place(self, observation: Observation, arrival: Arrival) -> Placed | None:
        """A later frame; None: it does not fit to those before, and the track is of no use any more."""
        time, taken = arrival.sample / self._symbol, arrival.carrier_offset * self._symbol
        if time <= self._time or not self._is_usual(observation.noise_var):
            return None
        self._time = time
        while self._past and time - self._past[0].time > MAX_AGE:
            self._past.popleft()
            self._values.popleft()
        if not self._oscillators.advance(time, taken + observation.carrier_offset, _offset_variance(observation)):
            return None
        left = self._oscillators.offset - taken  # what the synchronizer has left
        offset = left - observation.carrier_offset
        back = np.exp(-2j * np.pi * offset * TRAINING).astype(np.complex64)
        training = observation.training * back[:, None, None, None]
        predicted, errors = self._predict(time)
        seen = self._modes.seen @ predicted  # (3, num_tx, P, num_rx)
        expected = self._noise + np.einsum("jks,k->sj", errors, self._modes.energies)
        weight = self._weights**2 / expected[:, :, None, None]  # (3, num_tx, 1, num_rx)
        phase, delay = align((seen.conj() * training.transpose(0, 2, 3, 1) * weight).sum(axis=3), self._trained)
        power = float((np.abs(seen) ** 2 * weight).sum())
        if not power > 0:
            return None
        # a mode that is predicted wrongly is so at all its symbols and carriers alike
        alike = len(TRAINING) * self._trained.shape[2] / self._modes.independent
        lead = 2 * np.pi * left * self._lead
        self._oscillators.take_phase(phase - lead, alike / (2 * power))
        phase = self._oscillators.phase + lead
        turn = np.exp(-1j * (phase - 2 * np.pi * delay * self._trained)).astype(np.complex64)
        placed = Placed(time, training * turn[:, None], phase, offset, delay)
        self.surprised = self._is_surprising(placed, predicted, errors)
        if self.surprised:
            self._past.clear()
            self._values.clear()
        return placed

    def _is_usual(self, noise_var: NDArray[np.float64]) -> bool:
        """Whether all antennas have the noise that they had. If so, it is taken into the mean."""
        alive = _alive(self._noise_var)
        if not np.array_equal(alive, _alive(noise_var)):
            return False
        ratio = noise_var[alive] / self._noise_var[alive]
        if max(ratio.max(), 1 / ratio.min()) > MAX_NOISE_RATIO:
            return False
        share = 1 / min(self._count + 1, NOISE_FRAMES)
        self._take_noise(self._noise_var + share * (noise_var - self._noise_var))
        return True

    def _take_noise(self, noise_var: NDArray[np.float64]) -> None:
        """And the weights, which make the noise of each antenna's carriers 1; 0 for one that receives nothing."""
        alive = _alive(noise_var)
        self._noise_var = noise_var
        self._weights = np.where(alive, 1 / np.sqrt(np.where(alive, noise_var, 1)), 0)

    def _is_surprising(self, placed: Placed, predicted: NDArray[np.complex64], errors: NDArray[np.float64]) -> bool:
        """Whether an antenna or a stream is not what was predicted."""
        deviation = np.abs(self._modes.of(placed.training) - predicted) ** 2  # (3, num_tx, K, num_rx)
        expected = errors.transpose(2, 0, 1) + self._modes.noise
        pairs = np.mean(deviation / expected[..., None], axis=(0, 2)) * self._weights**2  # (num_tx, num_rx)
        alive = _alive(self._noise_var)
        heard = pairs[:, alive]
        return any(not heard.mean(axis=axis).max() <= 1 + MAX_SURPRISE / np.sqrt(heard.shape[axis]) for axis in (0, 1))

    # The channel of a frame

    def estimate(self, placed: Placed, observation: Observation) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
        """The channel (14, num_active, num_rx, num_tx) as `observation` has it, and the error variance of an entry.

        The latter is (14,), for antennas whose noise variance is 1.
        """
        self._learn_profile(placed, observation)
        values = self._modes.of(placed.training)
        self._learn_doppler(placed, values)
        frames = [*self._past, placed]
        modes, errors = self._filtered(frames, [*self._values, values], placed.time, SYMBOLS)
        self._past.append(placed)
        self._values.append(values)
        self._count += 1
        self._used = len(frames)
        self._delay = observation.delay + placed.delay * self._fft_size
        # back to how the frame came
        turn = np.exp(1j * (placed.phase + 2 * np.pi * placed.offset * np.arange(NUM_SYMBOLS)))
        modes = modes.transpose(0, 2, 3, 1) * turn[:, None, None, None]  # (14, K, num_rx, num_tx)
        slope = np.exp(-2j * np.pi * placed.delay * self._carriers)
        waves = (self._modes.frequency * slope[:, None]).astype(np.complex64)
        channel = waves @ modes.astype(np.complex64).reshape(*modes.shape[:2], -1)
        return channel.reshape(NUM_SYMBOLS, len(slope), *modes.shape[2:]), np.einsum(
            "jks,k->s", errors, self._modes.energies
        ) / self._num_tx

    def _predict(self, time: float) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
        """Modes (3, num_tx, K, num_rx) of the training symbols of a frame that begins at this time, and their error
        variances (num_tx, K, 3)."""
        return self._filtered(list(self._past), list(self._values), time, TRAINED)

    def _filtered(
        self, frames: list[Placed], values: list[NDArray[np.complex64]], time: float, wanted: tuple[float, ...]
    ) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
        """Modes (wanted, num_tx, K, num_rx) at these symbols of the frame that begins then, and their error variances
        (num_tx, K, wanted)."""
        since = [round(frame.time - time, 1) for frame in frames]
        known = tuple(start + symbol for start in since for symbol in TRAINED)
        noise = self._modes.noises
        filters, errors = [], []
        for strongest, others in self._doppler.dopplers.tolist():
            weak, strong = (
                time_filters(others, known, wanted, noise[:-1]),
                time_filters(strongest, known, wanted, noise[-1:]),
            )
            filters.append(np.concatenate([weak[0], strong[0]]))  # (K, wanted, known)
            errors.append(np.concatenate([weak[1], strong[1]]))
        together = np.ascontiguousarray(np.concatenate(values).transpose(1, 2, 0, 3))  # (num_tx, K, known, num_rx)
        found = (np.stack(filters) @ together.view(np.float32)).view(np.complex64)
        return found.transpose(2, 0, 1, 3), np.stack(errors)

    def _learn_profile(self, placed: Placed, observation: Observation) -> None:
        alive = np.mean(_alive(self._noise_var))
        covariance = self._fit.covariance(placed.training * self._weights[:, None, None]) / alive
        if not self._count:
            self._covariance = covariance
            self._powers = self._fit.fit(covariance, self._fit.start(observation, covariance), FIRST_STEPS)
        else:
            self._covariance = self._covariance + (covariance - self._covariance) / min(self._count + 1, PROFILE_FRAMES)
            if self._count % REFIT and self._count & (self._count - 1):
                return
            self._powers = self._fit.fit(self._covariance, self._powers, MORE_STEPS)
        self._modes = self._fit.modes(self._powers)
        for i, frame in enumerate(self._past):
            self._values[i] = self._modes.of(frame.training)

    def _learn_doppler(self, placed: Placed, values: NDArray[np.complex64]) -> None:
        """From the pairs of the first training symbols of this frame and of others, and of the nearest ones."""
        weights = self._weights
        scaled = values * weights
        earlier, later, lags = [scaled[0]], [scaled[LAST]], [WITHIN]
        if self._past:
            earlier += [value[0] * weights for value in self._values] + [self._values[-1][LAST] * weights]
            later += [scaled[0]] * (len(self._past) + 1)
            apart = [round(placed.time - frame.time, 1) for frame in self._past]
            lags += [*apart, round(apart[-1] - WITHIN, 1)]
        self._doppler.take(tuple(lags), np.stack(earlier, axis=-3), np.stack(later, axis=-3), self._modes.noises)


def _alive(noise_var: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which antennas receive something that is worth a look."""
    return noise_var > LEAST_NOISE * noise_var.max()


def _offset_variance(observation: Observation) -> float:
    _, num_rx, num_tx, _ = observation.training.shape
    return offset_variance(observation.doppler, 10 ** (observation.snr_db / 10), num_rx * num_tx)
