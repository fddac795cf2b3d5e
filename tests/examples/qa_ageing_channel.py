# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of channel_predictor, as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "ageing_channel.py"


def test_forecasts_make_symbol_errors_fewer_for_both_users():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--items", "800", "--doppler", "50", "300"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone, forecast = (tuple(map(float, pair)) for pair in re.findall(r"errors ([\d.]+) and ([\d.]+)", done.stdout))
    assert forecast[0] < alone[0] and forecast[1] < alone[1] / 3
