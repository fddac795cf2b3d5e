# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe: how much noise each receiver stands in each band of an axis, and the channel that follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimation.interpolation import FrequencyWienerInterpolator, LinearInterpolator, WienerInterpolator
from ..signals.bit_errors import BitErrorRate
from ..signals.signal_model import db, from_db
from .analytic import delay_responses, measured_response, space_responses
from .axes import Axis, Delay, Space, noise_samples
from .channel_fit import Channel, fit_channel
from .probed_link import Receiver
from .thresholds import Threshold, find_threshold

__all__ = ["Band", "Probe", "ProbedReceiver", "TargetUnreachable"]

RANGE_DB = (-60.0, 50.0)
START_DB = -36.0
LINEAR = (LinearInterpolator, FrequencyWienerInterpolator, WienerInterpolator)
RESPONSE_FRAMES = 100


class TargetUnreachable(ValueError):
    """The receiver is wrong too often without any interference."""


@dataclass(frozen=True)
class Band:
    """What one receiver does in one band.

    Attributes:
        low, high: edges, in the axis' unit.
        threshold: the power that it stands, in dB; see `axes` for what power is.
        density_db: the same as a density, in dB.
        response_db: by how much the mean squared error of the channel estimate grows per power, in dB, measured at the
            threshold (delay axis only, else nan), and its standard error.
        analytic_db: the same as it is known (linear estimators on the delay axis; LMMSE detection on the space axis,
            where it is that of the symbols), else nan.
        fallbacks: share of frames that a learned estimator left to LMMSE.
    """

    low: float
    high: float
    threshold: Threshold
    density_db: float
    response_db: float = math.nan
    response_error_db: float = math.nan
    analytic_db: float = math.nan
    fallbacks: float = 0.0


@dataclass(frozen=True)
class ProbedReceiver:
    """What one receiver does in all bands.

    Attributes:
        estimator, detector: of the receiver.
        clean: block errors without interference.
        bands: see `Band`.
        of_power, of_density: the channel by equal power and by equal density; None where there are fewer than three
            bands, or none does any harm.
    """

    estimator: str
    detector: str
    clean: BitErrorRate
    bands: tuple[Band, ...]
    of_power: Channel | None
    of_density: Channel | None

    def as_json(self) -> dict[str, Any]:
        """For a file; what is infinite or unknown is null."""
        return _plain(asdict(self))


class Probe:
    """Probes receivers on one axis of one link.

    Args:
        axis: that is divided into bands.
        target: block error rate at which a receiver counts as disturbed.
        num_frames: that there are at most for each threshold.
        max_error_db: standard error of a threshold that is enough.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, axis: Axis, *, target: float = 0.1, num_frames: int = 2000, max_error_db: float = 0.3):
        if not 0 < target < 1:
            raise ValueError(f"target is {target}; above 0 and below 1 expected")
        if num_frames < 1:
            raise ValueError(f"num_frames is {num_frames}; at least 1 expected")
        if not max_error_db > 0:
            raise ValueError(f"max_error_db is {max_error_db}; above 0 expected")
        self.axis, self.target = axis, target
        self._num_frames, self._max_error_db = num_frames, max_error_db

    def clean(self, receiver: Receiver) -> BitErrorRate:
        """Block errors without interference.

        Raises:
            TargetUnreachable: more than half of the target.
        """
        link = self.axis.link
        errors = 0
        for number in range(self._num_frames):
            frame = link.frame(number)
            errors += receiver.is_wrong(frame, *link.carriers(frame.samples, *frame.found))
        counted = BitErrorRate(errors, self._num_frames)
        if counted.rate > self.target / 2:
            low, high = counted.confidence_interval()
            raise TargetUnreachable(
                f"{receiver.name}: {counted.rate:.3f} of the blocks [{low:.3f}, {high:.3f}] are wrong without "
                f"interference; at most half of the target, {self.target / 2:g}, expected: a higher SNR, or target"
            )
        return counted

    def run(self, receiver: Receiver, progress: Callable[[int], object] = lambda band: None) -> ProbedReceiver:
        """Probe one receiver; `progress` is called after each band with its number.

        Raises:
            TargetUnreachable: see `clean`.
        """
        clean = self.clean(receiver)
        analytic = self._analytic(receiver)
        bands: list[Band] = []
        for number, (low, high) in enumerate(self.axis.edges):
            fallbacks, frames = receiver.fallbacks, receiver.frames
            threshold = self.threshold(receiver, number, clean)
            share = (receiver.fallbacks - fallbacks) / max(receiver.frames - frames, 1)
            density = threshold.level_db - float(db(self.axis.shares[number]))
            response = (math.nan, math.nan)
            if isinstance(self.axis, Delay):
                response = self.response(receiver, number, min(threshold.level_db, RANGE_DB[1]))
            bands.append(Band(float(low), float(high), threshold, density, *response, analytic[number], share))
            progress(number)
        channels = [self._channel([getter(band) for band in bands], bands) for getter in (_power, _density)]
        return ProbedReceiver(receiver.estimator, receiver.detector.name, clean, tuple(bands), *channels)

    def threshold(self, receiver: Receiver, band: int, clean: BitErrorRate) -> Threshold:
        """The power that a receiver stands in a band; `clean` is what `clean` says."""
        return find_threshold(
            lambda level, frame: self.is_wrong(receiver, band, level, frame),
            target=self.target,
            clean=min(clean.rate, self.target / 2),
            start_db=START_DB,
            range_db=RANGE_DB,
            num_frames=self._num_frames,
            max_error_db=self._max_error_db,
        )

    def is_wrong(self, receiver: Receiver, band: int, level_db: float, number: int) -> bool:
        """Whether a frame is wrong with noise of this power in a band."""
        carriers = self._disturbed(band, level_db, number)
        return carriers is None or receiver.is_wrong(self.axis.link.frame(number), *carriers)

    def block_error_rate(self, receiver: Receiver, band: int, level_db: float, num_frames: int) -> float:
        """Of the first frames."""
        return sum(self.is_wrong(receiver, band, level_db, number) for number in range(num_frames)) / num_frames

    def _disturbed(
        self, band: int, level_db: float, number: int
    ) -> tuple[NDArray[np.complex64], NDArray[np.complex64]] | None:
        """Carriers and guards of a frame with noise; None: the synchronizer does not find it."""
        link, axis = self.axis.link, self.axis
        frame = link.frame(number)
        noise = axis.noise(frame, band, np.random.default_rng([link.seed, number, band]))
        gain = np.float32(math.sqrt(from_db(level_db) / axis.shares[band]))
        samples = frame.samples.copy()
        length = link.frame_format.frame_length
        samples[:, frame.start : frame.start + length] += gain * noise_samples(link.frame_format, noise)
        found = link.synchronize(samples, frame.start) if axis.synchronizes else frame.found
        return link.carriers(samples, *found) if found else None

    def response(self, receiver: Receiver, band: int, level_db: float) -> tuple[float, float]:
        """By how much the error of the channel estimate grows per power of the noise, in dB; its standard error.

        Frames that are not found do not count.
        """
        link, errors = self.axis.link, []
        for number in range(min(RESPONSE_FRAMES, self._num_frames)):
            frame, disturbed = link.frame(number), self._disturbed(band, level_db, number)
            if disturbed is None:
                continue
            errors.append(measured_response(receiver, frame, link.carriers(frame.samples, *frame.found), disturbed))
        mean = np.mean(errors)
        spread = 10 / math.log(10) * np.std(errors) / mean / math.sqrt(len(errors))
        return float(db(mean)) - level_db, float(spread)

    def _analytic(self, receiver: Receiver) -> list[float]:
        link = self.axis.link
        frames = [link.frame(number) for number in range(min(RESPONSE_FRAMES, self._num_frames))]
        if isinstance(self.axis, Delay) and isinstance(receiver.interpolator, LINEAR):
            found = delay_responses(self.axis, receiver.interpolator, frames)
        elif isinstance(self.axis, Space) and receiver.detector.name == "lmmse":
            found = space_responses(link, frames)
        else:
            return [math.nan] * len(self.axis.edges)
        with np.errstate(divide="ignore"):
            return [float(value) for value in db(found)]

    def _channel(self, levels: Sequence[float], bands: Sequence[Band]) -> Channel | None:
        errors = [band.threshold.error_db for band in bands]
        if len(bands) < 3 or not np.isfinite(levels).any():
            return None
        return fit_channel(self.axis.positions, -np.array(levels), errors)


def _power(band: Band) -> float:
    return band.threshold.level_db


def _density(band: Band) -> float:
    return band.density_db


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
