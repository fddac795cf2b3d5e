# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a user or a message names: opened in one place, which takes regular files of a bounded size only.

A name may be anything: a FIFO, on which a reader waits for ever; a device, which never ends; a file larger than the
memory. Errors are OSErrors whose `strerror` says what was wrong, as for a file that is missing.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

__all__ = ["MAX_QUOTED", "one_line", "open_file", "parse_json", "read_file"]

MAX_QUOTED = 300
"""Characters of a file that an error message repeats."""

MAX_DIGITS = 300
"""Of a whole number in JSON: what a float can hold."""


def open_file(path: str | Path, max_bytes: int) -> tuple[BinaryIO, int]:
    """Open a regular file, and say how many bytes it has.

    Raises:
        OSError: it cannot be opened, is no regular file, or has more than max_bytes.
    """
    try:
        _check(path, os.stat(path), max_bytes)  # first, as opening a device may do something
        # what the name stands for may have changed: a FIFO must not wait even then
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a null character, or one that the file system cannot have
        _refuse("no name of a file", path)
    file = os.fdopen(descriptor, "rb")
    try:
        return file, _check(path, os.fstat(descriptor), max_bytes)
    except OSError:
        file.close()
        raise


def read_file(path: str | Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: as `open_file`.
    """
    file, size = open_file(path, max_bytes)
    with file:
        return file.read(size)  # no more than it said: files of /proc say 0, and may never end


def parse_json(content: bytes) -> Any:
    """A JSON document in UTF-8, of finite numbers only.

    Raises:
        ValueError: it is none; the message is one line.
    """
    try:
        return json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite_float, parse_int=_bounded_int
        )
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(one_line(error)) from None


def one_line(error: object) -> str:
    """What a message repeats of a text from outside, such as a library's error: one line, bounded, no control codes."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:MAX_QUOTED]


def _check(path: str | Path, status: os.stat_result, max_bytes: int) -> int:
    if not stat.S_ISREG(status.st_mode):
        _refuse("not a regular file", path)
    if status.st_size > max_bytes:
        _refuse(f"larger than {max_bytes} bytes", path, errno.EFBIG)
    return status.st_size


def _refuse(reason: str, path: str | Path, number: int = errno.EINVAL) -> NoReturn:
    raise OSError(number, reason, str(path)) from None


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits is out of range")
    return int(text)
