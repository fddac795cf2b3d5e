# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds frames in the samples of several antennas: one detection, one start and one carrier offset for all of them.

Signal model, with a carrier offset of f cycles per sample that all antennas share, and a frame s that begins at d:

    r_a[n] = exp(2 pi i f n) sum_t sum_l h_at[l] s_t[n - d - l] + w_a[n]

Two steps, both on all antennas, each of which counts in units of its own power, so that gains do not matter:

1. Schmidl and Cox ("Robust frequency and timing synchronization for OFDM", IEEE Trans. Commun. 45(12), 1997): the
   preamble equals itself a period P later. Over the W samples that have a successor within the preamble,

       M(d) = |1/num_rx sum_a C_a(d) / E_a(d)|^2,    C_a(d) = sum_m conj(r_a[d+m]) r_a[d+m+P]

   with E_a the greater of the energies of the two factors. Means are taken away first: an offset at 0 Hz repeats itself
   as well. In white noise C_a / E_a has variance 1/W, so that M is about exponential, with mean 1 / (W num_rx), and
   exceeds -ln(p) / (W num_rx) with probability p.

2. What passes is compared with what every stream sends, preamble and first training symbol. With r_a of unit power,
   s_t of unit energy and the carrier offset removed,

       Q(d) = sum_a sum_t |sum_m conj(s_t[m]) r_a[d+m]|^2

   is Gamma(num_rx num_tx) in noise, and up to num_rx times the number of samples compared where a frame begins. It has
   to exceed what noise reaches. Preamble and training symbol each have to explain some of the received power, because
   other training symbols resemble one of them. And more has to be periodic than a preamble's length before or after,
   because tones go on. Q tells which period is the first; the training symbol alone, in which the streams are
   orthogonal, tells the sample.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frame import DATA_SYMBOLS, NUM_SYMBOLS, FrameFormat

__all__ = ["FoundFrame", "Synchronizer", "carrier_offset"]

# Of exceeding the thresholds in white noise, at one place. Step 1 only keeps step 2 from being busy; together they are
# far below 1e-9 per sample (benchmarks/false_alarms.py).
METRIC_PROBABILITY = 1e-4
PROFILE_PROBABILITY = 1e-10

# The least M of a preamble: -7 dB, where nothing could be decoded. With many antennas, noise stays far below.
LEAST_METRIC = 0.03

# What preamble and training symbol both have to explain at one delay. At 5 dB and with many paths it is 0.1 at least,
# other training symbols reach 0.06.
EXPLAINED_SHARE = 0.07

# Of sum_a |C_a| / E_a at the preamble and a length of it before or after, with E_a at the preamble.
PERIODIC_CONTRAST = 1.75

# A path this far below the strongest one, in power, still counts as the first. Band limitation smears a path over its
# neighbours, 0.05 of its power one sample early.
FIRST_PATH = 0.2

STEP_DIVISOR = 4  # M is looked at every P/4 samples
LAG_PERIODS = 5  # of the second estimate of the carrier offset
PIECE = 8192  # samples that are worked on at once: they fit into the cache

DEAD_RATIO = 1e-3  # of the other antennas' mean power
PEAK_TOLERANCE, PEAK_SHARE = 1e-3, 0.005


@dataclass(frozen=True)
class FoundFrame:
    """A frame, cut into the windows of the receiver's Fourier transforms.

    Attributes:
        start: its first sample, counted from the first that was pushed.
        carrier_offset: in cycles per sample.
        metric: M at the detection, 0 to 1; about (SNR / (1 + SNR))^2.
        windows: (14, num_rx, fft_size) complex64. No cyclic prefix, `timing_advance` samples early, carrier offset
            removed: the phase is that of the received frame at its first sample, and goes on through the frame.
        overlapping: whether it begins before the frame in front of it has ended.
        dead: (num_rx,) bool: antennas that received nothing: no power, or 30 dB less than the mean of the others.
        saturated: (num_rx,) bool: antennas of which 0.5 % of the samples or more have the same greatest amplitude, or
            the same greatest real or imaginary part.
    """

    start: int
    carrier_offset: float
    metric: float
    windows: NDArray[np.complex64]
    overlapping: bool
    dead: NDArray[np.bool_]
    saturated: NDArray[np.bool_]


@dataclass(frozen=True)
class _Detection:
    start: int
    carrier_offset: float
    metric: float
    overlapping: bool


class Synchronizer:
    """Finds the frames of a stream that arrives in pieces. What it finds does not depend on how the stream is cut.

    It goes on searching inside a frame, so that one whose preamble lies in another is found as well.

    Args:
        frame_format: the frames; their constellation does not matter.
        num_rx: antennas, at least 1.
    """

    def __init__(self, frame_format: FrameFormat, num_rx: int):
        if num_rx < 1:
            raise ValueError(f"num_rx is {num_rx}; at least 1 expected")
        self.frame_format, self.num_rx = frame_format, num_rx
        self.invalid_samples = 0  # NaN or Inf, taken as 0
        self._period = frame_format.preamble_period
        self._step = self._period // STEP_DIVISOR
        self._window = frame_format.preamble_length - self._period
        self._metric_threshold = max(LEAST_METRIC, -math.log(METRIC_PROBABILITY) / (self._window * num_rx))
        self._vicinity = LAG_PERIODS * STEP_DIVISOR  # steps: of two detections that are closer, the greater counts
        self._lookahead = 2 * frame_format.preamble_length  # samples from a place on that decide about it

        data = np.zeros((len(DATA_SYMBOLS), frame_format.num_data, frame_format.num_tx), np.complex64)
        known = frame_format.modulate(data)[:, : frame_format.preamble_length + frame_format.symbol_length]
        known = known / np.linalg.norm(known, axis=-1, keepdims=True)
        parts = np.stack([known, known])
        parts[0, :, frame_format.preamble_length :] = parts[1, :, : frame_format.preamble_length] = 0
        self._part_energy = np.sum(np.abs(parts) ** 2, axis=-1).mean(axis=-1)  # of preamble and training, 1 together
        self._known_length = known.shape[-1]
        self._segment = 5 * frame_format.fft_size
        self._turns = -2j * np.pi * np.arange(self._segment)
        self._known_spectrum = np.fft.fft(parts, self._segment).conj()  # [preamble, training][stream]
        self._num_lags = self._segment - self._known_length + 1
        # Laurent and Massart, "Adaptive estimation of a quadratic functional by model selection", Ann. Stat. 28(5),
        # 2000, lemma 1: P(Gamma(n) > n + sqrt(2 n x) + x) <= exp(-x)
        pairs, exponent = num_rx * frame_format.num_tx, math.log(self._num_lags / PROFILE_PROBABILITY)
        self._profile_threshold = pairs + math.sqrt(2 * pairs * exponent) + exponent

        first = frame_format.preamble_length + frame_format.cp_length - frame_format.timing_advance
        begins = first + frame_format.symbol_length * np.arange(NUM_SYMBOLS)
        self._window_places = begins[:, None] + np.arange(frame_format.fft_size)  # counted from a frame's start

        self._samples = np.empty((num_rx, 0), np.complex64)
        self._begin = 0  # which sample is the first of those
        self._next_step = 0  # the first that has not been searched
        self._waiting: list[_Detection] = []
        self._last_start = -frame_format.frame_length

    @property
    def position(self) -> int:
        """How many samples have been pushed."""
        return self._begin + self._samples.shape[-1]

    def push(self, samples: NDArray[np.complexfloating]) -> list[FoundFrame]:
        """Take the next samples.

        Args:
            samples: (num_rx, any number).

        Returns:
            The frames whose last window is complete now, in the order of their starts.

        Raises:
            ValueError: the shape is wrong.
        """
        if samples.ndim != 2 or len(samples) != self.num_rx:
            raise ValueError(f"samples have shape {samples.shape}; ({self.num_rx}, any number) expected")
        found = []
        for first in range(0, samples.shape[-1], PIECE):
            piece = self._valid(samples[:, first : first + PIECE])
            self._samples = np.concatenate([self._samples, piece], axis=-1)
            with np.errstate(all="ignore"):  # samples may be so great that their squares are Inf
                self._search()
                found += self._complete()
            self._forget()
        return found

    def interrupt(self) -> int:
        """Say that samples are missing between those pushed so far and the next: a frame does not reach across.

        Returns:
            How many frames had been found and lack their end.
        """
        lost = len(self._waiting)
        self._waiting.clear()
        self._begin, self._samples = self.position, self._samples[:, :0]
        self._next_step = -(-self._begin // self._step)
        self._last_start = self._begin - self.frame_format.frame_length
        return lost

    def _valid(self, samples: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
        samples = samples.astype(np.complex64)
        finite = np.isfinite(samples)
        if not finite.all():
            self.invalid_samples += int(samples.size - np.count_nonzero(finite))
            samples[~finite] = 0
        return samples

    def _search(self) -> None:
        """Look at the places for which enough samples are there."""
        stop = (self.position - self._lookahead) // self._step + 1
        if stop <= self._next_step:
            return
        first = max(self._next_step - self._vicinity, -(-self._begin // self._step))
        metric = self._metric(self._samples[:, first * self._step - self._begin :])
        if (metric > self._metric_threshold).any():
            around = self._vicinity
            padded = np.concatenate([np.zeros(around), np.nan_to_num(metric, nan=0.0), np.zeros(around)])
            greatest = np.lib.stride_tricks.sliding_window_view(padded, around).max(axis=-1)
            # greater than all before, so that of equal ones there is one
            peaks = (metric > self._metric_threshold) & (metric > greatest[: len(metric)])
            peaks &= metric >= greatest[around + 1 : around + 1 + len(metric)]
            for step in np.flatnonzero(peaks[self._next_step - first : stop - first]) + self._next_step:
                self._examine(int(step) * self._step, float(metric[step - first]))
        self._next_step = stop

    def _metric(self, samples: NDArray[np.complex64]) -> NDArray[np.float64]:
        """M at every step from the first sample on.

        The sums over windows are made of sums over steps, with as many additions each: nothing accumulates from one
        window to the next.
        """
        ahead, window = self._period // self._step, self._window // self._step
        usable = samples[:, : samples.shape[-1] // self._step * self._step]
        products = usable[:, : -self._period].conj()
        products *= usable[:, self._period :]
        correlation = _sums(_per_step(products, self._step), window)
        energy = _sums(_per_step(usable.real**2 + usable.imag**2, self._step), window)
        mean = _sums(_per_step(usable, self._step), window) / np.sqrt(self._window)
        correlation -= mean[:, :-ahead].conj() * mean[:, ahead:]
        # Where nearly everything is the mean, rounding is what remains
        remaining = np.maximum(energy - (mean.real**2 + mean.imag**2), 1e-5 * energy)
        greater = np.maximum(remaining[:, :-ahead], remaining[:, ahead:])
        relative = correlation / np.maximum(greater, np.finfo(np.float32).tiny)
        combined: NDArray[np.complex128] = relative.mean(axis=0)
        return combined.real**2 + combined.imag**2

    def _cut(self, start: int, length: int) -> NDArray[np.complex64]:
        """Samples from `start` on; zeros before the first that is there."""
        first = start - self._begin
        cut = self._samples[:, max(first, 0) : first + length]
        return np.pad(cut, ((0, 0), (length - cut.shape[-1], 0))) if cut.shape[-1] < length else cut

    def _examine(self, place: int, metric: float) -> None:
        """Step 2, around `place`."""
        frame = self.frame_format
        length = frame.preamble_length
        preambles = self._cut(place - length, 3 * length).reshape(3 * self.num_rx, length)  # earlier, here, later
        _, energy, periodic = _correlate(preambles, self._period)
        earlier, here, later = _inverse(energy[1::3]) @ np.abs(periodic).reshape(-1, 3)
        begins = place - length < self._begin  # the stream, so that nothing is earlier
        if not here > PERIODIC_CONTRAST * (later if begins else min(earlier, later)):
            return
        offset = carrier_offset(preambles[1::3], self._period)
        found = self._compare(place - self._num_lags // 2, offset)
        if found is None or found < self._last_start + length // 2:  # the same again
            return
        overlapping = found < self._last_start + frame.frame_length - frame.cp_length  # starts are not exact
        if found != place:
            offset = carrier_offset(self._cut(found, length), self._period)
        self._waiting.append(_Detection(found, offset, min(metric, 1.0), overlapping))
        self._last_start = found

    def _compare(self, first: int, offset: float) -> int | None:
        """Where from sample `first` on a frame with this carrier offset begins; None if there is none."""
        segment = self._cut(first, self._segment)
        middle = self._num_lags // 2
        known = segment[:, middle : middle + self._known_length]
        scale = np.sqrt(self._known_length * _inverse(_energy(known))).astype(np.float32)
        segment = (segment - known.sum(axis=-1, keepdims=True) / self._known_length) * scale[:, None]
        segment *= np.exp(offset * self._turns)
        spectrum = np.fft.fft(segment)[:, None] * self._known_spectrum[:, None]  # [preamble, training][antenna][stream]
        correlation = np.fft.ifft(spectrum)[..., : self._num_lags].reshape(2, -1, self._num_lags)
        pairs = correlation.shape[1]
        parts = np.sum(correlation.real**2 + correlation.imag**2, axis=1) / self._part_energy[:, None] - pairs
        explained = parts / (self._part_energy[:, None] * self._known_length * self.num_rx)
        if not explained.min(axis=0).max() > EXPLAINED_SHARE:
            return None
        correlation = correlation.sum(axis=0)
        profile = np.sum(correlation.real**2 + correlation.imag**2, axis=0)
        return first + self._first_path(profile, parts[1]) if profile.max() > self._profile_threshold else None

    def _first_path(self, profile: NDArray[np.float64], training: NDArray[np.float64]) -> int:
        """Where the paths begin: the first that counts, in the window that holds most of their power.

        The window is as long as the part of the cyclic prefix that is left behind `timing_advance`.
        """
        length = self.frame_format.cp_length - self.frame_format.timing_advance
        first = int(np.argmax(np.convolve(profile, np.ones(length), "valid")))
        paths = training[first : first + length]
        return first + int(np.argmax(paths >= FIRST_PATH * paths.max()))

    def _complete(self) -> list[FoundFrame]:
        """The frames whose last window is there."""
        frame, found = self.frame_format, []
        length = frame.frame_length - frame.timing_advance
        while self._waiting and self._waiting[0].start + length <= self.position:
            detection = self._waiting.pop(0)
            samples = self._cut(detection.start, length)
            dead, saturated = _antenna_faults(samples)
            windows = self._windows(samples, detection.carrier_offset)
            found.append(
                FoundFrame(
                    detection.start,
                    detection.carrier_offset,
                    detection.metric,
                    windows,
                    detection.overlapping,
                    dead,
                    saturated,
                )
            )
        return found

    def _windows(self, samples: NDArray[np.complex64], offset: float) -> NDArray[np.complex64]:
        turns = -2j * np.pi * offset * self._window_places
        return (samples[:, self._window_places].swapaxes(0, 1)) * np.exp(turns).astype(np.complex64)[:, None]

    def _forget(self) -> None:
        """Drop the samples that nothing needs any more."""
        needed = self._next_step * self._step - self.frame_format.preamble_length
        if self._waiting:
            needed = min(needed, self._waiting[0].start)
        drop = max(0, needed - self._begin)
        self._samples = self._samples[:, drop:]
        self._begin += drop


def carrier_offset(preamble: NDArray[np.complexfloating], period: int) -> float:
    """Carrier offset in cycles per sample, from -1 / (2 period) to 1 / (2 period).

    The phase from one period to the next says which of the many offsets it can be that the phase over five periods,
    with a variance near the least possible, allows. The antennas are added in the ratio of their SNR.

    Args:
        preamble: (num_rx, ten periods).
        period: samples after which it repeats itself.
    """
    centred, energy, near = _correlate(preamble, period)
    lag = LAG_PERIODS * period
    far = np.einsum("an,an->a", centred[:, :-lag].conj(), centred[:, lag:])
    signal = np.abs(near) * (preamble.shape[-1] / (preamble.shape[-1] - period))
    weights = _inverse(np.maximum(energy - signal, 1e-2 * energy))
    coarse = cmath.phase(weights @ near) / (2 * math.pi * period)
    rest = cmath.phase((weights @ far) * cmath.exp(-2j * math.pi * coarse * lag)) / (2 * math.pi * lag)
    return coarse + rest


def _correlate(samples: NDArray, lag: int) -> tuple[NDArray, NDArray, NDArray]:
    """Samples (num_rx, n) without their means, their energies, and their correlations with themselves at this lag."""
    centred = samples - samples.sum(axis=-1, keepdims=True) / samples.shape[-1]
    return centred, _energy(centred), np.einsum("an,an->a", centred[:, :-lag].conj(), centred[:, lag:])


def _energy(samples: NDArray) -> NDArray[np.float64]:
    """Of each antenna: (num_rx,) of (num_rx, n)."""
    return np.einsum("an,an->a", samples, samples.conj()).real.astype(np.float64)


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / values; 0 for an antenna that receives nothing."""
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)


def _per_step(values: NDArray, step: int) -> NDArray:
    """Sums of `step` values each along the last axis; `step` is a power of 2."""
    while step > 1:
        values = values[..., ::2] + values[..., 1::2]
        step //= 2
    return values.astype(np.promote_types(values.dtype, np.float64))


def _sums(values: NDArray, window: int) -> NDArray:
    """Sums of `window` successive values along the last axis, from every place that has as many."""
    count = values.shape[-1] - window + 1
    total, begin = np.zeros((*values.shape[:-1], count), values.dtype), 0
    length = 1
    while window:
        if window & length:
            total += values[..., begin : begin + count]
            begin += length
            window -= length
        if window:
            values = values[..., :-length] + values[..., length:]
            length *= 2
    return total


def _antenna_faults(samples: NDArray[np.complex64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which antennas are dead and which saturated: see `FoundFrame`."""
    real, imaginary = samples.real**2, samples.imag**2
    squares = np.stack([real, imaginary, real + imaginary])
    power = squares[2].mean(axis=-1, dtype=np.float64)
    others = (power.sum() - power) / max(1, len(power) - 1)
    dead = (power == 0) | (power < DEAD_RATIO * others)
    greatest = squares >= (1 - PEAK_TOLERANCE) ** 2 * squares.max(axis=-1, keepdims=True)
    saturated = (np.count_nonzero(greatest, axis=-1) >= PEAK_SHARE * samples.shape[-1]).any(axis=0)
    return dead, saturated & ~dead
