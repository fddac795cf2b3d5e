# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of the beam search: a beam is found, and frames are decoded in it."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "beam_search.py"


def test_a_beam_is_found_and_frames_arrive():
    arguments = ["--array", "4", "4", "--budget", "20", "--policy", "after-holobeam", "--speed", "0", "--seconds", "6"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "--rate", "2e6"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    following = [line for line in done.stdout.splitlines() if "following" in line]
    assert following and int(re.search(r"(\d+) decoded", following[-1])[1]) > 0
