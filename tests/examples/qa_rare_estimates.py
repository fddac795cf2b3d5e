# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of a receiver that estimates few of its frames, as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "rare_estimates.py"


def test_slow_channels_are_forecast_over_three_frames():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--frames", "80", "--every", "1", "4", "--doppler", "20", "--snr", "30"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"1 frame of (\d+) estimated: (\d+) found, (\d+) forecast, (\d+) blocks wrong", done.stdout)
    (_, found, forecast, wrong), (_, same, more, _) = (tuple(map(int, row)) for row in rows)
    assert found == same == 80 and (forecast, more) == (0, 60)
    assert wrong <= 1 and int(rows[1][3]) <= 4
