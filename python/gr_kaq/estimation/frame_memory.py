# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiener interpolation that remembers: a frame's channel from its own training symbols and those of frames before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frames.frame_format import NUM_SYMBOLS, FrameFormat
from .frame_track import FrameTrack, Track
from .observation import Observation

__all__ = ["FrameMemory"]

FRAMES = 8


class FrameMemory:
    """An interpolator that follows the channel along a `FrameTrack`. Frames come in the order of their arrival.

    A frame that does not fit to those before is estimated by itself, and what follows builds on it. So is one whose
    `Observation.arrival` is not known.

    Args:
        frame_format: of the frames.
        frames: that an estimate is made of at most; 1: each by itself.

    Raises:
        ValueError: frames is below 1.

    Attributes:
        lost: frames that did not fit to those before.
    """

    def __init__(self, frame_format: FrameFormat, frames: int = FRAMES):
        if frames < 1:
            raise ValueError(f"frames is {frames}; at least 1 expected")
        self._format, self._frames = frame_format, frames
        self._track: FrameTrack | None = None
        self._errors = np.zeros(NUM_SYMBOLS)
        self.lost = 0

    @property
    def track(self) -> Track | None:
        """What is known at the last frame; None without a track."""
        return self._track.state() if self._track else None

    def error_variance(self, observation: Observation) -> NDArray[np.float64]:
        """Error variance of an entry of H at each symbol of the last frame, (14,), relative to the mean |h|^2."""
        return self._errors * self._format.num_tx / 10 ** (observation.snr_db / 10)

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        track, self._track = self._track, None  # so that none is left if this fails
        if not observation.noise_var.any():  # nothing is received
            self._errors = np.zeros(NUM_SYMBOLS)
            _, num_rx, num_tx, _ = observation.training.shape
            return np.zeros((NUM_SYMBOLS, self._format.num_active, num_rx, num_tx), np.complex64)
        placed = None
        if track is not None and observation.arrival is not None and not track.is_old(observation.arrival):
            placed = track.place(observation, observation.arrival)
            self.lost += placed is None or track.surprised
        if track is None or placed is None:
            track = FrameTrack(self._format, self._frames, observation)
            placed = track.begin(observation)
        channel, self._errors = track.estimate(placed, observation)
        if self._frames > 1 and observation.arrival is not None:
            self._track = track
        return channel
