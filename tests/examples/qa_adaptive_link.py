# SPDX-License-Identifier: GPL-3.0-or-later
"""A link that adapts, as a program: a file arrives, and it says on the way what it has chosen."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "adaptive_link.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.mark.parametrize("options", [[], ["--policy", "arf", "--detector", "lmmse", "--num-tx", "1"]])
def test_a_file_arrives(tmp_path, options):
    (tmp_path / "sent").write_bytes(np.random.default_rng(1).bytes(15_000))
    command = [sys.executable, EXAMPLE, tmp_path / "sent", tmp_path / "received", "--rate", "2e6", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "received").read_bytes() == (tmp_path / "sent").read_bytes()
    last = done.stdout.splitlines()[-1]
    assert "effective SNR" in last and "first errors" in last, last


def test_who_gives_up_says_so(tmp_path):
    (tmp_path / "sent").write_bytes(bytes(1000))
    command = [sys.executable, EXAMPLE, tmp_path / "sent", tmp_path / "received", "--snr-db", "-30", "--timeout", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=False)
    assert done.returncode == 1 and "file 0/0" in done.stdout
