# SPDX-License-Identifier: GPL-3.0-or-later
"""What a beam does to a stream of samples while its user moves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .planar_array import PlanarArray, rician_channels

__all__ = ["ArrayChannel"]

NODE_DISTANCE = 256  # samples, over which the gain is linear
MAX_SPEED_DEG = 1e5  # per second


class ArrayChannel:
    """The gain of an array's beam towards one user, sample by sample; 1 at alignment.

        g[n] = w^H h[n] / sqrt(A N)     see `PlanarArray`; h: a plane wave from where the user is, and fading that stays

    Args:
        size: elements on each axis.
        sample_rate: in Hz.
        angles_deg: of the user at sample 0, from broadside along each axis.
        speed_deg: by how much both grow in a second.
        rice_db: see `rician_channels`; inf: line of sight only.
        phase_bits, spacing: see `PlanarArray`.
        beam: first, second, and if wanted the widths; at sample 0.
        seed: of the fading.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        size: Sequence[int],
        sample_rate: float,
        *,
        angles_deg: Sequence[float] = (0.0, 0.0),
        speed_deg: Sequence[float] = (0.0, 0.0),
        rice_db: float = math.inf,
        phase_bits: int | None = None,
        spacing: float = 0.5,
        beam: Sequence[int] = (0, 0),
        seed: int | np.random.SeedSequence = 0,
    ):
        for name, value, low, high in (
            ("size", size, 1, math.inf),
            ("angles_deg", angles_deg, -90, 90),
            ("speed_deg", speed_deg, -MAX_SPEED_DEG, MAX_SPEED_DEG),
        ):
            if len(value) != 2 or not all(low <= part <= high for part in value):
                raise ValueError(f"{name} is {value}; two numbers from {low:g} to {high:g} expected")
        if math.isnan(rice_db):
            raise ValueError("rice_db is NaN; a number or inf expected")
        self.array = PlanarArray(size[0], size[1], spacing=spacing, phase_bits=phase_bits)
        self._angles, self._speed = np.array(angles_deg, float), np.array(speed_deg, float) / sample_rate
        rng = np.random.default_rng(seed)
        fading = rician_channels(self.array, np.zeros(2), -math.inf, rng)
        share = 1.0 if rice_db == math.inf else 1 / (1 + 10 ** (-rice_db / 10))
        self._direct, self._fading = math.sqrt(share), math.sqrt(1 - share) * fading
        self.set_beam(beam)

    def set_beam(self, beam: Sequence[int]) -> None:
        """Use this beam from the next samples on.

        Raises:
            ValueError: see `PlanarArray.check`; the one before stays.
        """
        self.beam = self.array.check(beam)
        self._weights = self.array.weights(np.array([self.beam]))[0]

    def gains(self, first: int, count: int) -> NDArray[np.complex64]:
        """Of samples first, first + 1, ...: (count,)."""
        nodes = np.arange(first // NODE_DISTANCE, (first + count - 1) // NODE_DISTANCE + 2)
        if not self._speed.any():
            nodes = nodes[:1]
        angles = np.clip(self._angles + np.multiply.outer(nodes * NODE_DISTANCE, self._speed), -90, 90)
        h = self._direct * self.array.steering(self.array.frequencies(angles)) + self._fading
        at_nodes = h @ self._weights
        if len(nodes) == 1:
            return np.full(count, at_nodes[0], np.complex64)
        places = (first + np.arange(count)) / NODE_DISTANCE
        return (np.interp(places, nodes, at_nodes.real) + 1j * np.interp(places, nodes, at_nodes.imag)).astype(
            np.complex64
        )
