# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the documentation, and the programs that they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "training/README.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def programs(page: str) -> list[str]:
    """Those in Python of a page, named from the root of the repository, in their order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run_program(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one in a process and a folder of its own, with the package that is under test."""
    own = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | own | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
