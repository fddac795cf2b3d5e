# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that answer those of the other direction: an acknowledgement each, as a transport block of its own.

    length (1 byte) | acknowledgement | zeros        most robust MCS that holds it, one stream, HARQ process 15

Process 15 says what they are, and has no soft buffer of data, so that they disturb no repetition. They are not repeated
themselves: the next one says all that a lost one said.
"""

from __future__ import annotations

from .frame_format import FrameFormat
from .frame_header import FEEDBACK_PROCESS, SEQUENCE_NUMBERS, FrameHeader
from .modulation_coding import MCS_TABLE, transport_block_bytes

__all__ = ["feedback_frame", "feedback_in"]


def feedback_frame(frame_format: FrameFormat, data: bytes, number: int) -> tuple[FrameHeader, bytes]:
    """Header and transport block of a frame with this feedback.

    Args:
        frame_format: of the frames.
        data: 1 to 255 bytes.
        number: of the frame among those with feedback.

    Raises:
        ValueError: there is no data, or no frame holds as much.
    """
    for mcs in range(len(MCS_TABLE)):
        size = transport_block_bytes(frame_format, mcs, 1)
        if 1 <= len(data) < min(size, 256):
            header = FrameHeader(mcs, 1, FEEDBACK_PROCESS, new_data=number % 2, sequence=number % SEQUENCE_NUMBERS)
            return header, bytes([len(data)]) + data + bytes(size - 1 - len(data))
    raise ValueError(f"the feedback has {len(data)} bytes; 1 to {min(size, 256) - 1} expected")


def feedback_in(header: FrameHeader, block: bytes | None) -> bytes | None:
    """The feedback of a frame; None: it could not be decoded, or is none.

    Args:
        header: of process `FEEDBACK_PROCESS`.
        block: that was decoded; None: none was.
    """
    if header.process != FEEDBACK_PROCESS or not block or not 1 <= block[0] < len(block):
        return None
    return block[1 : 1 + block[0]]
