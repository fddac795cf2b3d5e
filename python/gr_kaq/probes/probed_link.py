# SPDX-License-Identifier: GPL-3.0-or-later
"""The link that is probed: frames that were received once, and receivers that decode them with more noise.

All receivers, bands and levels see the same frames: the same fading, noise and payload. Each frame has a channel of its
own (`gr_kaq.channels.radio_channel.RadioChannel`), and its sender is neither off in frequency nor in clock, so that
noise on a carrier stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..channels.radio_channel import RadioChannel
from ..detection.detector import Detector
from ..estimation.estimator import INTERPOLATORS, ChannelEstimator, Estimate, Observation, observe
from ..estimation.frame_memory import FrameMemory
from ..estimation.interpolation import Interpolator
from ..frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from ..frames.payload import PayloadCoder, max_payload
from ..frames.synchronization import FoundFrame, Synchronizer

__all__ = [
    "CARRIER_SPACING",
    "Link",
    "ReceivedFrame",
    "Receiver",
    "centre",
    "data_channel",
    "frame_near",
    "make_interpolator",
    "sent_samples",
]

CARRIER_SPACING = 31250.0
TRAINING = np.array(TRAINING_SYMBOLS)


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame as it came, and the truth.

    Attributes:
        number: of the frame.
        payload: that was sent.
        samples: complex64 (num_rx, n).
        start: its first sample.
        found: where the synchronizer finds it without more noise, and the carrier offset in cycles per sample.
        observation: what its training says without more noise.
        channel: at the data carriers, (11, num_data, num_rx, num_tx).
    """

    number: int
    payload: bytes
    samples: NDArray[np.complex64]
    start: int
    found: tuple[int, float]
    observation: Observation
    channel: NDArray[np.complex64]


class Link:
    """Frames by their number. Those that the synchronizer does not find are left out: they tell nothing of a band.

    Args:
        frame_format: of the frames.
        num_rx: receive antennas.
        snr_db: nominal, in dB.
        profile, delay_spread, doppler: of the channel; seconds and Hz.
        seed: of all.
    """

    def __init__(
        self,
        frame_format: FrameFormat,
        num_rx: int,
        *,
        snr_db: float,
        profile: str = "tdl-a",
        delay_spread: float = 100e-9,
        doppler: float = 200.0,
        seed: int = 1,
    ):
        self.frame_format, self.num_rx, self.seed = frame_format, num_rx, seed
        self.coder = PayloadCoder(frame_format)
        self._arguments: dict[str, Any] = {
            "sample_rate": CARRIER_SPACING * frame_format.fft_size,
            "profile": profile,
            "delay_spread": delay_spread,
            "doppler": doppler,
        }
        self._snr_db = snr_db
        self._frames: list[ReceivedFrame] = []
        self._tried = 0
        self.noise_var = self._channel(0, snr_db).noise_var

    def frame(self, number: int) -> ReceivedFrame:
        """The frame with this number; those before it are made, too."""
        while len(self._frames) <= number:
            made = self._make(self._tried)
            self._tried += 1
            if made:
                self._frames.append(made)
            elif self._tried > 2 * len(self._frames) + 100:
                raise ValueError("hardly a frame is found without interference; a higher SNR expected")
        return self._frames[number]

    def synchronize(self, samples: NDArray[np.complex64], start: int) -> tuple[int, float] | None:
        """Where the synchronizer finds the frame that begins at `start`, and its carrier offset; None: it does not."""
        found = Synchronizer(self.frame_format, self.num_rx).push(samples)
        near = frame_near(self.frame_format, found, start)
        return (near.start, near.carrier_offset) if near else None

    def carriers(
        self, samples: NDArray[np.complex64], start: int, carrier_offset: float
    ) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Active carriers (14, num_rx, num_active) and guards of a frame."""
        frame = self.frame_format
        first = start + frame.preamble_length + frame.cp_length - frame.timing_advance
        places = first + frame.symbol_length * np.arange(NUM_SYMBOLS)[:, None] + np.arange(frame.fft_size)
        turns = np.exp(-2j * np.pi * carrier_offset * (places - start))
        grid, guards = frame.transform(samples[:, places].swapaxes(0, 1) * turns[:, None])
        return grid.astype(np.complex64), guards.astype(np.complex64)

    def _channel(self, number: int, snr_db: float) -> RadioChannel:
        seed = np.random.SeedSequence([self.seed, number])
        return RadioChannel(self.num_rx, self.frame_format.num_tx, snr_db=snr_db, seed=seed, **self._arguments)

    def _make(self, number: int) -> ReceivedFrame | None:
        frame = self.frame_format
        rng = np.random.default_rng([self.seed, number])
        payload = rng.bytes(max_payload(frame))
        symbols = frame.map_bits(self.coder.encode(payload))
        channel = self._channel(number, self._snr_db)
        lead = int(rng.integers(2 * frame.symbol_length, 4 * frame.symbol_length))
        start = lead + channel.latency
        sent = sent_samples(frame, symbols, [lead], channel.latency)
        samples = channel.process(sent)
        found = self.synchronize(samples, start)
        if found is None:
            return None
        truth = data_channel(
            frame, symbols, sent, lambda x: frame.demodulate(self._channel(number, np.inf).process(x), start)
        )
        grid, guards = self.carriers(samples, *found)
        return ReceivedFrame(number, payload, samples, start, found, observe(frame, grid, guards), truth)


def sent_samples(
    frame_format: FrameFormat, symbols: NDArray[np.complex64], starts: Sequence[int], latency: int
) -> NDArray[np.complex64]:
    """Samples (num_tx, n) with a frame at each of these places, until the last is through a channel of this latency.

    Args:
        frame_format: of the frames.
        symbols: data of each of them, (11, num_data, num_tx).
        starts: first samples, ascending.
        latency: in samples.
    """
    length = starts[-1] + frame_format.frame_length + latency + 4 * frame_format.symbol_length
    sent, samples = np.zeros((frame_format.num_tx, length), np.complex64), frame_format.modulate(symbols)
    for start in starts:
        sent[:, start : start + frame_format.frame_length] = samples
    return sent


def data_channel(
    frame_format: FrameFormat,
    symbols: NDArray[np.complex64],
    sent: NDArray[np.complex64],
    receive: Callable[[NDArray[np.complex64]], NDArray[np.complex64]],
) -> NDArray[np.complex64]:
    """The channel that each data carrier of a frame has, (11, num_data, num_rx, num_tx): of each stream alone.

    Args:
        frame_format: of the frame.
        symbols: data that was sent, (11, num_data, num_tx).
        sent: the samples, (num_tx, n).
        receive: from samples that are sent to the frame's grid without noise, (14, num_rx, num_active).
    """
    on = np.array(frame_format.data_symbols)[:, None]
    columns = []
    for stream in range(frame_format.num_tx):
        alone = np.zeros_like(sent)
        alone[stream] = sent[stream]
        columns.append(receive(alone)[on, :, frame_format.data_indices] / symbols[..., stream, None])
    return np.stack(columns, axis=-1)


def frame_near(frame_format: FrameFormat, found: Sequence[FoundFrame], start: int) -> FoundFrame | None:
    """Of the frames that a synchronizer has found, the one that begins there, within a cyclic prefix."""
    return next((frame for frame in found if abs(frame.start - start) < frame_format.cp_length), None)


class Receiver:
    """From the carriers of a frame to its payload.

    Args:
        link: whose frames are received.
        estimator: a key of `INTERPOLATORS` but one that remembers frames, or the name or path of a learned estimator.
        detector: for the constellation.
        known_statistics: noise variance, delay spread, Doppler, mean delay and carrier offset are what the frame says
            without the interference, and this is not searched for, so that a linear estimator is the same filter at any
            level.

    Attributes:
        frames: estimated so far.
    """

    def __init__(self, link: Link, estimator: str, detector: Detector, known_statistics: bool = False):
        self.link, self.detector, self.estimator = link, detector, estimator
        self.interpolator = make_interpolator(link.frame_format, estimator)
        self._known = _KnownStatistics(link.frame_format, self.interpolator) if known_statistics else None
        self._estimator = ChannelEstimator(
            link.frame_format, self._known or self.interpolator, whitens=not known_statistics
        )
        self._clean: dict[int, Estimate] = {}
        self.frames = 0

    @property
    def name(self) -> str:
        """Of estimator and detector."""
        return f"{self.estimator} + {self.detector.name}"

    @property
    def fallbacks(self) -> int:
        """Frames that a learned estimator left to LMMSE so far."""
        counted = (getattr(self.interpolator, name, 0) for name in ("outside", "fallbacks"))
        return sum(counted)

    def estimate(self, frame: ReceivedFrame, grid: NDArray[np.complex64], guards: NDArray[np.complex64]) -> Estimate:
        """The estimate of a frame with these carriers."""
        self.frames += 1
        self._estimator.forget_noise()  # which may have been of another band and level
        if not self._known:
            return self._estimator.estimate(grid, guards)
        self._known.statistics = frame.observation
        clean = self._clean.get(frame.number)
        if clean is None:
            own = self.link.carriers(frame.samples, *frame.found)
            clean = self._clean[frame.number] = self._estimator.estimate(*own)
        return replace(self._estimator.estimate(grid, guards), noise_var=clean.noise_var, error=clean.error)

    def is_wrong(self, frame: ReceivedFrame, grid: NDArray[np.complex64], guards: NDArray[np.complex64]) -> bool:
        """Whether the payload is not what was sent."""
        data = self._estimator.data_symbols(grid, self.estimate(frame, grid, guards))
        return self.link.coder.decode(data.llrs(self.link.frame_format, self.detector)) != frame.payload


class _KnownStatistics:
    """An interpolator that has the statistics of another observation, and its mean delay and carrier offset."""

    def __init__(self, frame_format: FrameFormat, interpolator: Interpolator):
        self._frame_format, self._interpolator = frame_format, interpolator
        self.statistics: Observation | None = None

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        assert self.statistics is not None
        frame, known = self._frame_format, self.statistics
        turn = centre(frame, observation) / centre(frame, known)  # (14, num_active)
        at_training = turn[TRAINING[:, None, None], frame.training_indices]  # (3, num_tx, P)
        training = (observation.training * at_training[:, None]).astype(np.complex64)
        h = self._interpolator(replace(known, training=training))
        return (h / turn[:, :, None, None]).astype(np.complex64)


def centre(frame_format: FrameFormat, observation: Observation) -> NDArray[np.complex128]:
    """What `observe` has taken out of a channel: (14, num_active)."""
    turns = observation.carrier_offset * np.arange(NUM_SYMBOLS)[:, None]
    turns = turns - observation.delay / frame_format.fft_size * frame_format.active_carriers
    return np.exp(2j * np.pi * turns)


def make_interpolator(frame_format: FrameFormat, name: str) -> Interpolator:
    """The estimator with this name, or from this file.

    Raises:
        ValueError: there is none, or it remembers frames.
        ImportError: it is a learned one, and ONNX Runtime is missing.
    """
    make: Callable[[FrameFormat], Interpolator] | None = INTERPOLATORS.get(name)
    if make is FrameMemory:
        raise ValueError(
            f"{name} remembers frames; a probe takes each by itself, so that another estimator is expected"
        )
    if make:
        return make(frame_format)
    from ..estimation.learned import LearnedInterpolator  # noqa: PLC0415 - ONNX Runtime is optional

    return LearnedInterpolator(frame_format, name)
