# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of a frame says: 30 bits and a CRC of 12, so that a frame whose payload fails still names its buffer.

    version (2) | mcs (4) | rank - 1 (3) | process (4) | redundancy version (2) | new data (1) | class (2)
    | sequence (12) | CRC (12)

Most significant bits first. The CRC has the polynomial x^12 + x^11 + x^3 + x^2 + x + 1 of 3GPP TS 25.212, and starts
from all ones, so that a header of zeros is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .modulation_coding import MCS_TABLE

__all__ = [
    "FEEDBACK_PROCESS",
    "HEADER_BITS",
    "NUM_CLASSES",
    "NUM_PROCESSES",
    "NUM_REDUNDANCY_VERSIONS",
    "SEQUENCE_NUMBERS",
    "VERSION",
    "FrameHeader",
    "InvalidHeader",
    "pack_header",
    "unpack_header",
]

VERSION = 1
"""Of what this module describes, and of all that a header refers to."""

WIDTHS = {
    "version": 2,
    "mcs": 4,
    "rank": 3,
    "process": 4,
    "redundancy_version": 2,
    "new_data": 1,
    "traffic_class": 2,
    "sequence": 12,
}
CRC_BITS, CRC_POLYNOMIAL = 12, 0x80F
HEADER_BITS = sum(WIDTHS.values()) + CRC_BITS
NUM_PROCESSES = (1 << WIDTHS["process"]) - 1
"""HARQ processes of data."""

FEEDBACK_PROCESS = NUM_PROCESSES
"""The process of frames that acknowledge those of the other direction (`feedback_frame`)."""

NUM_REDUNDANCY_VERSIONS = 1 << WIDTHS["redundancy_version"]
NUM_CLASSES = 1 << WIDTHS["traffic_class"]
SEQUENCE_NUMBERS = 1 << WIDTHS["sequence"]
"""After as many transport blocks the numbers begin again."""


class InvalidHeader(ValueError):
    """No header of this version, with a reason.

    Args:
        kind: of the reason: ``"crc"``, ``"version"`` (the CRC is right; a peer of another version) or ``"mcs"``.
        message: what was found, and what was expected.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class FrameHeader:
    """What has to be known of a frame before its payload can be detected, and where that belongs.

    Args:
        mcs: index in `MCS_TABLE`.
        rank: streams that carry the payload, 1 to 8.
        process: HARQ process, 0 to 14: which soft buffer; 15: see `FEEDBACK_PROCESS`.
        redundancy_version: which part of the code word is sent, and in which order, 0 to 3.
        new_data: 0 or 1. It toggles with each new transport block of a process.
        traffic_class: 0 to 3.
        sequence: number of the transport block, 0 to 4095.
        version: of the format, 0 to 3.

    Raises:
        ValueError: an argument is out of range.
    """

    mcs: int = 0
    rank: int = 1
    process: int = 0
    redundancy_version: int = 0
    new_data: int = 0
    traffic_class: int = 0
    sequence: int = 0
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, width in WIDTHS.items():
            value, least = getattr(self, name), int(name == "rank")
            most = len(MCS_TABLE) - 1 if name == "mcs" else least + (1 << width) - 1
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; {least} to {most} expected")


def pack_header(header: FrameHeader) -> NDArray[np.uint8]:
    """The bits of a header, (HEADER_BITS,), 0 or 1 each."""
    number = 0
    for name, width in WIDTHS.items():
        number = number << width | getattr(header, name) - (name == "rank")
    number = number << CRC_BITS | _crc(number)
    return np.array([number >> place & 1 for place in reversed(range(HEADER_BITS))], np.uint8)


def unpack_header(bits: NDArray[np.uint8]) -> FrameHeader:
    """The header with these bits.

    Raises:
        InvalidHeader: the CRC is wrong, or it is of another version, or its MCS is none.
        ValueError: the number of bits is wrong.
    """
    if bits.shape != (HEADER_BITS,):
        raise ValueError(f"bits of shape {bits.shape}; ({HEADER_BITS},) expected")
    number = int("".join("1" if bit else "0" for bit in bits), 2)
    number, crc = number >> CRC_BITS, number & (1 << CRC_BITS) - 1
    if crc != _crc(number):
        raise InvalidHeader("crc", f"the CRC of the header is {crc:#05x}; {_crc(number):#05x} expected")
    fields = {}
    for name, width in reversed(WIDTHS.items()):
        fields[name] = (number & (1 << width) - 1) + (name == "rank")
        number >>= width
    if fields["version"] != VERSION:
        raise InvalidHeader("version", f"the header is of version {fields['version']}; {VERSION} expected")
    if fields["mcs"] >= len(MCS_TABLE):
        raise InvalidHeader("mcs", f"the header has MCS {fields['mcs']}; 0 to {len(MCS_TABLE) - 1} expected")
    return FrameHeader(**fields)


def _crc(number: int) -> int:
    """CRC of the fields."""
    register = (1 << CRC_BITS) - 1
    for place in reversed(range(HEADER_BITS - CRC_BITS)):
        feedback = (register >> CRC_BITS - 1 ^ number >> place) & 1
        register = (register << 1) & (1 << CRC_BITS) - 1 ^ feedback * CRC_POLYNOMIAL
    return register
