# SPDX-License-Identifier: GPL-3.0-or-later
"""What gr-kaq itself reads: model files, recorded channels, recordings, and frames over ZMQ."""

from __future__ import annotations

import contextlib
import io
import json
import math
import zipfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import gr_kaq
from gr_kaq import adaptation
from gr_kaq.adaptation.block_error_curves import SHIPPED, BlockErrorCurves
from gr_kaq.channels.flat import RecordedChannels
from gr_kaq.channels.sequence_file import read_sequence
from gr_kaq.commands.kaq import main as kaq
from gr_kaq.detection import detectors
from gr_kaq.radios.sigmf import RecordingWriter, open_recording
from gr_kaq.testbed.zmq_frames import FrameError, Pair, Tag, Uint64, decode_frame, encode_frame
from tests.fuzz.contents.kind import Kind, Random, spoilt

__all__ = ["KINDS", "use_channels", "use_curves", "use_model", "use_recording", "use_sequence"]

# Models


@cache
def _models() -> list[bytes]:
    names = ("admm5-16qam", "pgd8-16qam-fp", "list8-qpsk", "admm5-16qam-w2")
    *found, last = [Path(detectors._model_path(name)).read_bytes() for name in names]
    mixed = json.loads(last)
    mixed["bits"] |= {"activations": [1, 2, 2, 2, 3], "midrise": True}
    return [*found, json.dumps(mixed).encode()]


def use_model(path: Path) -> None:
    """All that is done with a model: its card, and a detection."""
    detector = gr_kaq.load_detector(path)
    with contextlib.redirect_stdout(io.StringIO()):
        for more in ([], ["--json"]):
            assert kaq(["info", str(path), *more]) == 0
    num_rx = max(1, math.ceil(detector.model.min_rx_per_tx))
    if num_rx <= detector.model.max_num_rx:
        out = detector.detect(np.ones((3, num_rx)), np.ones((num_rx, 1)), snr_db=10.0)
        assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all()


# Recorded channels


@cache
def _archives() -> list[bytes]:
    found, rng = [], np.random.default_rng(2)
    for save in (np.savez, np.savez_compressed):
        for order in ("C", "F"):
            h = np.asarray(rng.standard_normal((5, 3, 2, 2, 2)).astype(np.float32), order=order)
            save(whole := io.BytesIO(), h=h, other=np.arange(3))
            found.append(whole.getvalue())
    return found


def draw_archive(rng: Random) -> bytes:
    return spoilt(_archives()[rng.integers(len(_archives()))], rng)


def draw_header(rng: Random) -> bytes:
    """A spoilt header in an archive whose checksums are right."""
    np.lib.format.write_array(array := io.BytesIO(), np.random.default_rng(3).standard_normal((5, 3, 2, 2, 2)))
    whole = array.getvalue()
    start = whole.index((b"descr", b"shape")[rng.integers(2)])
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as members:
        members.writestr("h.npy", whole[:start] + spoilt(whole[start : start + 40], rng) + whole[start + 40 :])
    return archive.getvalue()


def use_channels(path: Path) -> None:
    drawn = RecordedChannels(path, 2, 2, 3).draw(7)
    np.testing.assert_allclose(np.mean(np.abs(drawn) ** 2, axis=(1, 2, 3)), 1, rtol=1e-4)


def draw_sequence(rng: Random) -> bytes:
    """A recording whose packets have times, spoilt as bytes or in an array."""
    arrays: dict[str, Any] = {
        "h": np.random.default_rng(4).standard_normal((5, 4, 2, 2, 2)).astype(np.float32),
        "timestamp_us": np.arange(5.0) * 1000,
        "sample": np.arange(5) * 1000,
        "sample_rate": np.array(2e6),
        "carriers": np.array([-2, -1, 1, 2]),
        "snr_db": np.full(5, 20.0),
    }
    for name in [name for name in arrays if name != "h" and rng.random() < 0.2]:
        del arrays[name]
    name = list(arrays)[rng.integers(len(arrays))]
    kind = rng.integers(6)
    if kind == 0:
        arrays[name] = np.atleast_1d(arrays[name])[..., :1]
    elif kind == 1:
        arrays[name] = np.flip(np.atleast_1d(arrays[name]))
    elif kind == 2:
        with np.errstate(all="ignore"):
            arrays[name] = arrays[name] * rng.choice((np.nan, np.inf, 1e300, -1.0, 0.0, 1e-320))
    elif kind == 3:
        arrays[name] = np.array(["x", "\x1b[31m"])
    np.savez(whole := io.BytesIO(), **arrays)
    return spoilt(whole.getvalue(), rng) if kind > 3 else whole.getvalue()


def use_sequence(path: Path) -> None:
    found = read_sequence(path)
    assert len(found.times) == len(found.h) and np.isfinite(found.h).all() and np.isfinite(found.times).all()


# Curves of block errors


def draw_curves(rng: Random) -> bytes:
    return spoilt(Path(str(resources.files(adaptation) / SHIPPED)).read_bytes(), rng, document=True)


def use_curves(path: Path) -> None:
    assert np.isfinite(BlockErrorCurves.load(path).block_error_rate(10.0)).all()


# Recordings


def draw_recording(rng: Random) -> bytes:
    channel = {"core:sample_start": 0, "core:frequency": 2.4e9}
    document = {
        "global": {
            "core:datatype": "cf32_le",
            "core:version": "1.0.0",
            "core:num_channels": 3,
            "core:sample_rate": 1e6,
        },
        "captures": [channel],
        "annotations": [],
    }
    return spoilt(json.dumps(document).encode(), rng, document=True)


def use_recording(path: Path) -> None:
    samples = path.with_suffix(".sigmf-data")
    if not samples.exists():
        with RecordingWriter(path.with_name("whole"), 3, 1e6, 2.4e9) as writer:
            writer.write(np.ones((3, 20), np.complex64))
        path.with_name("whole.sigmf-data").rename(samples)
    recording = open_recording(path.with_suffix(""), 2)
    assert len(recording.read(0, 10)) == recording.num_channels


# Frames over ZMQ


def draw_value(rng: Random, depth: int = 0) -> Any:
    leaves: tuple[Any, ...] = (
        None, True, False, "", "mimo_channel", "é", 0, -5, 2**40, Uint64(2**64 - 1), 0.5, 1 - 2j,
        np.ones(3, np.complex64), np.arange(2), np.zeros(0, np.float32),
    )  # fmt: skip
    if depth > 3 or rng.random() < 0.6:
        return leaves[rng.integers(len(leaves))]
    inner = [draw_value(rng, depth + 1) for _ in range(1 + rng.integers(3))]
    kinds = (inner, tuple(inner), {str(i): v for i, v in enumerate(inner)}, {"h": inner}, Pair(inner[0], 1))
    return kinds[rng.integers(len(kinds))]


def draw_frame(rng: Random) -> bytes:
    tags = [Tag(int(rng.integers(100)), "snr", draw_value(rng), draw_value(rng)) for _ in range(rng.integers(4))]
    frame = encode_frame(rng.bytes(int(rng.integers(64))), int(rng.integers(1 << 60)), tags)
    kind = rng.integers(8)
    if kind == 0:  # a depth or a number that is a lie
        frame = frame[:11] + int(rng.integers(1 << 63)).to_bytes(8, "little") + bytes(8)
        parts = (b"\x07", b"\x09\x07\x02\0\0", b"\x0c\xff\xff\xff\xff", b"\x0a\x0b\xff\xff\xff\xff\0")
        frame += parts[rng.integers(4)] * int(rng.choice((1, 40, 200_000)))
    return frame if kind == 1 else spoilt(frame, rng)


def use_frame(path: Path) -> None:
    """What is decoded can be encoded, and is the same then; but for what GNU Radio can send and not use."""
    content = path.read_bytes()
    try:
        offset, tags, payload = decode_frame(content)
    except FrameError as error:
        raise ValueError(f"{path.name}: {error}") from None
    try:
        again = encode_frame(payload, offset, tags)
    except ValueError:  # an empty tuple
        return
    offset, tags, payload = decode_frame(again)
    assert encode_frame(payload, offset, tags) == again


KINDS = {
    "zmq-frames": Kind("frame", draw_frame, use_frame),
    "models": Kind("mutated.kaq.json", lambda rng: spoilt(_models()[rng.integers(3)], rng, document=True), use_model),
    "recorded-channels": Kind("mutated.npz", draw_archive, use_channels),
    "recorded-headers": Kind("mutated.npz", draw_header, use_channels),
    "sequences": Kind("mutated.npz", draw_sequence, use_sequence),
    "curves": Kind("mutated.json", draw_curves, use_curves),
    "recordings": Kind("mutated.sigmf-meta", draw_recording, use_recording),
}
