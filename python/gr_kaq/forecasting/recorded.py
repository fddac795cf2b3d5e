# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials of predictors on recorded channels: what came later is the target, with its own estimation errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..channels.sequence_file import ChannelSequence
from .alignment import aligned
from .faults import Faults, without_faults
from .likelihood import likely_noise
from .series import Series
from .simulation import Trial
from .taps import strongest_taps

__all__ = ["RecordedScene"]


class RecordedScene:
    """A recording, in one phase and timing, cut into windows.

    The noise is at least what the SNR in the file says. Where it says none, it is at least what lies beside the taps.
    How much there is, each window says itself (`likelihood.likely_noise`).

    Args:
        sequence: that was recorded.
        num_taps: neighbouring delays of a pair of antennas.
        history: estimates before a forecast.

    Raises:
        ValueError: there are fewer packets, or no more carriers than taps.

    Attributes:
        faults: that were found in the windows so far.
        step: median time between packets, in seconds.
        shape: of the series: taps, antennas, streams.
    """

    def __init__(self, sequence: ChannelSequence, num_taps: int = 8, history: int = 64):
        h: NDArray[np.complexfloating] = sequence.h
        if sequence.snr_db is not None:  # it says how strong packets were, each of which was scaled
            snr = 10 ** (sequence.snr_db / 10)
            h = (h * np.sqrt(snr / snr.mean())[:, None, None, None]).astype(np.complex64)
        h = aligned(h, sequence.carriers, sequence.times)
        taps = strongest_taps(h, sequence.carriers, num_taps)
        noise = taps.residual(h) if sequence.snr_db is None else h.shape[3] / float(np.mean(snr))
        g = taps(h)
        self.shape: tuple[int, int, int] = g.shape[1], g.shape[2], g.shape[3]
        self.faults = Faults()
        self._g = g
        self._noise = np.repeat(max(noise, 1e-9) * taps.noise, self.shape[1] * self.shape[2])
        self._times, self._history = sequence.times, history
        self.step = float(np.median(np.diff(sequence.times))) if len(sequence.times) > 1 else 0.0

    def windows(self, count: int, ahead: NDArray[np.int64]) -> list[int]:
        """Where windows end, so many at most, at equal distances over the recording.

        Raises:
            ValueError: not even one fits.
        """
        last = len(self._times) - 1 - int(ahead.max(initial=0))
        if last < self._history - 1:
            raise ValueError(
                f"{len(self._times)} packets; at least {self._history + int(ahead.max(initial=0))} expected, for the "
                "history and the horizons"
            )
        ends = np.linspace(self._history - 1, last, min(count, last - self._history + 2))
        return [int(end) for end in np.unique(np.rint(ends))]

    def trial(self, end: int, ahead: NDArray[np.int64]) -> Trial:
        """The window that ends with this packet; the horizons are when the later packets came."""
        window = slice(end - self._history + 1, end + 1)
        clean, faults = without_faults(self._g[window])
        self.faults += faults
        series = likely_noise(Series(self._times[window], clean.reshape(self._history, -1).T, self._noise))
        return Trial(
            series, self._g[end + ahead].reshape(len(ahead), -1).T, self._times[end + ahead] - self._times[end]
        )
