# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a frame's time goes: a line for each stage, the files, and clear errors."""

import json
import subprocess
import sys

import pytest

kaq_speed = pytest.importorskip("kaq_speed", reason="built by make test and make bench")


def run(tmp_path, *arguments):
    command = [sys.executable, "-m", "benchmarks.receiver_stages", "--num-tx", "2", "--rounds", "2", "--runs", "1"]
    options = ["--seconds", "0.1", "--output", str(tmp_path)]
    return subprocess.run([*command, *options, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_every_stage_gets_a_line(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "stages.json").read_text())
    assert list(result["stages"]) == ["search", "Fourier transforms", "channel estimation", "detection", "decoding"]
    for name, of in result["stages"].items():
        assert of["bound"] > 0 and 0 < of["fastest"] <= of["median"]
        assert name in done.stdout
    assert result["lost"] == 0 and result["rate"] > 0
    assert (tmp_path / "stages.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--detector", "no-such"], "no-such"), (["--fft-size", "100"], "100"), (["--snr", "-20"], "SNR")],
)
def test_errors_name_what_was_wrong(tmp_path, arguments, text):
    done = run(tmp_path, *arguments)
    assert done.returncode == 2 and text in done.stderr and "Traceback" not in done.stderr
