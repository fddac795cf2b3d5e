# SPDX-License-Identifier: GPL-3.0-or-later
"""What finished units gave: a file of JSON lines that survives whatever ends the program."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any, Self

from ..files import open_file, parse_json, read_file

__all__ = ["Job", "Result", "Results", "key_of"]

MAX_BYTES = 2**30

Job = dict[str, Any]
"""What a unit does, as plain JSON. The same job has the same result."""
Result = dict[str, Any]


def key_of(job: Job) -> str:
    """The same text for the same job."""
    return json.dumps(job, sort_keys=True)


class Results:
    """The results of jobs, each once.

    A line is `{"job": ..., "result": ...}`. One that a crash has cut off does not count; of two with the same job, the
    first does.

    Args:
        path: of the file, which may be there; None: in memory only.

    Raises:
        OSError: it cannot be written, or another process writes it.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._known: dict[str, Result] = {}
        self._file: int | None = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            open_file(path, MAX_BYTES)[0].close()  # it refuses what is no regular file
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BlockingIOError(errno.EAGAIN, "another process writes it", str(path)) from None
        data = read_file(path, MAX_BYTES)  # again, as nobody else writes it now
        for line in data.splitlines():
            try:
                document = parse_json(line)
            except ValueError:
                continue
            match document:
                case {"job": dict(job), "result": dict(result)}:
                    self._known.setdefault(key_of(job), result)
        os.lseek(self._file, 0, os.SEEK_END)
        if data and not data.endswith(b"\n"):
            self._write(b"\n")  # so that a line that was cut off does not swallow the next one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __len__(self) -> int:
        return len(self._known)

    def get(self, job: Job) -> Result | None:
        """The result of a job, None where there is none."""
        return self._known.get(key_of(job))

    def add(self, job: Job, result: Result) -> Result:
        """Keep a result; returns it as the file has it.

        Raises:
            OSError: it cannot be written; the file holds what it held before.
        """
        text = json.dumps({"job": job, "result": result})
        if self._file is not None:
            self._write(text.encode() + b"\n")
        return self._known.setdefault(key_of(job), json.loads(text)["result"])

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        end = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            kept = f"{len(self)} finished units are kept; the same command goes on from there"
            raise OSError(error.errno, f"{os.strerror(error.errno or 0)} ({kept})", str(self._path)) from None
