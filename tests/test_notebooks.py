# SPDX-License-Identifier: GPL-3.0-or-later
"""The notebooks of the documentation run, cell after cell, as `make docs` runs them with Jupyter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.md"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(notebook, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MPLBACKEND": "Agg"}
    if notebook.stem == "train":
        training = Path(os.environ.get("KAQ_TRAINING_PYTHON", ROOT / ".venv" / "bin" / "python"))
        if not training.exists():
            pytest.skip("no environment for training; `make test` makes one")
        if subprocess.run([training, "-c", "import torch"], capture_output=True, check=False).returncode:
            pytest.skip("no torch: `make test TORCH=no` leaves it out")
        environment["KAQ_TRAINING_PYTHON"] = str(training)
    else:
        pytest.importorskip("gnuradio")
    cells = re.findall(r"```\{code-cell\} python3\n(.*?)```", notebook.read_text(), re.DOTALL)
    assert cells
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(cells)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_all_five():
    assert len(NOTEBOOKS) == 5
