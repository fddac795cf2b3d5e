# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation prints is true: its programs run, its links lead somewhere, its tables are the models'."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "training" / "README.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def environment():
    return {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize("index", range(2))
def test_programs_of_the_readme_run(index, tmp_path):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(programs) == 2
    done = subprocess.run(
        [sys.executable, "-c", programs[index]],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("errors)" if index == 0 else "(64, 14, 16) (64, 14, 16, 4)") in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_table_of_detectors_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "detector_table.py"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    page = ROOT / "docs" / "guide" / "detectors.md"
    assert done.stdout in page.read_text(), "run benchmarks/detector_table.py --update"


def test_every_source_has_a_licence_line():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    sources = [
        f for f in files if Path(f).suffix in (".py", ".cc", ".h", ".yml", ".yaml", ".grc", ".txt", ".cff", ".toml")
    ]
    missing = [f for f in sources if "SPDX-License-Identifier: GPL-3.0-or-later" not in (ROOT / f).read_text()[:200]]
    assert not missing
