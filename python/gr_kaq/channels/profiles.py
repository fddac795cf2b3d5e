# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay lines by the names of their profiles."""

from __future__ import annotations

import numpy as np

from .clustered_delay_line import CLUSTERS, ClusteredDelayLine
from .delay_line import DelayLine
from .fading import PROFILES as TAPS
from .fading import TappedDelayLine

__all__ = ["PROFILES", "delay_line"]

PROFILES = (*TAPS, *CLUSTERS)
"""``"flat"``, ``"tdl-a"`` to ``"tdl-e"``, ``"cdl-a"`` to ``"cdl-e"``."""


def delay_line(
    num_rx: int,
    num_tx: int,
    *,
    profile: str,
    delay_spread: float = 100e-9,
    doppler: float = 0.0,
    seed: int | np.random.SeedSequence = 0,
) -> DelayLine:
    """A `TappedDelayLine` or `ClusteredDelayLine`, which say what the arguments are.

    Raises:
        ValueError: an argument is out of range, or there is no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; one of {', '.join(PROFILES)} expected")
    line = ClusteredDelayLine if profile in CLUSTERS else TappedDelayLine
    return line(num_rx, num_tx, profile=profile, delay_spread=delay_spread, doppler=doppler, seed=seed)
