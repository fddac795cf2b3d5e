# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels and samples that all contestants of a comparison see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import RayleighChannels, complex_normal
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.signal_model import from_db

__all__ = ["CONSTELLATION", "Link"]

CONSTELLATION = "16qam"
SNR_DB = 20.0


@dataclass(frozen=True)
class Link:
    """An estimate of C channels, i.i.d. Rayleigh, and T vectors for each: y = H x + n at 20 dB, 16-QAM.

    Args:
        num_rx, num_tx: antennas and streams.
        num_channels: C.
        num_vectors: T.
        seed: of everything.
    """

    num_rx: int
    num_tx: int
    num_channels: int
    num_vectors: int
    seed: int = 1

    @property
    def vectors(self) -> int:
        """Of all channels."""
        return self.num_channels * self.num_vectors

    @cached_property
    def noise_var(self) -> float:
        """Per receive antenna."""
        return self.num_tx / float(from_db(SNR_DB))

    @cached_property
    def h(self) -> NDArray[np.complex64]:
        """(C, num_rx, num_tx)."""
        return RayleighChannels(self.num_rx, self.num_tx, self.num_channels, seed=self.seed).draw(1)[0]

    @cached_property
    def y(self) -> NDArray[np.complex64]:
        """(C, T, num_rx), as NumPy and torch like it."""
        rng = np.random.default_rng(self.seed)
        points = CONSTELLATIONS[CONSTELLATION].points.astype(np.complex64)
        x = rng.choice(points, (self.num_channels, self.num_vectors, self.num_tx))
        y = x @ self.h.swapaxes(-1, -2)
        y += np.float32(np.sqrt(self.noise_var)) * complex_normal(rng, y.shape)
        return y

    @cached_property
    def streams(self) -> NDArray[np.complex64]:
        """(num_rx, T, C), one buffer per antenna, as a flowgraph has it."""
        return np.ascontiguousarray(self.y.transpose(2, 1, 0))
