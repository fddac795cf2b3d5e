# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams from several users: each has its own speed, line of sight and scatterers that stand still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .delay_line import DelayLine, check_line, phasors, read_profile
from .fading import LINE_OF_SIGHT, PROFILES, TappedDelayLine

__all__ = ["User", "UserDelayLine"]


@dataclass(frozen=True)
class User:
    """Who sends a stream.

    Args:
        doppler: the largest Doppler shift of what this user's movement changes, in Hz.
        rice_db: power of the line of sight over that of what is scattered, in the strongest tap, in dB; -inf: no line.
        static: share of the taps that do not change, since the scatterers move and the user does not; 0 to 1.

    Raises:
        ValueError: an argument is out of range.
    """

    doppler: float
    rice_db: float = -math.inf
    static: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.doppler < math.inf:
            raise ValueError(f"doppler is {self.doppler}; at least 0 and finite expected")
        if not self.rice_db <= 100:
            raise ValueError(f"rice_db is {self.rice_db}; at most 100 expected")
        if not 0 <= self.static <= 1:
            raise ValueError(f"static is {self.static}; 0 to 1 expected")


class UserDelayLine(DelayLine):
    """A `DelayLine` with one user for each stream; all have the same delays and powers.

    Tap p of stream j and antenna i is

        g_p,ij(t) = sqrt(power_p) (sqrt(1 - line_pj) s_p,ij(t) + sqrt(line_pj) exp(2j pi (shift_pj t + phase_p,ij)))

    s: as `TappedDelayLine` has it, with the user's Doppler, or 0 in a tap that stands still. The line of sight comes
    from an angle of its own, so its shift is the Doppler times that angle's cosine.

    Args:
        num_rx: antennas.
        users: one for each stream.
        profile: a key of `fading.PROFILES` without a line of sight of its own.
        delay_spread: RMS delay spread, in seconds.
        seed: the same seed draws the same channel.

    Raises:
        ValueError: an argument is out of range.

    Attributes:
        dopplers, lines, shifts: of each tap and stream, (taps, num_tx); in Hz, as a share of the tap's power, in Hz.
    """

    def __init__(
        self,
        num_rx: int,
        users: Sequence[User],
        *,
        profile: str = "tdl-a",
        delay_spread: float = 100e-9,
        seed: int | np.random.SeedSequence = 0,
    ):
        check_line(num_rx, len(users), delay_spread, 0.0)
        if profile in LINE_OF_SIGHT:
            raise ValueError(f"profile is {profile!r}, which has a line of sight; one without expected, and rice_db")
        delays, powers, _ = read_profile(profile, PROFILES)
        super().__init__(delays * delay_spread, powers, max(user.doppler for user in users))
        sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        own, *seeds = sequence.spawn(1 + 2 * len(users))
        rng = np.random.default_rng(own)
        taps = len(powers)
        self.dopplers = np.empty((taps, len(users)))
        self.lines, self.shifts = np.zeros((taps, len(users))), np.zeros((taps, len(users)))
        for stream, user in enumerate(users):
            still = rng.permutation(taps) < round(user.static * taps)
            self.dopplers[:, stream] = np.where(still, 0, user.doppler)
            ratio = 10 ** (user.rice_db / 10)
            strongest = np.argmax(powers)
            self.lines[strongest, stream] = ratio / (1 + ratio)
            self.shifts[strongest, stream] = user.doppler * np.cos(2 * np.pi * rng.random())
        self._phases = rng.random((taps, num_rx, len(users)))

        def scattered(doppler: float, seed: np.random.SeedSequence) -> TappedDelayLine:
            return TappedDelayLine(num_rx, 1, profile=profile, delay_spread=delay_spread, doppler=doppler, seed=seed)

        self._moving = [scattered(user.doppler, seed) for user, seed in zip(users, seeds[::2], strict=True)]
        self._still = [scattered(0.0, seed) for seed in seeds[1::2]]

    def _gains(self, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.complex64]:
        times = (coarse[:, None] + fine).ravel()
        columns = []
        for stream, (moving, still) in enumerate(zip(self._moving, self._still, strict=True)):
            gains = moving.gains(times)
            at_rest = self.dopplers[:, stream] == 0
            gains[:, at_rest] = still.gains(times[:1])[:, at_rest]
            columns.append(gains)
        scattered = np.concatenate(columns, axis=3)
        amplitude = np.sqrt(self.lines * self.powers[:, None])[:, None]
        turns = times[:, None, None, None] * self.shifts[:, None] + self._phases
        scattered *= np.sqrt(1 - self.lines).astype(np.float32)[:, None]
        scattered += amplitude.astype(np.float32) * phasors(turns)
        return scattered
