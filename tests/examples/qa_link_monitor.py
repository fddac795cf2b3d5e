# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view of a link that adapts: GRC compiles it, numbers appear, and the MCS follows the SNR while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FLOWGRAPH = Path(__file__).parents[2] / "examples" / "link_monitor.grc"
USE = r"""
import atexit, json, re, sys, time
from PyQt5 import Qt
sys.path.insert(0, sys.argv[1])
from link_monitor import link_monitor

app = Qt.QApplication(sys.argv)
view = link_monitor()
atexit.register(lambda: (view.stop(), view.wait()))  # a failure is not to be hidden by a crash at exit

def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "stuck"
        app.processEvents()
        time.sleep(0.01)

view.set_display_rate(1e6)
view.show()
view.start()
if hasattr(view, "flowgraph_started"):  # newer GNU Radio: as main() does, or the probes behind the labels wait for ever
    view.flowgraph_started.set()
labels = [getattr(view, f"_{name}_label_label") for name in ("mcs", "error", "snr", "goodput")]
until(lambda: all(re.search("[1-9]", label.text()) for label in labels))
texts = [label.text() for label in labels]
view.set_snr_db(40.0)
until(lambda: view.kaq_link_adapter_0.mcs() >= 8)
view.set_snr_db(3.0)
until(lambda: view.kaq_link_adapter_0.mcs() <= 3)
blocks = (view.kaq_link_adapter_0, view.kaq_link_decoder_0, view.kaq_arq_sender_0, view.kaq_arq_receiver_0)
errors = sum(block.internal_errors() for block in blocks)
view.stop()
view.wait()
print(json.dumps([texts, errors]))
"""


def test_numbers_appear_and_follow_the_snr(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),  # GRC writes a cache there
    }
    for command in (["grcc", "-o", tmp_path, FLOWGRAPH], [sys.executable, "-c", USE, tmp_path]):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=240, env=environment, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (mcs, errors, snrs, goodput), internal_errors = json.loads(done.stdout.splitlines()[-1])
    assert "qam" in mcs or "qpsk" in mcs
    assert "offset" in errors and snrs.endswith("dB") and goodput.endswith("kbit/s")
    assert internal_errors == 0
