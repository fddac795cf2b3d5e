# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded channels in a NumPy archive (.npz), from anywhere: read in pieces, within limits, each packet scaled.

What a header or a directory claims is checked before it is believed, so that a file which cannot be used is refused in
little memory, and one which can takes no more than its channels do.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..files import one_line, open_file

__all__ = ["MAX_ENTRIES", "MAX_FILE_BYTES", "read_packets", "read_recorded"]

MAX_ENTRIES = 1 << 25
"""Of `h`, over all packets; 256 MiB once they are read."""

MAX_PACKET_ENTRIES = 1 << 20  # a packet is read at once
MAX_FORTRAN_ENTRIES = 1 << 22  # in Fortran order, no packet lies in one piece
MAX_FILE_BYTES = 1 << 30
MAX_EXPANSION = 100
"""`h` over the whole file, in bytes. Compression makes a tenth of recorded channels, a hundredth of carriers that are
all the same, and a thousandth of a file that is made to fill a memory."""

MAX_DIRECTORY_BYTES = 1 << 16
END_OF_DIRECTORY = b"PK\x05\x06"
END_BYTES = 22
LARGE_DIRECTORY = b"PK\x06\x07"  # before the end, where there is a directory for more than 4 GiB
LARGE_BYTES = 20

OTHER_FORMATS = {
    b"MATLAB": "a file of MATLAB; docs/guide/csi-recordings.md shows how to read it and save `h`",
    b"\x89HDF": "a file of HDF5, as MATLAB writes with -v7.3; save it with -v7, then docs/guide/csi-recordings.md",
    b"\x93NUMPY": "one array (.npy); save it by np.savez(..., h=array)",
}
EXPECTED = "a NumPy archive (.npz) with `h` (packets, subcarriers, rx, tx), complex or with a last axis of 2, expected"


@dataclass(frozen=True)
class _Layout:
    """How `h` lies in its member of the archive, behind a header."""

    member: zipfile.ZipInfo
    header_bytes: int
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool


def read_packets(
    path: str | Path, num_rx: int | None, num_tx: int | None, num_subcarriers: int | None = None
) -> NDArray[np.complex64]:
    """The packets of a recording, each scaled to mean |h|^2 = 1; those of all zeros are left out.

    Args:
        path: of the archive; its `h` is (packets, subcarriers, rx, tx), complex, or real with a last axis of real and
            imaginary part.
        num_rx, num_tx: the first antennas, which are taken; None: all.
        num_subcarriers: at least so many are needed, if given.

    Returns:
        complex64 (packets, subcarriers, num_rx, num_tx), one packet or more.

    Raises:
        ValueError: the file does not hold that, or is beyond the limits; the message names the file and what was
            expected.
    """
    with _opened(path) as (archive, layout):
        num_rx, num_tx = num_rx or layout.shape[2], num_tx or layout.shape[3]
        _check_size(layout.shape, num_rx, num_tx, num_subcarriers)
        # once to know that all is well, before room is taken for it
        count = sum(len(part) for part in _scaled_parts(archive, layout, num_rx, num_tx))
        if not count:
            raise ValueError("every recorded channel is zero")
        packets = np.empty((count, layout.shape[1], num_rx, num_tx), np.complex64)
        first = 0
        for part in _scaled_parts(archive, layout, num_rx, num_tx):
            packets[first : first + len(part)] = part
            first += len(part)
    return packets


def read_recorded(path: str | Path, most: int | None = None) -> NDArray[np.complex128]:
    """The packets of a recording as they were recorded, (packets, subcarriers, rx, tx), with what is wrong with them.

    Args:
        path: of the archive, see `read_packets`.
        most: so many packets and a few more, at most; None: all.

    Raises:
        ValueError: as `read_packets`, but not for NaN, Inf and zeros.
    """
    with _opened(path) as (archive, layout):
        _check_size(layout.shape, 1, 1, None)
        parts: list[NDArray[np.complex128]] = []
        for part in _parts(archive, layout):
            parts.append(_as_complex(part))
            if most is not None and sum(map(len, parts)) >= most:
                break
        return np.concatenate(parts)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[zipfile.ZipFile, _Layout]]:
    """The archive and how `h` lies in it; whatever is wrong with it is a ValueError that names the file."""
    try:
        file, size = open_file(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; {EXPECTED}") from None
    with file:
        try:
            _check_directory(file, size)
            with zipfile.ZipFile(file) as archive:
                yield archive, _layout(archive, size)
        except Exception as error:  # zip, zlib, OS and NumPy errors of a damaged file have no common base
            said = one_line(error)
            raise ValueError(f"{path}: {said}" if "expected" in said else f"{path}: {said}; {EXPECTED}") from None


def _check_directory(file: BinaryIO, size: int) -> None:
    """Of the archive: a ZipFile reads all of it when it is made, whatever its size."""
    tail_bytes = min(size, LARGE_BYTES + END_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail[-END_BYTES:]
    if len(end) < END_BYTES or not end.startswith(END_OF_DIRECTORY):
        file.seek(0)
        start = file.read(8)
        what = next((what for magic, what in OTHER_FORMATS.items() if start.startswith(magic)), None)
        raise ValueError(what or "no archive, or one that is cut off")
    directory_bytes = int.from_bytes(end[12:16], "little")
    if directory_bytes > MAX_DIRECTORY_BYTES or tail.startswith(LARGE_DIRECTORY):
        raise ValueError(f"the archive's directory has more than {MAX_DIRECTORY_BYTES} bytes")


def _layout(archive: zipfile.ZipFile, file_bytes: int) -> _Layout:
    if "h.npy" not in archive.NameToInfo:
        raise ValueError("no `h` in it")
    member = archive.NameToInfo["h.npy"]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("`h` is compressed in another way than NumPy does")
    if member.file_size > MAX_EXPANSION * file_bytes:
        raise ValueError(f"`h` has {member.file_size} bytes, more than {MAX_EXPANSION} times those of the file")
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version != (1, 0):  # later ones are for structures, and their headers have any size
            raise ValueError(f"`h` is in NumPy's format {version[0]}.{version[1]}")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(content)
        header_bytes = content.tell()
    is_complex = dtype.kind == "c" and len(shape) == 4
    is_pairs = dtype.kind in "fiu" and len(shape) == 5 and shape[-1] == 2
    if not (is_complex or is_pairs) or min(shape) < 1:
        raise ValueError(f"`h` is {dtype} {one_line(shape)}")
    if header_bytes + prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"`h` is {dtype} {one_line(shape)}, but has {member.file_size - header_bytes} bytes")
    return _Layout(member, header_bytes, shape, dtype, fortran_order)


def _check_size(shape: tuple[int, ...], num_rx: int, num_tx: int, num_subcarriers: int | None) -> None:
    packets, subcarriers, rx, tx = shape[:4]
    if subcarriers < (num_subcarriers or 1) or rx < num_rx or tx < num_tx:
        raise ValueError(
            f"holds {subcarriers} subcarriers, {rx} receive and {tx} transmit antennas; at least "
            f"{num_subcarriers or 1}, {num_rx} and {num_tx} expected"
        )
    packet_entries = subcarriers * rx * tx
    if packet_entries > MAX_PACKET_ENTRIES:
        raise ValueError(f"holds packets of {packet_entries} channel entries; {MAX_PACKET_ENTRIES} or fewer expected")
    if packets * packet_entries > MAX_ENTRIES:
        raise ValueError(
            f"holds {packets} packets of {packet_entries} channel entries; {MAX_ENTRIES // packet_entries} packets or "
            "fewer expected"
        )


def _scaled_parts(
    archive: zipfile.ZipFile, layout: _Layout, num_rx: int, num_tx: int
) -> Iterator[NDArray[np.complex64]]:
    first = 0
    for part in _parts(archive, layout):
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            bad = first + int(np.argmin(finite))
            raise ValueError(f"`h` holds NaN or Inf, first in packet {bad} (`kaq csi check` shows all, and cuts)")
        first += len(part)
        yield _scaled(part[:, :, :num_rx, :num_tx])


def _parts(archive: zipfile.ZipFile, layout: _Layout) -> Iterator[NDArray]:
    """Some packets after the other, as they were recorded."""
    shape, itemsize = layout.shape, layout.dtype.itemsize
    packets, packet_entries = shape[0], prod(shape[1:4])
    at_once = MAX_PACKET_ENTRIES // packet_entries
    with archive.open(layout.member) as content:
        _read(content, layout.header_bytes)
        if layout.fortran_order:
            if packets * packet_entries > MAX_FORTRAN_ENTRIES:
                raise ValueError("`h` is large, and in Fortran order; save np.ascontiguousarray(h)")
            whole = np.frombuffer(_read(content, prod(shape) * itemsize), layout.dtype).reshape(shape, order="F")
            for first in range(0, packets, at_once):
                yield whole[first : first + at_once]
            return
        for first in range(0, packets, at_once):
            count = min(at_once, packets - first)
            values = np.frombuffer(_read(content, count * prod(shape[1:]) * itemsize), layout.dtype)
            yield values.reshape(count, *shape[1:])


def _read(content: IO[bytes], count: int) -> bytes:
    found = content.read(count)
    if len(found) != count:
        raise ValueError("`h` is cut off")
    return found


def _scaled(recorded: NDArray) -> NDArray[np.complex64]:
    """Packets with mean |h|^2 = 1, those of all zeros left out."""
    h = _as_complex(recorded)
    parts = np.ascontiguousarray(h).view(np.float64)
    # powers of two, which change no digit, so that no square leaves the range
    largest = np.abs(parts).max(axis=(1, 2, 3), keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError("`h` holds values beyond double precision")
    parts = np.ldexp(parts, -np.frexp(largest)[1])
    alive = largest.ravel() > 0
    h = parts.view(np.complex128)[alive]
    power = np.mean(np.abs(h) ** 2, axis=(1, 2, 3), keepdims=True)
    return (h / np.sqrt(power)).astype(np.complex64)


def _as_complex(recorded: NDArray) -> NDArray[np.complex128]:
    with np.errstate(over="ignore"):  # what does not fit double precision becomes Inf
        if recorded.ndim == 5:
            h: NDArray[np.complex128] = recorded[..., 0].astype(np.float64) + 1j * recorded[..., 1].astype(np.float64)
            return h
        return recorded.astype(np.complex128)
