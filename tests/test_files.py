# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a name stands for, what reads it gets a regular file of a bounded size, or an error at once."""

import contextlib
import os
import socket

import pytest

from gr_kaq.files import MAX_QUOTED, one_line, open_file, parse_json, read_file


def fifo(path):
    os.mkfifo(path)
    return path


def socket_at(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()
    return path


def link_to_fifo(path):
    path.symlink_to(fifo(path.with_name("target")))
    return path


def link_to_itself(path):
    path.symlink_to(path)
    return path


NO_FILES = {
    "FIFO": (fifo, "not a regular file"),
    "link to a FIFO": (link_to_fifo, "not a regular file"),
    "socket": (socket_at, "not a regular file"),
    "directory": (lambda path: path.parent, "not a regular file"),
    "device without an end": (lambda path: "/dev/zero", "not a regular file"),
    "terminal": (lambda path: "/dev/tty", "not a regular file|No such device"),
    "missing": (lambda path: path, "No such file"),
    "link to itself": (link_to_itself, "Too many levels"),
    "empty name": (lambda path: "", "No such file"),
    "null character": (lambda path: f"{path}\0", "no name of a file"),
    "lone surrogate": (lambda path: f"{path}\ud800", "no name of a file"),
    "long name": (lambda path: path / ("x" * 300), "File name too long|Not a directory|No such file"),
    "memory of the kernel": (lambda path: "/proc/kcore", "larger than|Permission denied|No such file"),
}


@pytest.mark.parametrize("case", NO_FILES)
def test_what_is_no_file_is_refused(tmp_path, case):
    make, said = NO_FILES[case]
    with pytest.raises(OSError) as error:
        read_file(make(tmp_path / "it"), 1 << 20)
    assert error.value.strerror
    assert any(part in error.value.strerror for part in said.split("|"))


def test_a_name_that_becomes_a_fifo_meanwhile_is_refused(tmp_path, monkeypatch):
    """Between the look at it and its opening."""
    regular = tmp_path / "regular"
    regular.write_bytes(b"x")
    status = os.stat(regular)
    waiting = fifo(tmp_path / "fifo")
    monkeypatch.setattr(os, "stat", lambda path: status)
    with pytest.raises(OSError, match="not a regular file"):
        open_file(waiting, 100)


def test_sizes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_file(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        read_file(path, 99)
    os.truncate(path, 1 << 40)  # takes no room on the disk
    with pytest.raises(OSError, match="larger than"):
        read_file(path, 1 << 20)


def test_a_file_of_proc_is_as_long_as_it_says():
    """It says 0, and some of them never end."""
    assert read_file("/proc/self/maps", 1 << 20) == b""


def test_no_descriptor_stays_open(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for most in (99, 100):
        for name in (path, tmp_path):
            with contextlib.suppress(OSError):
                read_file(name, most)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"NaN", b"[1e999]", b"-Infinity", b"9" * 400, b"9" * 10_000, b"[" * 100_000,
        b'{"\x1b[31m": }', b'"\xed\xa0\x80"', "[\u2028".encode(), b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_said_in_one_line(content):
    with pytest.raises(ValueError) as error:
        parse_json(content)
    assert 0 < len(str(error.value)) <= MAX_QUOTED and str(error.value).isprintable()


def test_json():
    assert parse_json(b'{"a": [1, -2.5, null, true, "\xc3\xa4"]}') == {"a": [1, -2.5, None, True, "ä"]}
    assert parse_json(b"9" * 300) == int("9" * 300)


def test_a_text_from_outside_cannot_forge_lines():
    assert one_line("a\nb\r\n  c\x1b[2J\u202e\0") == "a b c?[2J??"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line("x" * 10_000)) == MAX_QUOTED
