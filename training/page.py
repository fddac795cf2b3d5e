# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured in a Markdown page: a table stands between two markers, and is replaced where it stands. What is
behind it, and pictures, are in a folder of the page's name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .config import ConfigError

__all__ = ["add_picture", "add_results", "replace_blocks"]


def replace_blocks(page: Path, blocks: dict[str, str]) -> None:
    """Replace what is between <!-- begin: NAME --> and <!-- end: NAME -->.

    Raises:
        ConfigError: the page has no such markers; nothing is written.
    """
    text = page.read_text("utf-8")
    for name, block in blocks.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ConfigError(f"{page}: {begin} ... {end} expected")
        text = f"{before}{begin}\n\n{block}\n\n{end}{after}"
    page.write_text(text, "utf-8")


def add_picture(page: Path, picture: Path, name: str) -> None:
    """Copy a picture beside the page, to NAME.png."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(picture, folder / f"{name}.png")


def add_results(page: Path, file: str, key: str, value: Any) -> None:
    """Set a key of a JSON file beside the page, which other keys share."""
    path = page.with_suffix("") / file
    path.parent.mkdir(exist_ok=True)
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**document, key: value}, indent=0) + "\n", "utf-8")
