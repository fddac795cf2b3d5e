# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiener interpolation that remembers: a frame's channel from its own training symbols and those of frames before.

`lib/frames/frame_track.h` says how. Here are the models that it needs, and what happens once in some frames: the fit of
the delay profile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..frames.frame_format import FrameFormat
from .delay_profile import profile_fit
from .interpolation import steps_of
from .observation import DOPPLERS, Observation, observer

__all__ = ["FrameMemory", "Track"]

FRAMES = 8
FIRST_STEPS, MORE_STEPS = 10, 2  # of the profile's fit; more where there are many delays
DELAYS_OF_A_STEP = 65


@dataclass(frozen=True)
class Track:
    """What is known of the channel from frame to frame.

    Attributes:
        frames: that the newest estimate is made of.
        carrier_offset: in cycles per sample, as the radio received it.
        delay: of the channel against the newest frame's start, in samples.
        dopplers: of each stream's strongest part, in cycles per OFDM symbol, (num_tx,).
        lines: what share of that part does not fade, because of a line of sight, (num_tx,).
    """

    frames: int
    carrier_offset: float
    delay: float
    dopplers: NDArray[np.float64]
    lines: NDArray[np.float64]


class FrameMemory:
    """An interpolator that follows the channel from frame to frame. Frames come in the order of their arrival.

    A frame that does not fit to those before is estimated by itself, and what follows builds on it. So is one whose
    `Observation.arrival` is not known.

    Args:
        frame_format: of the frames.
        frames: that an estimate is made of at most; 1: each by itself.

    Raises:
        ValueError: frames is below 1.

    Attributes:
        native: the `FrameMemory` of the kernel.
    """

    def __init__(self, frame_format: FrameFormat, frames: int = FRAMES):
        fit = profile_fit(frame_format)
        # from a frame's start to the middle of symbol 0's window
        middle = frame_format.preamble_length + frame_format.cp_length - frame_format.timing_advance
        self._frame_format, self._errors = frame_format, np.zeros(frame_format.num_symbols)
        self.native = native.extension().FrameMemory(
            observer=observer(frame_format).native,
            carriers=frame_format.active_carriers,
            fft_size=frame_format.fft_size,
            symbol_length=frame_format.symbol_length,
            lead=(middle + frame_format.fft_size / 2) / frame_format.symbol_length,
            sets=fit.sets.astype(np.int32),
            dopplers=DOPPLERS,
            frames=frames,
            fit=partial(_fit_profile, frame_format),
        )

    @property
    def track(self) -> Track | None:
        """What is known at the last frame; None without a track."""
        state = self.native.track
        return Track(*state) if state else None

    @property
    def lost(self) -> int:
        """Frames that did not fit to those before."""
        return int(self.native.lost)

    def error_variance(self, observation: Observation) -> NDArray[np.float64]:
        """Error variance of an entry of H at each symbol of the last frame, (14,), relative to the mean |h|^2."""
        return self._errors

    def __call__(self, observation: Observation) -> NDArray[np.complex64]:
        """The centred channel, complex64 (14, num_active, num_rx, num_tx)."""
        _, delay_model, doppler = steps_of(self._frame_format, observation)
        channel, self._errors = self.native.interpolate(
            training=observation.training.transpose(0, 2, 3, 1),
            noise_var=observation.noise_var,
            delay=observation.delay / self._frame_format.fft_size,
            carrier_offset=observation.carrier_offset,
            delay_model=delay_model,
            doppler=doppler,
            snr=10 ** (observation.snr_db / 10),
            arrival=observation.arrival,
        )
        return channel


def _fit_profile(
    frame_format: FrameFormat,
    covariance: NDArray[np.complex128],
    delay_model: int,
    powers: NDArray[np.float64] | None,
) -> Any:
    """The `DelayProfile` of the kernel that fits to this covariance: the first of a track, or one from `powers` on."""
    fit = profile_fit(frame_format)
    steps = MORE_STEPS
    if powers is None:
        powers, steps = fit.start(delay_model, covariance), FIRST_STEPS
    powers = fit.fit(covariance, powers, steps * math.ceil(len(powers) / DELAYS_OF_A_STEP))
    modes = fit.modes(powers)
    return native.extension().DelayProfile(
        powers=powers,
        frequency=modes.frequency.astype(np.complex64),
        seen=modes.seen,
        analysis=modes.analysis,
        noise=modes.noise,
        energies=modes.energies,
    )
