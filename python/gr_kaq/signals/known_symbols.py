# SPDX-License-Identifier: GPL-3.0-or-later
"""Pseudo-random symbols that a transmitter sends and a bit error meter knows, from nothing but a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .constellation import Constellation

__all__ = ["KnownSymbols"]


class KnownSymbols:
    """A reproducible sequence of items, each of num_tx x num_subcarriers symbols.

    What an item holds depends on the seed and on its place in the sequence only, not on how many are drawn at once.

    Args:
        num_tx, num_subcarriers: symbols per item.
        constellation: of every stream.
        seed: the same seed gives the same symbols.
    """

    def __init__(self, num_tx: int, num_subcarriers: int, constellation: Constellation, seed: int = 0):
        self._shape = (num_tx, num_subcarriers)
        self._constellation = constellation
        # one byte per symbol, whole 64-bit words per item: an item's symbols can be drawn, and skipped, on their own
        self._words = -(-num_tx * num_subcarriers // 8)
        self._generator = np.random.PCG64(seed)

    def draw(self, count: int) -> NDArray[np.uint8]:
        """The next `count` items as indices into `Constellation.points`, (count, num_tx, num_subcarriers)."""
        words = self._generator.random_raw(count * self._words).astype("<u8", copy=False)
        octets = words.view(np.uint8).reshape(count, 8 * self._words)[:, : self._shape[0] * self._shape[1]]
        return (octets & (2**self._constellation.bits_per_symbol - 1)).reshape(count, *self._shape)

    def skip(self, count: int) -> None:
        """Leave out the next `count` items."""
        self._generator.advance(count * self._words)

    def bits(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bits of drawn symbols, (..., num_subcarriers) -> (..., num_subcarriers * bits_per_symbol)."""
        width = self._constellation.bits_per_symbol
        bits = np.unpackbits(indices[..., None], axis=-1)[..., 8 - width :]
        return bits.reshape(*indices.shape[:-1], indices.shape[-1] * width)
