# SPDX-License-Identifier: GPL-3.0-or-later
"""Series of simulated channels to try predictors: estimates with noise, what comes without, and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..channels.users import User, UserDelayLine
from ..frames.frame_format import FrameFormat
from .fading import Fading
from .series import Series
from .taps import DelayTaps
from .wiener import Correlation, known_wiener

__all__ = ["GAP", "Scene", "Trial"]

GAP = 256  # samples between frames
SPACING = 31.25e3  # of the carriers, in Hz


@dataclass(frozen=True, eq=False)
class Trial:
    """One window of a sequence.

    Attributes:
        series: taps that were estimated; the last axis of `place` runs fastest.
        targets: the taps that come, without noise, (S, H).
        horizons: when, in seconds after the newest estimate, (H,).
        correlation: of each series, from lags (...) to (S, ...); None for what was recorded.
        powers: mean |g|^2 of each series, (S,); None for what was recorded.
    """

    series: Series
    targets: NDArray[np.complex128]
    horizons: NDArray[np.float64]
    correlation: Correlation | None = None
    powers: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Scene:
    """Channels of users, estimated once per frame of the reference numerology.

    Args:
        num_rx: antennas.
        users: one for each stream.
        profile, delay_spread: as `UserDelayLine` takes them.
        snr_db: mean |h|^2 of a carrier over the variance of its least-squares estimate, in dB.
        num_taps: neighbouring delays of a pair of antennas.
        history: estimates before the forecast.
    """

    num_rx: int
    users: Sequence[User]
    profile: str = "tdl-a"
    delay_spread: float = 100e-9
    snr_db: float = 20.0
    num_taps: int = 8
    history: int = 64

    @property
    def frame_format(self) -> FrameFormat:
        """Of the frames."""
        return FrameFormat(len(self.users))

    @property
    def step(self) -> float:
        """From frame to frame, in seconds."""
        frame = self.frame_format
        return (frame.frame_length + GAP) / (frame.fft_size * SPACING)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the series: taps, antennas, streams."""
        return self.num_taps, self.num_rx, len(self.users)

    def draw(self, seed: int, ahead: NDArray[np.int64]) -> Trial:
        """A channel of its own for each seed.

        Args:
            seed: of channel and noise.
            ahead: how many frames after the newest estimate, (H,).
        """
        channel_seed, noise_seed = np.random.SeedSequence(seed).spawn(2)
        channel = UserDelayLine(
            self.num_rx, self.users, profile=self.profile, delay_spread=self.delay_spread, seed=channel_seed
        )
        carriers = self.frame_format.active_carriers
        taps, leaks = self._taps(channel)
        frames = np.concatenate([np.arange(self.history), self.history - 1 + ahead])
        truth = taps(channel.frequency_response(frames * self.step, carriers * SPACING))
        truth = truth.reshape(len(frames), -1).T
        noise = np.repeat(10 ** (-self.snr_db / 10) * taps.noise, self.num_rx * len(self.users))
        parts = np.random.default_rng(noise_seed).standard_normal((2, len(truth), self.history))
        errors = np.sqrt(noise / 2)[:, None] * (parts[0] + 1j * parts[1])
        series = Series(frames[: self.history] * self.step, truth[:, : self.history] + errors, noise)
        powers, correlation = _statistics(channel, leaks, self.num_rx)
        return Trial(series, truth[:, self.history :], ahead * self.step, correlation, powers)

    def bound(self, seed: int, ahead: NDArray[np.int64]) -> NDArray[np.float64]:
        """NMSE (H,) that no predictor is below, in the mean over channels like that of this seed."""
        trial = self.draw(seed, ahead)
        assert trial.correlation is not None and trial.powers is not None
        forecast = known_wiener(trial.series, trial.horizons, trial.correlation, trial.powers)
        return forecast.error_var.sum(axis=0) / trial.powers.sum()

    def _taps(self, channel: UserDelayLine) -> tuple[DelayTaps, NDArray[np.float64]]:
        """The taps with the most power, and the share of each of the channel's taps in them, (num_taps, taps)."""
        carriers = self.frame_format.active_carriers
        waves = np.exp(-2j * np.pi * np.outer(carriers, channel.delays * SPACING))
        span = int(carriers[-1] - carriers[0]) + 1
        choices = [DelayTaps(carriers, first, self.num_taps) for first in range(-self.num_taps + 1, span // 4)]
        leaks = [np.abs(choice.analysis @ waves) ** 2 for choice in choices]
        best = int(np.argmax([np.sum(leak * channel.powers) for leak in leaks]))
        return choices[best], leaks[best]


def _statistics(channel: UserDelayLine, leaks: NDArray[np.float64], num_rx: int) -> tuple[NDArray, Correlation]:
    """Powers (S,), and the correlation of each series."""
    kinds: dict[Fading, NDArray[np.float64]] = {}  # and how much of it is in each (tap, stream)
    for tap, stream in np.ndindex(channel.lines.shape):
        fading = Fading(*(float(x[tap, stream]) for x in (channel.dopplers, channel.lines, channel.shifts)))
        share = kinds.setdefault(fading, np.zeros((len(leaks), channel.lines.shape[1])))
        share[:, stream] += leaks[:, tap] * channel.powers[tap]
    total = np.sum(list(kinds.values()), axis=0)
    weights = {
        fading: np.repeat((share / total)[:, None], num_rx, axis=1).reshape(-1) for fading, share in kinds.items()
    }

    def correlation(lags: NDArray[np.float64]) -> NDArray[np.complex128]:
        parts = [np.multiply.outer(weight, fading.correlation(lags)) for fading, weight in weights.items()]
        return np.sum(parts, axis=0)

    return np.repeat(total[:, None], num_rx, axis=1).reshape(-1), correlation
