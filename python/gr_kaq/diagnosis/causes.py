# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a frame was not decoded, or not found: the likely cause among those that can be told apart.

What proves itself comes first: a receiver with one setting changed, or a step of the gain undone, whose CRC is right,
has found the cause. Then what is measured: antennas, samples that are missing, interference. Last, whether the SNR
would be enough for a channel that keeps the streams apart: if so the channel is to blame, otherwise the SNR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..detection.detectors import load_detector
from ..estimation.estimator import DataSymbols, without_errors
from ..frames.frame_format import FFT_SIZES, MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.synchronization import FoundFrame, Synchronizer
from ..signals.constellation import CONSTELLATIONS
from .frame_reading import FrameReader, FrameReading, ReceivedFrame
from .linear_symbols import linear_symbols

__all__ = ["Cause", "Diagnosis", "Diagnostician"]


class Cause(StrEnum):
    """What can be told apart."""

    CARRIER_OFFSET = "carrier offset out of range"
    MIRRORED = "I and Q swapped"
    STREAM_COUNT = "number of streams"
    CONSTELLATION = "constellation"
    FFT_SIZE = "number of carriers"
    FRAME_LENGTH = "number of symbols"
    DEAD_ANTENNA = "dead antenna"
    SATURATION = "saturation"
    GAIN_STEP = "gain step"
    MISSING_SAMPLES = "missing samples"
    COLLISION = "two frames at a time"
    INTERFERENCE = "interference"
    WEAK = "SNR too low"
    CHANNEL = "streams hard to tell apart"
    FOREIGN = "no frame of gr-kaq"


@dataclass(frozen=True)
class Diagnosis:
    """The likely cause.

    Attributes:
        cause: of the failure.
        detail: what was measured, and what to change.
    """

    cause: Cause
    detail: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)


# SINR in dB that a stream needs for 10 % block errors, on channels that keep streams apart (`kaq probe`'s link, 4x2)
NEEDED_SINR_DB = {"qpsk": 3.0, "16qam": 9.0, "64qam": 14.0, "256qam": 19.0}
MARGIN_DB = 3.0  # of fading within a frame: what is this far above is enough
OFFSET_RANGE = 6  # of a receiver, in carrier spacings
OFFSETS = (8, -8)  # by which it is tuned elsewhere
LEAST_PEAK = 15.0  # of a training symbol over what data leaves of it
LEAST_TRAINING = 0.25  # of the power of the first training symbol; fading leaves more of the others
LEAST_SHIFT = 3  # samples between training symbols, which paths that fade do not explain
PILOT_EXCESS = 6.0  # over the expected power of what pilots do not explain, mean of a symbol
LEAST_LIKELIHOOD = 0.2  # by which another constellation explains a symbol better, in nats
LEAST_LEVEL = 20  # samples of one gain
LEAST_STEP_DB, STEP_SPREAD_DB = 3.0, 3.0  # of the gain; between antennas, which have one gain each or one for all
SMOOTH = 0.5  # of neighbouring training values, see `_smoothness`: another format has 0.2
STRONG_CARRIER = 6.0  # times the power of the median carrier
HARMLESS_DB = 5.0  # interference this far below the noise


class Diagnostician:
    """Finds causes. It remembers which changed setting explained the last failure, and tries that first.

    Args:
        reader: that could not decode.
        num_rx: antennas.
    """

    def __init__(self, reader: FrameReader, num_rx: int):
        self._reader, self._format, self._num_rx = reader, reader.frame_format, num_rx
        self._settings = self._other_settings()

    @property
    def reach(self) -> tuple[int, int]:
        """How many samples to look at before a frame's first one, and from it on: room for the longest frame."""
        margin = 2 * self._format.preamble_length
        return margin, replace(self._format, num_symbols=SYMBOL_COUNTS[-1]).frame_length + margin

    def explain(self, samples: NDArray[np.complex64], start: int) -> Diagnosis | None:
        """Why a frame is lost that begins there; None: it is decoded.

        Args:
            samples: (num_rx, n): the frame, and what is around it, see `reach`.
            start: its first sample among them.
        """
        found = Synchronizer(self._format, self._num_rx).push(samples)
        if not found:
            return self.unfound(samples)
        frame = self._reader.read(min(found, key=lambda each: abs(each.start - start)))
        return self.failed(frame, samples, frame.found.start) if frame.reading.payload is None else None

    # Of frames that were found

    def failed(self, frame: ReceivedFrame, samples: NDArray[np.complex64], start: int) -> Diagnosis:
        """Why the CRC of this frame is wrong.

        Args:
            frame: that was read.
            samples: (num_rx, n): the frame, and what is around it; up to the longest frame, should it be one.
            start: its first sample among them.
        """
        if name := _other_constellation(self._format, frame.data):
            return _constellation(name, "decodes")
        samples = without_errors(samples)
        decoded, likely = self._by_setting(
            samples,
            max(SMOOTH, 1.5 * _smoothness(self._format, frame.found)),
            range(start, start + self._format.frame_length),
        )
        return (
            decoded
            or self._by_gain(samples, start)
            or _by_antennas(frame.reading)
            or _missing_samples(self._format, frame.reading, samples, start)
            or likely
            or _by_overlap(frame.reading)
            or self._by_interference(frame)
            or self._by_likelihood(frame)
            or self._by_channel(frame)
        )

    # Of what was not found

    def unfound(self, samples: NDArray[np.complex64]) -> Diagnosis:
        """Why no frame is found in a burst.

        Args:
            samples: (num_rx, n), of the burst and a preamble's length around it.
        """
        decoded, likely = self._by_setting(samples, SMOOTH, range(samples.shape[1]))
        return (
            decoded
            or likely
            or _strong_carriers(self._format, samples)
            or Diagnosis(Cause.FOREIGN, "a burst without the preamble that is expected, or too weak to be found")
        )

    def _by_likelihood(self, frame: ReceivedFrame) -> Diagnosis | None:
        """Another constellation that explains the symbols much better."""
        likelihoods = {name: _likelihood(frame, of.points) for name, of in CONSTELLATIONS.items()}
        best = max(likelihoods, key=likelihoods.__getitem__)
        if likelihoods[best] - likelihoods[self._format.constellation_name] > LEAST_LIKELIHOOD:
            return _constellation(best, "fits better")
        return None

    def _by_setting(
        self, samples: NDArray[np.complex64], least_smoothness: float, place: range
    ) -> tuple[Diagnosis | None, Diagnosis | None]:
        """Receivers with one setting changed: one that decodes a frame; and one that finds one with a smoother channel
        than this. Frames beside `place`, which is the frame's, are others."""
        smoothest, likely = least_smoothness, None
        for index, (diagnosis, frame_format, change) in enumerate(self._settings):
            for found in Synchronizer(frame_format, self._num_rx).push(change(samples)):
                if found.start >= place.stop or found.start + frame_format.frame_length <= place.start:
                    continue
                if self._decodes(frame_format, found):
                    self._settings.insert(0, self._settings.pop(index))
                    return diagnosis, None
                if (smoothness := _smoothness(frame_format, found)) > smoothest:
                    smoothest, likely = smoothness, diagnosis
        return None, likely

    def _decodes(self, frame_format: FrameFormat, found: FoundFrame) -> bool:
        frame = (self._reader if frame_format == self._format else _reader(frame_format)).read(found)
        return frame.reading.payload is not None or _other_constellation(frame_format, frame.data) is not None

    def _by_gain(self, samples: NDArray[np.complex64], start: int) -> Diagnosis | None:
        """A step of the gain within the frame, without which it is decoded."""
        own = self._format
        place, step = _power_step(samples[:, start : start + own.frame_length])
        step_db = float(np.mean(step))
        if abs(step_db) < LEAST_STEP_DB or np.ptp(step) > STEP_SPREAD_DB:
            return None
        undone = samples.copy()
        undone[:, start + place :] *= np.float32(10 ** (-step_db / 20))
        for found in Synchronizer(own, self._num_rx).push(undone):
            if abs(found.start - start) < own.cp_length and self._reader.read(found).reading.payload is not None:
                return Diagnosis(
                    Cause.GAIN_STEP,
                    f"{step_db:+.0f} dB, {place} samples after the frame begins; keep the gain while frames arrive",
                )
        return None

    def _by_interference(self, frame: ReceivedFrame) -> Diagnosis | None:
        known = frame.reading.interference
        needed = NEEDED_SINR_DB[self._format.constellation_name]
        if known is not None and known.power_db > -needed - HARMLESS_DB:
            return Diagnosis(Cause.INTERFERENCE, f"{known}; find its source, or another frequency")
        symbols = _jammed_symbols(self._format, frame)
        if len(symbols):
            return Diagnosis(Cause.INTERFERENCE, f"a burst on symbols {symbols[0]} to {symbols[-1]}")
        return None

    def _by_channel(self, frame: ReceivedFrame) -> Diagnosis:
        """The SNR, or else the channel."""
        needed = NEEDED_SINR_DB[self._format.constellation_name]
        reading = frame.reading
        h = frame.data.h.astype(np.complex128)
        power = np.mean(np.sum(np.abs(h) ** 2, axis=(-2, -1))) / self._format.num_tx
        best_db = 10 * np.log10(power / frame.data.noise_var)  # of each stream, if all were orthogonal and alike
        if best_db < needed + MARGIN_DB:
            return Diagnosis(
                Cause.WEAK, f"{best_db:.1f} dB for each stream, where some {needed:g} dB are needed; more gain or power"
            )
        weakest = int(np.argmin(reading.stream_power_db))
        detail = f"condition {reading.condition_db:.0f} dB (median)"
        if reading.stream_power_db[weakest] < -MARGIN_DB:
            detail += f", stream {weakest} is {-reading.stream_power_db[weakest]:.0f} dB below the mean"
        return Diagnosis(Cause.CHANNEL, detail + "; place antennas further apart, or send fewer streams")

    def _other_settings(self) -> list[tuple[Diagnosis, FrameFormat, Callable[[NDArray], NDArray]]]:
        """Settings of a receiver, each with one change, and what becomes of the samples."""
        own = self._format
        settings: list[tuple[Diagnosis, FrameFormat, Callable[[NDArray], NDArray]]] = []
        for shift in OFFSETS:
            side = "above" if shift > 0 else "below"
            detail = f"more than {OFFSET_RANGE} carrier spacings {side}; tune one of the radios"
            settings.append((Diagnosis(Cause.CARRIER_OFFSET, detail), own, _shifted(-shift / own.fft_size)))
        settings.append((Diagnosis(Cause.MIRRORED, "the spectrum is mirrored; exchange I and Q"), own, np.conj))
        for num_tx in range(1, MAX_STREAMS + 1):
            if num_tx != own.num_tx and (other := _format(num_tx, own.fft_size, own.num_symbols)):
                detail = f"{own.num_tx} expected, {num_tx} sent; receive with --streams {num_tx}"
                settings.append((Diagnosis(Cause.STREAM_COUNT, detail), other, _same))
        for count in SYMBOL_COUNTS:
            if count != own.num_symbols:
                detail = f"{own.num_symbols} expected, {count} sent; receive with --symbols {count}"
                other = FrameFormat(own.num_tx, own.fft_size, own.constellation_name, count)
                settings.append((Diagnosis(Cause.FRAME_LENGTH, detail), other, _same))
        for size in FFT_SIZES:
            if size != own.fft_size and (other := _format(own.num_tx, size, own.num_symbols)):
                detail = f"{own.fft_size} expected, {size} sent; receive with --fft-size {size}"
                settings.append((Diagnosis(Cause.FFT_SIZE, detail), other, _same))
        return settings


def _by_antennas(reading: FrameReading) -> Diagnosis | None:
    if reading.dead.any():
        names = _listed(np.flatnonzero(reading.dead))
        return Diagnosis(Cause.DEAD_ANTENNA, f"nothing at {names}; check cable and gain")
    if reading.saturated.any():
        names = _listed(np.flatnonzero(reading.saturated))
        return Diagnosis(Cause.SATURATION, f"of {names}; reduce the gain")
    return None


def _power_step(samples: NDArray[np.complex64]) -> tuple[int, NDArray[np.float64]]:
    """The sample from which on the power of (num_rx, n) is most likely another, and the change in dB of each antenna
    that receives something: of two Gaussian distributions in a row, those of the greatest likelihood."""
    powers = np.abs(samples.astype(np.complex128)) ** 2
    powers = powers[powers.sum(axis=1) > 0]
    count = powers.shape[1]
    places = np.arange(LEAST_LEVEL, count - LEAST_LEVEL)
    if not len(powers) or not len(places):
        return 0, np.zeros(1)
    sums = np.cumsum(powers, axis=1)
    with np.errstate(divide="ignore"):
        before = np.log(sums[:, places - 1] / places)
        after = np.log((sums[:, -1:] - sums[:, places - 1]) / (count - places))
    likelihood = -(places * before + (count - places) * after).sum(axis=0)
    best = int(np.argmax(np.where(np.isfinite(likelihood), likelihood, -np.inf)))
    return int(places[best]), 10 / np.log(10) * (after - before)[:, best]


def _by_overlap(reading: FrameReading) -> Diagnosis | None:
    if reading.overlapping:
        return Diagnosis(Cause.COLLISION, "it begins before the frame in front of it has ended")
    return None


def _smoothness(frame_format: FrameFormat, found: FoundFrame) -> float:
    """How much alike training values of neighbouring carriers are, 0 to 1: those of another format are random."""
    grid = frame_format.transform(found.windows)[0]
    ratios = []
    for symbol, places in zip(frame_format.training_symbols, frame_format.training_indices, strict=True):
        alike = power = 0.0
        for stream, carriers in enumerate(places):
            values = grid[symbol][:, carriers] / frame_format.known_grid[symbol, stream, carriers]
            alike += float(np.sum(np.abs(np.sum(values[:, 1:] * values[:, :-1].conj(), axis=1))))
            power += float(np.sum(np.abs(values) ** 2))
        ratios.append(alike / power if power else 0.0)
    return float(np.mean(ratios))


def _strong_carriers(frame_format: FrameFormat, samples: NDArray[np.complex64]) -> Diagnosis | None:
    """Whether a few carriers are much stronger than all others."""
    size = frame_format.fft_size
    blocks = samples[:, : samples.shape[1] // size * size].reshape(len(samples), -1, size)
    power = np.mean(np.abs(np.fft.fft(blocks * np.hanning(size))) ** 2, axis=1)  # (num_rx, size)
    level = np.median(power[:, frame_format.active_carriers % size], axis=1, keepdims=True)
    excess = np.mean(power / np.where(level > 0, level, 1), axis=0)
    numbers = np.fft.fftfreq(size, 1 / size).astype(int)
    strong = np.sort(numbers[excess > STRONG_CARRIER])
    if not len(strong):
        return None
    return Diagnosis(
        Cause.INTERFERENCE,
        f"carriers {strong[0]} to {strong[-1]} are up to {10 * np.log10(excess.max()):.0f} dB stronger than others; "
        "find its source, or another frequency",
    )


def _same(samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
    return samples


def _shifted(offset: float) -> Callable[[NDArray], NDArray]:
    """What shifts samples by so many cycles per sample."""

    def shift(samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
        turns = np.exp(2j * np.pi * offset * np.arange(samples.shape[1]))
        return (samples * turns).astype(np.complex64)

    return shift


def _format(num_tx: int, fft_size: int, num_symbols: int) -> FrameFormat | None:
    """None where there is no such format."""
    try:
        return FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _reader(frame_format: FrameFormat) -> FrameReader:
    return FrameReader(frame_format, load_detector("auto", constellation=frame_format.constellation_name))


def _other_constellation(frame_format: FrameFormat, data: DataSymbols) -> str | None:
    """One with which the CRC is right; the channel estimate is the same for all."""
    for name in CONSTELLATIONS:
        reader = _reader(replace(frame_format, constellation_name=name))
        if name != frame_format.constellation_name and reader.decode(data) is not None:
            return name
    return None


def _constellation(name: str, how: str) -> Diagnosis:
    return Diagnosis(Cause.CONSTELLATION, f"{name} {how}; receive with --constellation {name}")


def _likelihood(frame: ReceivedFrame, points: NDArray[np.complexfloating]) -> float:
    """Of the data after LMMSE without bias, if these points were sent: mean of a symbol, in nats."""
    symbols, variance = linear_symbols(frame.data)
    distance = np.abs(symbols[..., None] - points) ** 2
    logs = -distance / variance[..., None]
    top = logs.max(axis=-1, keepdims=True)
    likelihood = top[..., 0] + np.log(np.mean(np.exp(logs - top), axis=-1)) - np.log(variance)
    return float(np.mean(likelihood))


def _missing_samples(
    frame_format: FrameFormat, reading: FrameReading, samples: NDArray[np.complex64], start: int
) -> Diagnosis | None:
    """Whether the training symbols are where they belong, each against the first."""
    window = samples[:, start : start + frame_format.frame_length]
    turns = np.exp(-2j * np.pi * reading.carrier_offset * np.arange(window.shape[1]))
    window = window.astype(np.complex128) * turns
    alive = np.linalg.norm(window, axis=1)
    window = window[alive > 0] / alive[alive > 0, None]
    profiles = [_training_profile(frame_format, index, window) for index in range(len(frame_format.training_symbols))]
    if not all(len(profile) for profile in profiles):
        return Diagnosis(Cause.MISSING_SAMPLES, "the recording ends within it")
    begins = [frame_format.preamble_length + s * frame_format.symbol_length for s in frame_format.training_symbols]
    usual = _peak_near(profiles[0], begins[0])
    if usual < LEAST_PEAK * np.median(profiles[0]):
        return None
    for symbol, begin, profile in zip(frame_format.training_symbols[1:], begins[1:], profiles[1:], strict=True):
        here, place = _peak_near(profile, begin), int(np.argmax(profile))
        missing = begin - place
        if abs(missing) >= LEAST_SHIFT and profile[place] > max(2 * here, usual / 2):
            what = f"{missing} samples are missing" if missing > 0 else f"{-missing} samples too many"
            return Diagnosis(
                Cause.MISSING_SAMPLES, f"{what} before symbol {symbol}; look for overflows, lower the sample rate"
            )
        if here < LEAST_TRAINING * usual:
            return Diagnosis(
                Cause.MISSING_SAMPLES, f"symbol {symbol} is damaged; look for overflows, lower the sample rate"
            )
    return None


def _peak_near(profile: NDArray[np.float64], place: int) -> float:
    return float(profile[max(0, place - LEAST_SHIFT) : place + LEAST_SHIFT + 1].max(initial=0))


def _training_profile(frame_format: FrameFormat, index: int, window: NDArray[np.complex128]) -> NDArray[np.float64]:
    """How much of a training symbol begins at each sample of a frame, in power; empty: there is no room for it.

    Args:
        frame_format: of the frame.
        index: of the symbol in `FrameFormat.training_symbols`.
        window: (num_rx, n), the frame, without its carrier offset.
    """
    known = _training(frame_format)[index]
    count = window.shape[1] - known.shape[1] + 1
    size = 1 << (window.shape[1] + known.shape[1]).bit_length()
    spectra = np.fft.fft(window, size)
    profile = np.zeros(size)
    for stream in known:
        profile += np.sum(np.abs(np.fft.ifft(spectra * np.fft.fft(stream, size).conj())) ** 2, axis=0)
    return profile[: max(0, count)]


@lru_cache(maxsize=16)
def _training(frame_format: FrameFormat) -> list[NDArray[np.complex64]]:
    """Samples of each training symbol, (num_tx, symbol_length), with its cyclic prefix."""
    samples = frame_format.known_samples
    begins = [frame_format.preamble_length + s * frame_format.symbol_length for s in frame_format.training_symbols]
    return [samples[:, begin : begin + frame_format.symbol_length] for begin in begins]


def _jammed_symbols(frame_format: FrameFormat, frame: ReceivedFrame) -> NDArray[np.int64]:
    """Data symbols whose pilots are far from what the estimate expects."""
    estimate, symbols = frame.estimate, np.array(frame_format.data_symbols)
    places = frame_format.pilot_indices
    sent = frame_format.known_grid[symbols[:, None], :, places]  # (symbols, pilots, num_tx)
    h = estimate.h[symbols[:, None], places]  # (symbols, pilots, num_rx, num_tx)
    expected = (h @ sent[..., None])[..., 0] * np.exp(1j * estimate.phase[symbols])[:, None, None]
    rest = np.abs(frame.grid[symbols[:, None], :, places] - expected) ** 2
    noise = estimate.noise_var * (1 + estimate.error[symbols])[:, None, None]
    alive = estimate.noise_var > 0
    excess = np.mean((rest / np.where(noise > 0, noise, 1))[..., alive], axis=(1, 2))
    return symbols[excess > PILOT_EXCESS * max(1.0, float(np.median(excess)))]


def _listed(numbers: NDArray[np.int64]) -> str:
    """What a message says of these antennas."""
    return " and ".join(f"antenna {number}" for number in numbers)
