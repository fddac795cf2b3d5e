# SPDX-License-Identifier: GPL-3.0-or-later
"""A planar array or metasurface in the far field, and its codebook over the two parameters of the phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ELEMENTS", "Beam", "PlanarArray", "rician_channels"]

MAX_ELEMENTS = 4096


class Beam(NamedTuple):
    """A beam of the codebook.

    Attributes:
        first, second: index on each axis; counted on a circle.
        first_width, second_width: how many times wider than the array's narrowest: that share of an axis is on.
    """

    first: int
    second: int
    first_width: int = 1
    second_width: int = 1


class PlanarArray:
    """Elements on a grid, whose phases follow two parameters, each of them on a circle.

        phase of element (m, n) = 2 pi (m first / num_first + n second / num_second)

    A direction has two *spatial frequencies*, in cycles per element: spacing times the sines of its two angles, modulo
    1. A plane wave is exp(2j pi (m f1 + n f2)) at the elements; beam (i, j) points to (i / num_first, j / num_second).
    At alignment the narrow beams are orthogonal, and between two of them a user loses up to 3.9 dB on each axis.

    A beam of width w has only the first 1/w of the elements of an axis on. Every element has an amplifier, so those
    that are off add no noise. With A of N elements on, the amplitude of a pilot in units of the noise is

        sqrt(snr) w^H h / sqrt(A N)     h: (N,), entries of mean power 1; w: A phases

    so that snr is that of the narrow beam at alignment, and a beam loses 10 log10(N / A) dB. The same holds for a
    transmitter that puts its power into the elements that are on.

    Args:
        num_first, num_second: elements on each axis, 1 to 4096 in all; each axis is as good as its number of beams.
        spacing: of neighbours, in wavelengths, above 0 to 1.
        phase_bits: each phase is one of 2^phase_bits, 1 to 4; None: any phase.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, num_first: int, num_second: int, *, spacing: float = 0.5, phase_bits: int | None = None):
        if num_first < 1 or num_second < 1 or num_first * num_second > MAX_ELEMENTS:
            raise ValueError(f"the array is {num_first}x{num_second}; 1 to {MAX_ELEMENTS} elements expected")
        if not 0 < spacing <= 1:
            raise ValueError(f"spacing is {spacing}; above 0, at most 1 wavelength expected")
        if phase_bits is not None and phase_bits not in range(1, 5):
            raise ValueError(f"phase_bits is {phase_bits}; None, or 1 to 4 expected")
        self.shape = (int(num_first), int(num_second))
        self.spacing = float(spacing)
        self.phase_bits = phase_bits
        self.num_beams = self.shape[0] * self.shape[1]
        """Of the narrow ones."""

    def check(self, beam: Sequence[int]) -> Beam:
        """`beam` as a `Beam`.

        Raises:
            ValueError: an index or a width is out of range.
        """
        made = Beam(*(int(value) for value in beam))
        for name, index, width, count in zip(("first", "second"), made[:2], made[2:], self.shape, strict=True):
            if not 0 <= index < count:
                raise ValueError(f"{name} of the beam is {index}; 0 to {count - 1} expected")
            if not 1 <= width <= count:
                raise ValueError(f"{name}_width of the beam is {width}; 1 to {count} expected")
        return made

    def covered(self, beam: Beam) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Indices on each axis of the narrow beams that it covers: as many as it is wide, around its own."""
        rows, columns = (
            (index - width // 2 + np.arange(width)) % count
            for index, width, count in zip(beam[:2], beam[2:], self.shape, strict=True)
        )
        return rows, columns

    def weights(self, beams: NDArray[np.integer]) -> NDArray[np.complex64]:
        """What each element's sample is multiplied by, (n, N), for beams (n, 4): conj(w) / sqrt(A N), zeros where off.

        Element (m, n) is number m num_second + n.
        """
        beams = np.asarray(beams).reshape(-1, 4)
        turns, on = np.zeros((len(beams), *self.shape)), np.ones((len(beams), *self.shape), np.bool_)
        for axis, count in enumerate(self.shape):
            along = np.arange(count).reshape((-1, 1) if axis == 0 else (1, -1))
            turns += beams[:, axis, None, None] * along / count
            on &= along < np.maximum(count // beams[:, 2 + axis], 1)[:, None, None]
        if self.phase_bits is not None:
            turns = np.rint(turns * 2**self.phase_bits) / 2**self.phase_bits
        scale = on / np.sqrt(on.sum((1, 2), keepdims=True) * self.num_beams)
        return (scale * np.exp(-2j * np.pi * turns)).reshape(len(beams), -1).astype(np.complex64)

    def steering(self, frequencies: NDArray[np.floating]) -> NDArray[np.complex64]:
        """Plane waves at the elements, (..., N), from spatial frequencies (..., 2) in cycles per element."""
        parts = [
            np.exp(2j * np.pi * frequencies[..., axis, None] * np.arange(count))
            for axis, count in enumerate(self.shape)
        ]
        waves = parts[0][..., :, None] * parts[1][..., None, :]
        return waves.reshape(*waves.shape[:-2], -1).astype(np.complex64)

    def frequencies(self, angles_deg: NDArray[np.floating]) -> NDArray[np.floating]:
        """Spatial frequencies (..., 2) of directions (..., 2): the angle from broadside along each axis, in degrees."""
        return self.spacing * np.sin(np.radians(angles_deg))

    def nearest(self, frequencies: NDArray[np.floating]) -> NDArray[np.int_]:
        """The narrow beams (..., 2) that point closest to spatial frequencies (..., 2)."""
        return np.rint(np.asarray(frequencies) * self.shape).astype(int) % self.shape

    def narrow_beams(self) -> NDArray[np.int_]:
        """All narrow beams, (num_beams, 4), first axis outermost."""
        indices = np.indices(self.shape).reshape(2, -1).T
        return np.hstack([indices, np.ones_like(indices)])


def rician_channels(
    array: PlanarArray, frequencies: NDArray[np.floating], rice_db: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Channels (..., N) of mean power 1 per element: a plane wave, and independent Rayleigh fading.

    Args:
        array: whose elements.
        frequencies: of the plane wave, (..., 2).
        rice_db: power of the plane wave over that of the fading; inf: line of sight only, -inf: none.
        rng: draws the phase of the wave, and the fading.
    """
    h = array.steering(frequencies)
    h *= np.exp(2j * np.pi * rng.random(h.shape[:-1]))[..., None]
    if rice_db == math.inf:
        return h
    ratio = 10 ** (rice_db / 10)
    fading = rng.standard_normal((*h.shape, 2)).view(np.complex128)[..., 0] / math.sqrt(2)
    return (math.sqrt(ratio / (1 + ratio)) * h + math.sqrt(1 / (1 + ratio)) * fading).astype(np.complex64)
