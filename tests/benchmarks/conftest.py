# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests of the benchmarks need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def output_without() -> Callable[[str, str], str]:
    """output_without(module, program): what a Python program prints on a machine that lacks a module."""

    def output(module: str, program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.modules[{module!r}] = None\n{program}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return output
