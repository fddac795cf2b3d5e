# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings come from anywhere: a file that cannot be used costs little and is named, one that can is read exactly."""

import io
import struct
import zipfile

import numpy as np
import pytest

from gr_kaq.channels import channel_file
from gr_kaq.channels.channel_file import read_packets
from tests.refusals import refusals

READ = """
from gr_kaq.channels.channel_file import read_packets
def read(path):
    read_packets(path, 2, 2)
"""
SHAPE = (6, 3, 2, 2)


def noise(shape, seed=1):
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return parts[0] + 1j * parts[1]


def scaled(h):
    """The definition."""
    return h / np.sqrt(np.mean(np.abs(h) ** 2, axis=(1, 2, 3), keepdims=True))


def archive(path, header=None, body=b"", compression=zipfile.ZIP_DEFLATED, version=(1, 0)):
    """An archive whose `h` has this header, written by hand, and this body."""
    text = repr(header).encode() if not isinstance(header, bytes) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text) + 1)
    with zipfile.ZipFile(path, "w", compression) as out:
        out.writestr("h.npy", b"\x93NUMPY" + bytes(version) + length + text + b"\n" + body)
    return path


def header(shape, descr="<c8", fortran_order=False):
    return {"descr": descr, "fortran_order": fortran_order, "shape": shape}


def test_in_pieces_it_is_the_same(tmp_path, monkeypatch):
    h = noise((50, 3, 4, 2))
    np.savez(tmp_path / "h.npz", h=h, other=np.ones(3))
    np.testing.assert_allclose(read_packets(tmp_path / "h.npz", 4, 2), scaled(h), rtol=1e-6)
    whole = read_packets(tmp_path / "h.npz", 3, 1)
    np.testing.assert_allclose(whole, scaled(h[:, :, :3, :1]), rtol=1e-6)
    monkeypatch.setattr(channel_file, "MAX_PACKET_ENTRIES", 24 * 7)
    np.testing.assert_array_equal(read_packets(tmp_path / "h.npz", 3, 1), whole)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["c8", "c16", ">c8", "c32", "f2", "f4", ">f8", "i1", "u1", ">i2", "i8"])
def test_every_type_in_either_order(tmp_path, save, dtype):
    h = np.round(noise((40, 3, 2, 2)) * 30)
    if "c" not in dtype:
        h = np.stack([h.real, h.imag], axis=-1)
    h = np.abs(h).astype(dtype) if dtype == "u1" else h.astype(dtype)
    seen = h[..., 0].astype(float) + 1j * h[..., 1] if "c" not in dtype else h
    for name, order in (("c", "C"), ("f", "F")):
        save(tmp_path / f"{name}.npz", h=np.asarray(h, order=order))
        np.testing.assert_allclose(read_packets(tmp_path / f"{name}.npz", 2, 2), scaled(seen), rtol=1e-6)


@pytest.mark.parametrize("level", [1e-320, 1e-200, 1e-30, 1e200, 1e308])
def test_whatever_the_level(tmp_path, level):
    """1e200 used to become zeros, without a word: its square is no number."""
    h = noise(SHAPE)
    np.savez(tmp_path / "h.npz", h=h / np.abs(h).max() * level)
    rtol = 1e-2 if level < 1e-300 else 1e-6
    np.testing.assert_allclose(read_packets(tmp_path / "h.npz", 2, 2), scaled(h), rtol=rtol, atol=rtol)


def test_packets_of_zeros_are_left_out(tmp_path):
    h = noise(SHAPE)
    h[1] = h[4] = 0
    np.savez(tmp_path / "h.npz", h=h)
    assert len(read_packets(tmp_path / "h.npz", 2, 2)) == 4


def hostile(directory):
    """Files and what is said of them."""
    lines = np.zeros((1, 64, 4, 4), np.complex64).tobytes()
    zeros = (
        b"\0" * (1 << 20)
        for _ in range(1 << 9)  # 512 MiB
    )
    bomb = directory / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out, out.open("h.npy", "w") as content:
        np.lib.format.write_array_header_1_0(content, header((1 << 16, 64, 4, 4)))
        for part in zeros:
            content.write(part)
    yield bomb, "more than 100 times those of the file"

    many = directory / "many.npz"  # within the expansion, beyond the number of entries
    with zipfile.ZipFile(many, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("padding", np.random.default_rng(1).bytes(8 << 20), zipfile.ZIP_STORED)
        with out.open("h.npy", "w") as content:
            np.lib.format.write_array_header_1_0(content, header((1 << 16, 64, 4, 4)))
            for _ in range(1 << 9):
                content.write(b"\0" * (1 << 20))
    yield many, "32768 packets or fewer expected"

    last = directory / "last.npz"  # the largest there may be, and only its last value is wrong
    with zipfile.ZipFile(last, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("padding", np.random.default_rng(1).bytes(3 << 20), zipfile.ZIP_STORED)
        with out.open("h.npy", "w") as content:
            np.lib.format.write_array_header_1_0(content, header((1 << 15, 64, 4, 4)))
            for _ in range((1 << 15) - 1):
                content.write(lines)
            content.write(lines[:-4] + np.float32(np.nan).tobytes())
    yield last, "NaN"

    wide = directory / "wide.npz"
    yield archive(wide, header((1, 1 << 20, 2, 2)), bytes(8 << 22)), "100 times|1048576 or fewer"
    folded = noise((1 << 13, 64, 4, 4)).astype(np.complex64)
    np.savez(directory / "fortran.npz", h=np.asfortranarray(folded))
    yield directory / "fortran.npz", "np.ascontiguousarray"

    simple = {
        "claims": (header((1 << 40, 64, 4, 4)), b"", "but has 0 bytes"),
        "short": (header(SHAPE), bytes(100), "but has 100 bytes"),
        "long": (header(SHAPE), bytes(10_000), "but has 10000 bytes"),
        "negative": (header((-1, 64, 4, 4)), b"", "complex64"),
        "product of negatives": (header((-2, -36, 2, 2)), bytes(8 * 288), "complex64"),
        "object": (header((1,), "|O"), b"\x80\x04.", "object"),
        "structure": (header((1, 1, 2, 2), [("a", "<f8")]), bytes(32), "f8"),
        "text": (header((1, 1, 2, 2), "<U4"), bytes(64), "<U4"),
        "huge type": (header((1, 1, 2, 2), "<c99999999999"), b"", "c9999"),
        "deep header": (b"(" * 9000, b"", "expected"),
        "long header": (b" " * 60_000, b"", "expected"),
        "no header": (b"\xff" * 30, b"", "expected"),
        "no shape": ({"descr": "<c8"}, b"", "expected"),
        "scalar": (header(()), bytes(8), "complex64"),
        "zeros": (header(SHAPE), bytes(8 * 72), "every recorded channel is zero"),
    }
    for name, (of, body, said) in simple.items():
        yield archive(directory / f"{name}.npz", of, body), said
    later = archive(directory / "later.npz", header(SHAPE), bytes(8 * 72), version=(2, 0))
    yield later, "format 2.0"
    packed = archive(directory / "lzma.npz", header(SHAPE), bytes(8 * 72), compression=zipfile.ZIP_LZMA)
    yield packed, "compressed in another way"

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        out.writestr("h.npy", b"")
    whole = content.getvalue()
    large = directory / "directory.npz"
    with large.open("wb") as file:  # a directory of 3 million members, which would take gigabytes
        entry = whole[whole.index(b"PK\x01\x02") : whole.index(b"PK\x05\x06")]
        file.write(whole[: whole.index(b"PK\x01\x02")])
        for _ in range(300):
            file.write(entry * 10_000)
        file.write(b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 65535, 65535, len(entry) * 3_000_000, 35, 0))
    yield large, "directory has more than"
    large64 = directory / "directory64.npz"
    end = whole[-22:]
    large64.write_bytes(whole[:-22] + b"PK\x06\x07" + bytes(16) + end)
    yield large64, "directory has more than"


def test_hostile_recordings_cost_little(tmp_path):
    files, expected = zip(*hostile(tmp_path), strict=True)
    said, grown = refusals(READ, files)
    for path, message, parts in zip(files, said, expected, strict=True):
        assert str(path) in message and "\n" not in message, path
        assert any(part in message for part in parts.split("|")), message
    assert grown < 200
