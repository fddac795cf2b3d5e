# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that a link adapts: a header that can be decoded first, and a payload of any MCS and rank behind it.

    header   QPSK, rate 1/2, one stream: its carriers alternate over the antennas, each alone on its own, with num_tx
             times the power as in training, and more by HEADER_ENERGY over all copies
    payload  rank streams s on num_tx antennas, x = P s, where P (num_tx, rank) changes from carrier to carrier:
             sqrt(num_tx / rank) times `rank` columns of a unitary matrix, so that the power is that of num_tx streams

All antennas train in any case, so that a receiver knows H, and detects s with H P. With rank num_tx, P is the identity:
these are the frames of `frame_format`. With fewer, the streams go through the beams of a discrete Fourier transform, in
turn: the beams that they have change from carrier to carrier, so that each stream sees all antennas.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import constellation_named
from .coding import make_coder
from .frame_format import FrameFormat, known_octets
from .frame_header import HEADER_BITS, FrameHeader, pack_header, unpack_header
from .modulation_coding import MCS_TABLE, header_places, payload_places
from .payload import MEDIAN_LEVEL
from .transport_coding import transport_coder

__all__ = ["HEADER_ENERGY", "LinkFrame", "precoders"]

HEADER_ENERGY = 4.0
"""Of a header's bits over those of a QPSK payload, over all copies: a header has to outlive the payloads of the most
robust MCS. With 64 carriers its symbol is 6 dB above the others, with more carriers a part of it 3 dB."""

CODED_BITS = 2 * (HEADER_BITS + 6)
QPSK = constellation_named("qpsk")


class LinkFrame:
    """From header and code word to the data symbols of a frame, and from what came to the header.

    Args:
        frame_format: of the frames; its constellation does not matter.
    """

    def __init__(self, frame_format: FrameFormat):
        self.frame_format = frame_format
        scrambler = known_octets("header scrambler", (HEADER_BITS + 7) // 8)
        self._scrambler = np.unpackbits(np.frombuffer(scrambler, np.uint8))[:HEADER_BITS]
        octets = known_octets("header interleaver", 8 * CODED_BITS)
        self._interleaver = np.argsort(np.frombuffer(octets, "<u8"), kind="stable")
        self._coder = make_coder(
            num_bits=HEADER_BITS,
            scrambler=bytes(len(scrambler)),
            places=np.arange(CODED_BITS),
            num_streams=1,
            median_level=MEDIAN_LEVEL,
        )
        self._places = header_places(frame_format)
        self._copies = 2 * len(self._places) // CODED_BITS
        self._antennas = np.arange(len(self._places)) % frame_format.num_tx
        self._amplitude = (frame_format.num_tx * HEADER_ENERGY / self._copies) ** 0.5

    # Sending

    def data_symbols(self, header: FrameHeader, code_word: NDArray[np.uint8]) -> NDArray[np.complex64]:
        """Data symbols of all antennas, (11, num_data, num_tx), for `FrameFormat.modulate`.

        Args:
            header: of the frame.
            code_word: of its transport block, as `TransportCoder.encode` gives it.

        Raises:
            ValueError: the header's rank is more than the frame's antennas.
        """
        frame = self.frame_format
        data = np.zeros((frame.data_per_stream, frame.num_tx), np.complex64)
        data[self._places, self._antennas] = self._amplitude * QPSK.modulate(self._coded(header))
        data[payload_places(frame)] = self.payload_symbols(header, code_word)
        return data.reshape(len(frame.data_symbols), frame.num_data, frame.num_tx)

    def payload_symbols(self, header: FrameHeader, code_word: NDArray[np.uint8]) -> NDArray[np.complex64]:
        """What the antennas send on the carriers of the payload, (carriers, num_tx)."""
        coder = transport_coder(self.frame_format, header.mcs, header.rank)
        constellation = MCS_TABLE[header.mcs].constellation
        bits = coder.take(code_word, header.redundancy_version).reshape(-1, constellation.bits_per_symbol)
        indices = bits @ (1 << np.arange(constellation.bits_per_symbol)[::-1]).astype(np.uint8)
        streams = constellation.points[indices].reshape(-1, header.rank, 1)
        sent: NDArray[np.complex64] = (precoders(self.frame_format, header.rank) @ streams)[..., 0]
        return sent

    def _coded(self, header: FrameHeader) -> NDArray[np.uint8]:
        """Coded bits of a header, as often as there is room."""
        bits = np.packbits(pack_header(header) ^ self._scrambler)
        return np.tile(self._coder.encode(bits.tobytes())[self._interleaver], self._copies)

    # Receiving

    def decode_header(
        self, received: NDArray[np.complexfloating], h: NDArray[np.complexfloating], noise_var: float
    ) -> FrameHeader:
        """The header of a frame.

        Args:
            received: what came on all data carriers, (data_per_stream, num_rx), with the same noise everywhere.
            h: their channels, (data_per_stream, num_rx, num_tx).
            noise_var: of the noise on each antenna, above 0.

        Raises:
            InvalidHeader: it is none, or none of this version.
        """
        column = h[self._places, :, self._antennas]
        matched = np.einsum("ca,ca->c", column.conj(), received[self._places])
        with np.errstate(all="ignore"):  # NaN or Inf count as nothing known
            scale = -2 * 2**0.5 * self._amplitude / noise_var
            llrs = scale * np.stack([matched.real, matched.imag], axis=-1).reshape(self._copies, CODED_BITS).sum(axis=0)
            deinterleaved = np.empty(CODED_BITS, np.float32)
            deinterleaved[self._interleaver] = llrs
        decoded = self._coder.decode(deinterleaved[None])[0]
        bits = np.unpackbits(np.frombuffer(decoded or bytes(-(-HEADER_BITS // 8)), np.uint8))[:HEADER_BITS]
        return unpack_header(bits ^ self._scrambler)


@lru_cache(maxsize=64)
def precoders(frame_format: FrameFormat, rank: int) -> NDArray[np.complex64]:
    """P of each carrier of the payload, (carriers, num_tx, rank), or (1, num_tx, num_tx) where it is the identity.

    Raises:
        ValueError: `rank` is out of range.
    """
    num_tx = frame_format.num_tx
    if not 1 <= rank <= num_tx:
        raise ValueError(f"rank is {rank}; 1 to {num_tx}, the antennas that send, expected")
    if rank == num_tx:
        return np.eye(num_tx, dtype=np.complex64)[None]
    beams = np.arange(len(payload_places(frame_format)))[:, None] + np.arange(rank)
    turns = np.arange(num_tx)[:, None] * beams[:, None, :] / num_tx
    return (np.exp(2j * np.pi * turns) / rank**0.5).astype(np.complex64)
