# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses an example with a window as a person does: GRC compiles it, and a process without a screen runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 300
BEFORE = r"""
import atexit, json, re, sys, time
from PyQt5 import Qt
sys.path.insert(0, sys.argv[1])
from {name} import {name}

app = Qt.QApplication(sys.argv)
view = {name}()

def start():
    view.start()
    if hasattr(view, "flowgraph_started"):
        # newer GNU Radio: as main() does, or the probes behind the labels wait for ever
        view.flowgraph_started.set()

def stop():
    view.stop()
    view.wait()

atexit.register(stop)  # a failure is not to be hidden by a crash at exit

def state():  # for who is stuck
    return "stuck"

def until(condition):
    deadline = time.monotonic() + {patience_s}
    while not condition():
        assert time.monotonic() < deadline, state()
        app.processEvents()
        time.sleep(0.01)
"""

AFTER = r"""
sys.modules["{name}"].snippets_main_after_init(view)  # as main() does: makes the window larger
view.show()
for _ in range(20):
    app.processEvents()
buttons = [bar.findChild(Qt.QToolButton, "qt_toolbar_ext_button") for bar in view.findChildren(Qt.QToolBar)]
assert not any(button and button.isVisible() for button in buttons), "a text is too long for its place, and hidden"
"""


def use_view(name: str, script: str, directory: Path, patience_s: float) -> Any:
    """What the last line that a script prints says, as JSON.

    Args:
        name: of the example, without `.grc`.
        script: Python, which finds `app`, `view`, `start`, `stop` and `until` as `BEFORE` has them, and may define
            `state` anew.
        directory: an empty one.
        patience_s: how long `until` waits for a condition.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(directory),  # GRC writes a cache there
    }

    def run(*command: str | Path) -> str:
        arguments = [str(part) for part in command]
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("grcc", "-o", directory, EXAMPLES / f"{name}.grc")
    whole = BEFORE.format(name=name, patience_s=patience_s) + script + AFTER.format(name=name)
    return json.loads(run(sys.executable, "-c", whole, directory).splitlines()[-1])
