# SPDX-License-Identifier: GPL-3.0-or-later
"""From a payload's bytes to the coded bits of a frame, and from their LLRs back.

    length (2 bytes) | payload | zeros | CRC-32   payload_bytes + 4 bytes, XORed with `scrambler`
    -> convolutional code, K = 7, rate 1/2, terminated -> coded_bits bits, the last few (at most 15) being zeros

Length and CRC are little-endian; the CRC is that of IEEE 802.3 over all that stands before it. Bits of a byte travel
most significant first. The code is the usual one with the generators 171 and 133 (octal), in the form that gr-fec
takes as polynomials 79 and 109; gr-fec encodes, and decodes by Viterbi's algorithm with soft decisions.

Both are compiled against gr-fec, or in NumPy where that is not there (`coding`): with and without a flowgraph, the
same bits are sent, and received alike.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .coding import make_coder
from .frame_format import CRC_BYTES, FrameFormat, known_octets

__all__ = ["LENGTH_BYTES", "PayloadCoder", "decode", "encode", "max_payload", "scrambler"]

LENGTH_BYTES = 2

# The decoder takes 8 bits: 128 is 'nothing known'. A Viterbi decoder does not mind a common factor, so the LLRs of a
# frame are scaled until the median of their magnitudes is MEDIAN_LEVEL, and limited to the range. A lower level loses
# to rounding, a higher one to the limit; between them block error rates are flat. The mean in place of the median
# would spend the levels on the few very sure bits of 256-QAM.
MEDIAN_LEVEL = 48.0


def max_payload(frame: FrameFormat) -> int:
    """Longest payload of a frame, in bytes."""
    return frame.payload_bytes - LENGTH_BYTES


def scrambler(frame: FrameFormat) -> bytes:
    """What payload and CRC are XORed with before they are coded: payload_bytes + 4 bytes."""
    return known_octets("scrambler", frame.payload_bytes + CRC_BYTES)


class PayloadCoder:
    """Encoder and decoder for the payloads of one frame format, for one thread at a time.

    Args:
        frame: the frame.
    """

    def __init__(self, frame: FrameFormat):
        self._frame = frame
        # where the LLR of a coded bit is: [data symbol][data carrier][stream][bit] on the grid, streams outermost here
        shape = (frame.data_per_stream, frame.num_tx, frame.constellation.bits_per_symbol)
        by_stream = np.arange(frame.coded_bits).reshape(shape[1], shape[0], shape[2]).swapaxes(0, 1).reshape(-1)
        places = np.empty(frame.coded_bits, np.int64)
        places[frame.interleaver] = by_stream
        self._coder = make_coder(
            num_bits=8 * (frame.payload_bytes + CRC_BYTES),
            scrambler=scrambler(frame),
            places=places,
            num_streams=frame.num_tx,
            median_level=MEDIAN_LEVEL,
        )

    def encode(self, payload: bytes) -> NDArray[np.uint8]:
        """Coded bits of a payload, (coded_bits,), 0 or 1 each.

        Raises:
            ValueError: the payload is too long.
        """
        if len(payload) > max_payload(self._frame):
            raise ValueError(f"the payload has {len(payload)} bytes; at most {max_payload(self._frame)} expected")
        block = struct.pack("<H", len(payload)) + payload
        block += bytes(self._frame.payload_bytes - len(block))
        block += struct.pack("<I", zlib.crc32(block))
        return self._coder.encode(block)

    def decode(self, llrs: NDArray[np.floating]) -> bytes | None:
        """The payload from the LLRs of its coded bits, None where the CRC is wrong.

        Args:
            llrs: (coded_bits,), ln P(b=1)/P(b=0), with any common factor. NaN counts as 0, nothing known.
        """
        return self._payload(self._block(llrs))

    def nearest(self, llrs: NDArray[np.floating]) -> NDArray[np.uint8] | None:
        """Coded bits, (coded_bits,), of the code word that is most likely, whatever its CRC; None if all LLRs are 0.

        Args:
            llrs: as for `decode`.
        """
        block = self._block(llrs)
        return None if block is None else self._coder.encode(block)

    def decode_streams(self, llrs: Sequence[NDArray[np.float32]]) -> list[bytes | None]:
        """The payloads of many frames, None for each whose CRC is wrong. Other threads run meanwhile.

        Args:
            llrs: of each stream (frames, data_per_stream * bits_per_symbol), as a detector gives them.
        """
        return [self._payload(block) for block in self._coder.decode_streams(llrs)]

    def _block(self, llrs: NDArray[np.floating]) -> bytes | None:
        """The bytes that are decoded, CRC and all; None where nothing is known."""
        if llrs.shape != (self._frame.coded_bits,):
            raise ValueError(f"LLRs of shape {llrs.shape}; ({self._frame.coded_bits},) expected")
        with np.errstate(over="ignore"):  # what does not fit becomes Inf
            known = np.ascontiguousarray(llrs[None], np.float32)
        return self._coder.decode(known)[0]

    def _payload(self, block: bytes | None) -> bytes | None:
        if block is None:
            return None
        data, crc = block[:-CRC_BYTES], block[-CRC_BYTES:]
        (length,) = struct.unpack_from("<H", data)
        if struct.pack("<I", zlib.crc32(data)) != crc or length > max_payload(self._frame):
            return None
        return data[LENGTH_BYTES : LENGTH_BYTES + length]


def encode(frame: FrameFormat, payloads: Iterable[bytes]) -> NDArray[np.uint8]:
    """Coded bits of several payloads, (n, coded_bits), 0 or 1 each.

    Args:
        frame: the frame.
        payloads: n of them, at most `max_payload(frame)` bytes each.

    Raises:
        ValueError: a payload is too long.
    """
    coder = PayloadCoder(frame)
    coded = [coder.encode(payload) for payload in payloads]
    return np.stack(coded) if coded else np.empty((0, frame.coded_bits), np.uint8)


def decode(frame: FrameFormat, llrs: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> list[bytes | None]:
    """Payloads from the LLRs of their coded bits, None for each whose CRC is wrong.

    Args:
        frame: the frame.
        llrs: (n, coded_bits), in the order of `FrameFormat.collect_llrs`; see `PayloadCoder.decode`.
    """
    coder = PayloadCoder(frame)
    return [coder.decode(row) for row in llrs]
