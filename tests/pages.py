# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the documentation, and the programs that they print."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "training/README.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def programs(page: str) -> list[str]:
    """Those in Python of a page, named from the root of the repository, in their order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
