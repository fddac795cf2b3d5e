# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated files of every kind that gr-kaq reads: each is read and works, or is refused in one line that names it.

Estimators and configurations, which need more than gr-kaq, are in tests/training.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gr_kaq
from gr_kaq.channels.flat import RecordedChannels
from gr_kaq.commands.kaq import main
from gr_kaq.detection import detectors
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.radios.sigmf import RecordingWriter, open_recording
from tests.mutations import mutated, mutated_documents

COUNTS = [400, pytest.param(10_000, marks=pytest.mark.long)]
MODELS = ["admm5-16qam", "pgd8-16qam-fp", "list8-qpsk"]


def use_model(path):
    """All that is done with a model: its card, and a detection."""
    detector = gr_kaq.load_detector(path)
    with contextlib.redirect_stdout(io.StringIO()):
        for more in ([], ["--json"]):
            assert main(["info", str(path), *more]) == 0
    num_rx = max(1, math.ceil(detector.model.min_rx_per_tx))
    if num_rx <= detector.model.max_num_rx:
        out = detector.detect(np.ones((3, num_rx)), np.ones((num_rx, 1)), snr_db=10.0)
        assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all()


def use_channels(path):
    drawn = RecordedChannels(path, 2, 2, 3).draw(7)
    assert np.mean(np.abs(drawn) ** 2, axis=(1, 2, 3)) == pytest.approx(1, rel=1e-4)


def use_recording(path):
    recording = open_recording(path, 2)
    assert len(recording.read(0, 10)) == recording.num_channels


def check(path, use):
    """Use the file, or see that the error is one line that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            use(path)
    except ValueError as error:
        said = str(error)
        assert path.name.split(".")[0] in said and said.isprintable() and len(said) < 1000, said


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", MODELS)
def test_models(tmp_path, name, count):
    rng = np.random.default_rng(1)
    whole = Path(detectors._model_path(name)).read_bytes()
    path = tmp_path / "mutated.kaq.json"
    for content in (*mutated_documents(json.loads(whole), count, rng), *mutated(whole, count // 3, rng)):
        path.write_bytes(content)
        check(path, use_model)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_recorded_channels(tmp_path, save, order, count):
    rng = np.random.default_rng(2)
    h = np.asarray(rng.standard_normal((5, 3, 2, 2, 2)).astype(np.float32), order=order)
    save(tmp_path / "whole.npz", h=h, other=np.arange(3))
    path = tmp_path / "mutated.npz"
    for content in mutated((tmp_path / "whole.npz").read_bytes(), count, rng):
        path.write_bytes(content)
        check(path, use_channels)


@pytest.mark.filterwarnings("ignore:invalid escape", "ignore:Passing")  # of Python and NumPy, of what is refused
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("header", ["descr", "shape"])
def test_headers_of_recorded_channels(tmp_path, header, count):
    """Within an archive whose checksums are right."""
    rng = np.random.default_rng(3)
    whole = io.BytesIO()
    np.lib.format.write_array(whole, rng.standard_normal((5, 3, 2, 2, 2)))
    start = whole.getvalue().index(header.encode())
    path = tmp_path / "mutated.npz"
    for content in mutated(whole.getvalue()[start : start + 40], count, rng):
        _write_member(path, whole.getvalue()[:start] + content + whole.getvalue()[start + 40 :])
        check(path, use_channels)


def _write_member(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("h.npy", content)


@pytest.mark.parametrize("count", COUNTS)
def test_recordings(tmp_path, count):
    rng = np.random.default_rng(4)
    with RecordingWriter(tmp_path / "mutated", 3, 1e6, 2.4e9, description="noise") as writer:
        writer.write(np.ones((3, 20), np.complex64))
    meta = tmp_path / "mutated.sigmf-meta"
    whole = meta.read_bytes()
    for content in (*mutated_documents(json.loads(whole), count, rng), *mutated(whole, count, rng)):
        meta.write_bytes(content)
        check(tmp_path / "mutated", use_recording)


def test_names_that_are_no_files(tmp_path):
    """Of every kind, by every way in."""
    for suffix in (".kaq.json", ".npz", ".sigmf-meta", ".sigmf-data", ".bin"):
        os.mkfifo(tmp_path / f"fifo{suffix}")
    ways = {
        "fifo.kaq.json": (use_model, detectors.load_model),
        "fifo.npz": (use_channels, lambda path: gr_kaq.channels.flat.RecordedChannels(path, 1, 1)),
        "fifo.sigmf-meta": (use_recording,),
        "fifo.bin": (lambda path: FileSender(path, 200),),
    }
    for name, uses in ways.items():
        for use in uses:
            with pytest.raises((ValueError, OSError), match="not a regular file"):
                use(tmp_path / name)
    arguments = ["ber", "lmmse", "--constellation", "qpsk", "--channel", str(tmp_path / "fifo.npz")]
    for words in (["info", str(tmp_path / "fifo.kaq.json")], ["ber", str(tmp_path / "fifo.kaq.json")], arguments):
        assert main(words) == 2
    with RecordingWriter(tmp_path / "r", 2, 1e6) as writer:
        writer.write(np.ones((2, 20), np.complex64))
    (tmp_path / "r.sigmf-data").unlink()
    os.mkfifo(tmp_path / "r.sigmf-data")
    with pytest.raises(ValueError, match="not a regular file"):
        use_recording(tmp_path / "r")
