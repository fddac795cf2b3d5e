# SPDX-License-Identifier: GPL-3.0-or-later
"""The convolutional code of payloads in NumPy, for wheels, which have nothing of gr-fec: the same bits are sent.

K = 7, rate 1/2, generators 171 and 133 (octal), terminated; decoded by Viterbi's algorithm, blocks side by side:
milliseconds for a thousand bits, where gr-fec takes a fraction of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coder"]

MEMORY = 6  # bits
STATES = 1 << MEMORY
POLYNOMIALS = (79, 109)  # bit i takes the input bit i steps ago
LEVELS = 127.0  # the greatest magnitude of a scaled LLR, as gr-fec's decoder takes it

# Register: the state before, and the newest bit in its lowest place; the state after is its lowest 6 bits.
_OUTPUTS = np.array([[(register & p).bit_count() % 2 for p in POLYNOMIALS] for register in range(2 * STATES)])
_SIGNS = (2.0 * _OUTPUTS - 1.0).astype(np.float32)


class Coder:
    """Encoder and decoder of blocks of bytes, as `gr_kaq.frames._coding.Coder`.

    Args:
        num_bits: of a block, before it is coded.
        scrambler: what the bytes of a block are XORed with before they are coded.
        places: of each coded bit, where its LLR is among those of all streams, one stream after the other.
        num_streams: how many those are.
        median_level: magnitude of a typical LLR in 8-bit levels, after scaling.
    """

    def __init__(
        self, *, num_bits: int, scrambler: bytes, places: NDArray[np.int64], num_streams: int, median_level: float
    ):
        places = np.asarray(places)
        self.code_bits = len(POLYNOMIALS) * (num_bits + MEMORY)
        if len(scrambler) != (num_bits + 7) // 8 or len(places) < self.code_bits or len(places) % num_streams:
            raise ValueError(
                f"{len(scrambler)} bytes of scrambler, {len(places)} places and {num_streams} streams do not fit a "
                f"block of {num_bits} bits"
            )
        self._num_bits, self._places, self._num_streams = num_bits, places, num_streams
        self._scrambler = np.frombuffer(scrambler, np.uint8)
        self._median_level = median_level

    def encode(self, block: bytes) -> NDArray[np.uint8]:
        """Coded bits of a block's bytes, 0 or 1 each, and zeros up to as many as there are places."""
        if len(block) != len(self._scrambler):
            raise ValueError(f"{len(self._scrambler)} bytes expected; {len(block)} given")
        scrambled = np.frombuffer(block, np.uint8) ^ self._scrambler
        bits = np.zeros(self._num_bits + 2 * MEMORY, np.uint8)  # zeros in front are the first state, behind the tail
        bits[MEMORY : MEMORY + self._num_bits] = np.unpackbits(scrambled)[: self._num_bits]
        register = sum(bits[MEMORY - i : len(bits) - i].astype(np.intp) << i for i in range(MEMORY + 1))
        coded = np.zeros(len(self._places), np.uint8)
        coded[: self.code_bits] = _OUTPUTS[register].ravel()
        return coded

    def decode(self, llrs: NDArray[np.float32]) -> list[bytes | None]:
        """The bytes of blocks, None where nothing is known of any bit. llrs: (blocks, coded bits)."""
        if llrs.ndim != 2 or llrs.shape[1] != len(self._places):
            raise ValueError(f"LLRs of shape (blocks, {len(self._places)}) expected; shape {llrs.shape} given")
        return self._decode(llrs[:, : self.code_bits])

    def decode_streams(self, llrs: Sequence[NDArray[np.float32]]) -> list[bytes | None]:
        """The same from the LLRs of each stream, (blocks, coded bits / num_streams)."""
        width = len(self._places) // self._num_streams
        if len(llrs) != self._num_streams or any(of.shape != (len(llrs[0]), width) for of in llrs):
            shapes = [of.shape for of in llrs]
            raise ValueError(
                f"{self._num_streams} times LLRs of shape (blocks, {width}), of each stream expected; {shapes} given"
            )
        return self._decode(np.concatenate(llrs, axis=1)[:, self._places[: self.code_bits]])

    def _decode(self, llrs: NDArray[np.float32]) -> list[bytes | None]:
        known = np.nan_to_num(llrs, nan=0.0, posinf=1e18, neginf=-1e18).astype(np.float64)
        found: list[bytes | None] = [None] * len(known)
        rows = [row for row in range(len(known)) if known[row].any()]
        if rows:
            typical = [np.median(np.abs(known[row][known[row] != 0])) for row in rows]
            levels = known[rows] * (self._median_level / np.array(typical))[:, None]
            blocks = np.packbits(_viterbi(np.clip(levels, -LEVELS, LEVELS))[:, : self._num_bits], axis=1)
            for row, block in zip(rows, blocks ^ self._scrambler, strict=True):
                found[row] = block.tobytes()
        return found


def _viterbi(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The bits of the most likely path of each block, tail and all. levels: (blocks, 2 steps)."""
    blocks = len(levels)
    steps = levels.reshape(blocks, -1, len(POLYNOMIALS)).transpose(1, 0, 2)
    metrics = np.full((blocks, STATES), -np.inf)
    metrics[:, 0] = 0
    second = np.empty((len(steps), blocks, STATES), np.bool_)  # whether the state before had its oldest bit set
    for step, values in enumerate(steps):
        gains = values @ _SIGNS.T
        gains[:, :STATES] += np.repeat(metrics[:, : STATES // 2], 2, axis=1)
        gains[:, STATES:] += np.repeat(metrics[:, STATES // 2 :], 2, axis=1)
        np.greater(gains[:, STATES:], gains[:, :STATES], out=second[step])
        metrics = np.maximum(gains[:, :STATES], gains[:, STATES:])
    bits = np.empty((blocks, len(steps)), np.uint8)
    state = np.zeros(blocks, np.intp)
    each = np.arange(blocks)
    for step in reversed(range(len(steps))):
        bits[:, step] = state & 1
        state = state >> 1 | second[step, each, state].astype(np.intp) << MEMORY - 1
    return bits
