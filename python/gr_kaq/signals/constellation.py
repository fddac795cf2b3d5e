# SPDX-License-Identifier: GPL-3.0-or-later
"""Gray-mapped QAM after 3GPP TS 38.211 section 5.1, with E|x|^2 = 1.

A square QAM symbol is two independent PAM symbols: even bits of a symbol go to the in-phase part, odd bits to the
quadrature part. Per part, the first bit is the sign and the others the magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CONSTELLATIONS", "Constellation", "constellation_named"]


@dataclass(frozen=True)
class Constellation:
    """One square QAM constellation.

    Args:
        name: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        bits_per_symbol: 2, 4, 6 or 8.
    """

    name: str
    bits_per_symbol: int

    @property
    def bits_per_dimension(self) -> int:
        """Bits carried by the in-phase (or quadrature) part."""
        return self.bits_per_symbol // 2

    @property
    def num_levels(self) -> int:
        """Number of PAM levels per real dimension."""
        return 2**self.bits_per_dimension

    @property
    def half_distance(self) -> float:
        """Half the distance between neighbouring levels; the levels are its odd multiples."""
        return float(1.0 / np.sqrt(2.0 * (4**self.bits_per_dimension - 1) / 3.0))

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """PAM levels in units of `half_distance`, ascending: (num_levels,) odd integers."""
        return 2 * np.arange(self.num_levels) - (self.num_levels - 1)

    @cached_property
    def level_bits(self) -> NDArray[np.uint8]:
        """Bits of each level: (num_levels, bits_per_dimension), the sign bit first."""
        indices = np.arange(self.num_levels)
        shifts = np.arange(self.bits_per_dimension)[::-1]
        labels = (indices[:, None] >> shifts & 1).astype(np.uint8)
        level_of_label = np.argsort(_pam(labels))
        return labels[level_of_label]

    @cached_property
    def points(self) -> NDArray[np.complex64]:
        """All symbols, (2**bits_per_symbol,), at the index that their bits spell, first bit most significant."""
        indices = np.arange(2**self.bits_per_symbol)
        shifts = np.arange(self.bits_per_symbol)[::-1]
        return self.modulate(indices[:, None] >> shifts & 1)[:, 0]

    def modulate(self, bits: ArrayLike) -> NDArray[np.complex64]:
        """Map bits (..., num_symbols * bits_per_symbol) to symbols (..., num_symbols)."""
        bits = np.asarray(bits)
        if bits.shape[-1] % self.bits_per_symbol:
            raise ValueError(f"{bits.shape[-1]} bits are no multiple of {self.bits_per_symbol} ({self.name})")
        bits = bits.reshape(*bits.shape[:-1], bits.shape[-1] // self.bits_per_symbol, self.bits_per_symbol)
        symbols = self.half_distance * (_pam(bits[..., 0::2]) + 1j * _pam(bits[..., 1::2]))
        return symbols.astype(np.complex64)

    def decide(self, symbols: ArrayLike) -> NDArray[np.uint8]:
        """Bits (..., num_symbols * bits_per_symbol) of the points nearest to symbols (..., num_symbols)."""
        symbols = np.asarray(symbols)
        bits = np.empty((*symbols.shape, self.bits_per_symbol), np.uint8)
        bits[..., 0::2] = self.level_bits[self._nearest_level(symbols.real)]
        bits[..., 1::2] = self.level_bits[self._nearest_level(symbols.imag)]
        return bits.reshape(*symbols.shape[:-1], symbols.shape[-1] * self.bits_per_symbol) if symbols.ndim else bits

    def _nearest_level(self, values: NDArray[np.floating]) -> NDArray[np.intp]:
        position = np.nan_to_num(values / (2 * self.half_distance) + (self.num_levels - 1) / 2)
        return np.clip(np.rint(position), 0, self.num_levels - 1).astype(np.intp)


def _pam(bits: NDArray) -> NDArray[np.int64]:
    """Levels of PAM labels (..., bits_per_dimension), TS 38.211 equations 5.1.3 to 5.1.6."""
    signs = 1 - 2 * bits.astype(np.int64)
    amplitude = np.ones(bits.shape[:-1], np.int64)
    for i in range(bits.shape[-1] - 1, 0, -1):
        amplitude = 2 ** (bits.shape[-1] - i) - signs[..., i] * amplitude
    return signs[..., 0] * amplitude


CONSTELLATIONS = {c.name: c for c in (Constellation(f"{4**m}qam" if m > 1 else "qpsk", 2 * m) for m in (1, 2, 3, 4))}


def constellation_named(name: str) -> Constellation:
    """The constellation called `name`.

    Raises:
        ValueError: no such constellation.
    """
    try:
        return CONSTELLATIONS[name]
    except KeyError:
        raise ValueError(f"unknown constellation {name!r}; one of {', '.join(CONSTELLATIONS)} expected") from None
