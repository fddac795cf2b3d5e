# SPDX-License-Identifier: GPL-3.0-or-later
"""The jammer is swept while the receiver runs: few blocks are lost at a low power, nearly all at a high one."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "interference_sweep.py"


def test_the_sweep():
    command = [sys.executable, str(SCRIPT), "--powers", "-50", "20", "--frames", "150"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, row)) for row in re.findall(r"band: (\d+) of (\d+) blocks arrived", done.stdout)]
    assert len(rows) == 2 and "-38.0 dB in the band" in done.stdout
    assert rows[0][0] > 0.6 * rows[0][1] and rows[1][0] < 0.4 * rows[1][1]  # some are on their way
