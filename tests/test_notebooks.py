# SPDX-License-Identifier: GPL-3.0-or-later
"""The notebooks of the documentation run, cell after cell, as `make docs` runs them with Jupyter."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.pages import ROOT, run_program

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.md"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(notebook, tmp_path):
    environment = {"MPLBACKEND": "Agg"}
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
    done = run_program("\n".join(cells), tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_docs_gives_notebooks_a_path_that_is_right_where_they_run():
    """Jupyter runs each in its own folder: a relative path in PYTHONPATH leads nowhere there."""
    said = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    (path,) = re.findall(r"PYTHONPATH=(\S+) KAQ_TRAINING_PYTHON=", said.stdout)
    assert Path(path).is_absolute()


def test_there_are_all_five():
    assert len(NOTEBOOKS) == 5
