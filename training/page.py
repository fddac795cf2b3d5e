# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured tables in a Markdown page: each stands between two markers, and is replaced where it stands."""

from __future__ import annotations

from pathlib import Path

from .config import ConfigError

__all__ = ["replace_blocks"]


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
