# SPDX-License-Identifier: GPL-3.0-or-later
"""Video over the whole chain, as a program: pictures are shown on the other side, and it says how good they are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "video_link.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def video_link(*options):
    command = [sys.executable, EXAMPLE, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=False)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no FFmpeg")
def test_pictures_are_shown(tmp_path):
    """A second of video at a twentieth of its speed, over a good channel."""
    link = ["--snr-db", 25, "--doppler", 0, "--ack-loss", 0]
    done = video_link("--seconds", 1, "--slow", 20, "--pictures", tmp_path / "shown.png", *link)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.search(r"shown: (\d+) of the enhancement, (\d+) of the base, (\d+) stood still", done.stdout)
    enhancement, base, frozen = map(int, shown.groups())
    assert enhancement + base + frozen == 25 and enhancement + base > 0
    psnr = {name: float(mean) for name, mean in re.findall(r"PSNR, ([\w ,]+): mean ([\d.]+) dB", done.stdout)}
    assert psnr["base layer"] <= psnr["base layer, were all there"] + 0.1 and psnr["base layer, were all there"] > 25
    assert psnr["shown"] > 12, "a grey picture has 11 dB or less"
    assert (tmp_path / "shown.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", 0], "--seconds of 1 or more"),
        (["--pictures", "shown.txt"], "shown.txt: a name that ends in"),
        (["--num-tx", 5], "num_tx is 5; at most 4"),
    ],
)
def test_wrong_arguments(options, message):
    done = video_link(*options)
    assert done.returncode and message in done.stderr, done.stderr
