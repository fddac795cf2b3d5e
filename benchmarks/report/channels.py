# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels that are hard for detectors in other ways than correlation; a job's `channel` may name them, see `simulate`.

All are made of i.i.d. Rayleigh channels, and have mean |h|^2 = 1 over all entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import ChannelModel, RayleighChannels, complex_normal

__all__ = ["AlikeStreams", "UnequalPowers", "alike_streams", "unequal_powers"]


def unequal_powers(num_rx: int, num_tx: int, weaker_db: float, num_weak: int = 2) -> dict[str, Any]:
    """The last `num_weak` streams arrive `weaker_db` weaker than the others."""
    size = {"num_rx": num_rx, "num_tx": num_tx}
    return {"kind": "powers", **size, "weaker_db": weaker_db, "num_weak": num_weak}


def alike_streams(num_rx: int, num_tx: int, difference_db: float) -> dict[str, Any]:
    """The last two columns of H differ by a part of `difference_db` relative to their power only."""
    return {"kind": "alike", "num_rx": num_rx, "num_tx": num_tx, "difference_db": difference_db}


class UnequalPowers(ChannelModel):
    """I.i.d. Rayleigh channels with weaker streams at the end.

    Args:
        num_rx, num_tx: antennas and streams.
        weaker_db: by how many dB.
        num_weak: how many, fewer than num_tx.
        seed: the same seed draws the same channels.
    """

    def __init__(self, num_rx: int, num_tx: int, weaker_db: float, num_weak: int, seed: np.random.SeedSequence):
        if not 0 < num_weak < num_tx:
            raise ValueError(f"{num_weak} weak streams of {num_tx}; at least one of each kind expected")
        power = np.ones(num_tx)
        power[num_tx - num_weak :] = 10 ** (-weaker_db / 10)
        self._scale = np.sqrt(power / power.mean()).astype(np.float32)
        self._source = RayleighChannels(num_rx, num_tx, seed=seed)

    def draw(self, count: int) -> NDArray[np.complex64]:
        return self._source.draw(count) * self._scale


class AlikeStreams(ChannelModel):
    """I.i.d. Rayleigh channels whose last column is the one before, but for a small part.

    h_last = sqrt(1 - d) h_before + sqrt(d) w with d = 10^(-difference_db / 10) and w i.i.d. CN(0, 1): H is nearly
    singular, and two streams are all but one.

    Args:
        num_rx, num_tx: antennas and streams, at least two of them.
        difference_db: how much weaker the part is.
        seed: the same seed draws the same channels.
    """

    def __init__(self, num_rx: int, num_tx: int, difference_db: float, seed: np.random.SeedSequence):
        if num_tx < 2:
            raise ValueError(f"{num_tx} streams; at least 2 expected")
        self._share = 10 ** (-difference_db / 10)
        first, second = seed.spawn(2)
        self._source = RayleighChannels(num_rx, num_tx, seed=first)
        self._rng = np.random.default_rng(second)

    def draw(self, count: int) -> NDArray[np.complex64]:
        h = self._source.draw(count)
        other = complex_normal(self._rng, h.shape[:-1])
        h[..., -1] = np.float32(np.sqrt(1 - self._share)) * h[..., -2] + np.float32(np.sqrt(self._share)) * other
        return h
