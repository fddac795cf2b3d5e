# SPDX-License-Identifier: GPL-3.0-or-later
"""A file in PDUs that may be lost: the sender repeats them, the receiver collects them.

    data          transfer id (4 bytes) | block, 1 to num_blocks (4) | block_length bytes of the file, the last fewer
    announcement  transfer id (4 bytes) | 0 (4)                      | file size (8) | block_length (4) | SHA-256 (32)

Numbers are little-endian. The transfer id is the first four bytes of the SHA-256 of the announcement's
last three fields. No names travel: the receiver's user says where the file goes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from ..files import read_file

__all__ = ["MAX_FILE_BYTES", "MIN_PDU_BYTES", "FileReceiver", "FileSender"]

HEADER = struct.Struct("<4sI")
ANNOUNCEMENT = struct.Struct("<QI32s")
MIN_PDU_BYTES = HEADER.size + ANNOUNCEMENT.size
MAX_FILE_BYTES = 1 << 30
ANNOUNCEMENT_INTERVAL = 32  # data PDUs from one to the next


class FileSender:
    """The PDUs of a file, over and over: an iterator.

    An announcement comes first and then after every 32 PDUs, as the receiver needs one to begin.

    Args:
        path: the file. It is read now.
        pdu_bytes: length of a PDU, at least `MIN_PDU_BYTES`; the last one of the file may be shorter.
        repeats: how often the file is sent; 0: until nobody asks any more.

    Raises:
        OSError: the file cannot be read, is no regular file, or is larger than `MAX_FILE_BYTES`.
        ValueError: an argument is out of range.
    """

    def __init__(self, path: str | Path, pdu_bytes: int, repeats: int = 0):
        if pdu_bytes < MIN_PDU_BYTES:
            raise ValueError(f"pdu_bytes is {pdu_bytes}; at least {MIN_PDU_BYTES} expected")
        if repeats < 0:
            raise ValueError(f"repeats is {repeats}; at least 0 expected")
        self._data = read_file(path, MAX_FILE_BYTES)
        self._block_length = pdu_bytes - HEADER.size
        self.num_blocks = _num_blocks(len(self._data), self._block_length)
        announcement = ANNOUNCEMENT.pack(len(self._data), self._block_length, hashlib.sha256(self._data).digest())
        self._id = _transfer_id(announcement)
        self._announcement = HEADER.pack(self._id, 0) + announcement
        self._pdus = self._carousel(repeats)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pdus)

    def _carousel(self, repeats: int) -> Iterator[bytes]:
        turns = 0
        while not repeats or turns < repeats:
            for block in range(self.num_blocks):
                if block % ANNOUNCEMENT_INTERVAL == 0:
                    yield self._announcement
                first = block * self._block_length
                yield HEADER.pack(self._id, 1 + block) + self._data[first : first + self._block_length]
            if not self.num_blocks:
                yield self._announcement
            turns += 1


class FileReceiver:
    """Collects the PDUs of a `FileSender`, in any order, and writes the file once it is complete and its SHA-256 right.

    The first valid announcement decides which file it is. The file appears under its name only when it is whole.

    Args:
        path: where the file goes. What is there already is replaced.

    Raises:
        FileNotFoundError: the directory does not exist.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"the directory {self._path.parent} does not exist")
        self._id: bytes | None = None  # known with the announcement, as are the next four
        self._block_length = 0
        self._digest = b""
        self._size = 0
        self._num_blocks = 0
        self._data = bytearray()
        self._there = bytearray()  # 1 for each block that is
        self._blocks = 0
        self._complete = False
        self._duplicates = self._foreign = self._malformed = self._early = self._wrong_digests = 0

    def push(self, pdu: bytes) -> bool:
        """Take a PDU, whatever it holds.

        Returns:
            Whether the file is complete, and written.

        Raises:
            OSError: the file cannot be written. The next PDU of this transfer tries again.
        """
        if len(pdu) < HEADER.size:
            self._malformed += 1
            return self._complete
        transfer, block = HEADER.unpack_from(pdu)
        content = pdu[HEADER.size :]
        if self._id is None:
            if block == 0:
                self._begin(transfer, content)
            else:
                self._early += 1
        elif transfer != self._id:
            self._foreign += 1
        elif block:
            self._store(block - 1, content)
        if self._id is not None and transfer == self._id and self._blocks == self._num_blocks and not self._complete:
            self._finish()
        return self._complete

    def _begin(self, transfer: bytes, announcement: bytes) -> None:
        """Prepare for the file that is announced."""
        if len(announcement) != ANNOUNCEMENT.size or _transfer_id(announcement) != transfer:
            self._malformed += 1
            return
        size, block_length, digest = ANNOUNCEMENT.unpack(announcement)
        if size > MAX_FILE_BYTES or block_length < ANNOUNCEMENT.size:
            self._malformed += 1
            return
        self._id, self._size, self._block_length, self._digest = transfer, size, block_length, digest
        self._num_blocks = _num_blocks(size, block_length)
        self._data = bytearray(size)
        self._there = bytearray(self._num_blocks)

    def _store(self, block: int, content: bytes) -> None:
        """Put a block of the file in its place."""
        first = block * self._block_length
        if block >= self._num_blocks or len(content) != min(self._block_length, self._size - first):
            self._malformed += 1
        elif self._there[block]:
            self._duplicates += 1
        else:
            self._data[first : first + len(content)] = content
            self._there[block] = 1
            self._blocks += 1

    def _finish(self) -> None:
        """Check the file and write it."""
        if hashlib.sha256(self._data).digest() != self._digest:
            self._wrong_digests += 1  # nobody knows which block it is
            self._there = bytearray(self._num_blocks)
            self._blocks = 0
            return
        part = self._path.with_name(f"{self._path.name}.part")
        part.write_bytes(self._data)
        part.replace(self._path)
        self._complete = True
        self._data = bytearray()

    def complete(self) -> bool:
        """Whether the file is whole, and written."""
        return self._complete

    def progress(self) -> tuple[int, int]:
        """Blocks of the file that are there, and how many it has; (0, 0) before the first announcement."""
        return self._blocks, self._num_blocks

    def duplicates(self) -> int:
        """Blocks that came again."""
        return self._duplicates

    def foreign(self) -> int:
        """PDUs of another transfer."""
        return self._foreign

    def malformed(self) -> int:
        """PDUs that are none of a `FileSender`, or do not fit what was announced."""
        return self._malformed

    def early(self) -> int:
        """Blocks that came before the first announcement, and are not kept."""
        return self._early

    def wrong_digests(self) -> int:
        """How often all blocks were there and the SHA-256 was wrong; collecting begins again then."""
        return self._wrong_digests


def _num_blocks(size: int, block_length: int) -> int:
    return -(-size // block_length)


def _transfer_id(announcement: bytes) -> bytes:
    """Names a transfer; also tells an announcement from anything else."""
    return hashlib.sha256(announcement).digest()[:4]
