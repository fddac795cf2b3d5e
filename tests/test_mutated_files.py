# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated files of every kind that gr-kaq reads: each is read and works, or is refused in one line that names it.

tests/fuzz/contents has the kinds. Estimators and configurations, which need more than gr-kaq, are in tests/training.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import gr_kaq
from gr_kaq.commands.kaq import main
from gr_kaq.detection import detectors
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.radios.sigmf import RecordingWriter
from tests.fuzz.contents import CORPUS, KINDS, files, try_content
from tests.fuzz.contents.files import use_channels, use_curves, use_model, use_recording, use_sequence

COUNTS = [400, pytest.param(10_000, marks=pytest.mark.long)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", files.KINDS)
def test_mutated(tmp_path, kind, count):
    rng = np.random.default_rng(1)
    for number in range(count):
        fault, _, _ = try_content(KINDS[kind], KINDS[kind].draw(rng), tmp_path)
        assert not fault, f"{kind} {number}: {fault}"


@pytest.mark.parametrize("kind", files.KINDS)
def test_what_once_failed(tmp_path, kind):
    for path in sorted((CORPUS / kind).glob("*")):
        fault, _, _ = try_content(KINDS[kind], path.read_bytes(), tmp_path)
        assert not fault, f"{path}: {fault}"


def test_names_that_are_no_files(tmp_path):
    """Of every kind, by every way in."""
    for suffix in (".kaq.json", ".npz", ".sigmf-meta", ".sigmf-data", ".json", ".bin"):
        os.mkfifo(tmp_path / f"fifo{suffix}")
    ways = {
        "fifo.kaq.json": (use_model, detectors.load_model),
        "fifo.npz": (use_channels, use_sequence, lambda path: gr_kaq.channels.flat.RecordedChannels(path, 1, 1)),
        "fifo.sigmf-meta": (use_recording,),
        "fifo.json": (use_curves,),
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
