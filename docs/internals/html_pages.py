#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages that are installed: the guide, and one for each block, where `doc_url` of its file for GRC leads.

python3 docs/internals/html_pages.py build/pages

`make docs` makes a greater site, with a reference and notebooks, but needs Sphinx for it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from html import escape
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} - gr-kaq</title>
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 62em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ border: 1px solid #8888; padding: 0.2em 0.6em; text-align: left; vertical-align: top }}
pre {{ padding: 0.6em; background: #8882; overflow-x: auto }}
img {{ max-width: 100%; background: white }}
.text {{ white-space: pre-wrap }}
</style>
<p><a href="{index}">gr-kaq</a></p>
{body}
</html>
"""


def heading_id(heading: str) -> str:
    """What links to a heading say, as GitHub has it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


class Pages:
    """Writes pages to a folder, which is as docs/ is: docs/guide/onnx.md becomes guide/onnx.html."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
        self._sources = [*sorted((DOCS / "guide").glob("*.md")), DOCS / "security.md"]

    def write(self) -> None:
        """All of them."""
        for source in self._sources:
            body = self._rendered(source.read_text("utf-8"), source.parent)
            self._write(source.relative_to(DOCS).with_suffix(".html"), source.stem, body)
        blocks = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / "grc").glob("*.block.yml"))]
        for block in blocks:
            self._write(Path("blocks", f"{block['id']}.html"), block["label"], self._block(block))
        self._write(Path("index.html"), "index", self._index(blocks))

    def _write(self, path: Path, title: str, body: str) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        index = os.path.relpath("index.html", path.parent)
        target.write_text(PAGE.format(title=escape(title), index=index, body=body), "utf-8")

    def _index(self, blocks: list[Any]) -> str:
        """The guide's table of docs/README.md, and the blocks."""
        listed = (DOCS / "README.md").read_text("utf-8").partition("## Guide")[2].partition("\n\n")[2]
        rows = [f"| [{block['label']}](blocks/{block['id']}.html) | `{block['id']}` |" for block in blocks]
        text = "\n".join(
            ["# gr-kaq", "", listed.partition("\n\n")[0], "", "## Blocks", "", "| block | id |", "|---|---|"]
        )
        return self._rendered("\n".join([text, *rows]), DOCS)

    def _rendered(self, text: str, folder: Path) -> str:
        """Markdown as HTML, its links leading to pages, its pictures copied; what is not installed is no link."""
        tokens = self._markdown.parse(text)
        for before, token in zip([None, *tokens], tokens, strict=False):
            if before is not None and before.type == "heading_open":
                before.attrSet("id", heading_id(token.content))
            kept, dead = [], False
            for child in token.children or []:
                if child.type == "image":
                    self._copy((folder / str(child.attrs["src"])).resolve())
                if child.type == "link_open":
                    target = self._target(str(child.attrs["href"]), folder)
                    child.attrs["href"] = target or ""
                    dead = target is None
                if not (dead and child.type in ("link_open", "link_close")):
                    kept.append(child)
            token.children = kept
        return str(self._markdown.renderer.render(tokens, self._markdown.options, {}))

    def _target(self, href: str, folder: Path) -> str | None:
        """Where a link of docs/ leads among these pages; None if nowhere."""
        path, _, anchor = href.partition("#")
        if not path or "://" in path or path.startswith("blocks/"):
            return href
        if (folder / path).resolve() not in self._sources:
            return None
        return path.removesuffix(".md") + ".html" + (f"#{anchor}" if anchor else "")

    def _copy(self, picture: Path) -> None:
        target = self._folder / picture.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)

    def _block(self, block: dict[str, Any]) -> str:
        """A block's page: its text, parameters, ports, and what it counts."""
        text = re.sub(r"docs/(guide/[\w-]+)\.md", r'<a href="../\1.html">\1</a>', escape(block["documentation"]))
        parts = [f"<h1>{escape(block['label'])}</h1>", f'<div class="text">{text}</div>']
        if block.get("parameters"):
            rows = [
                (each["label"], each["id"], each.get("default", ""), ", ".join(map(str, each.get("options", []))))
                for each in block["parameters"]
                if each.get("hide") != "all"
            ]
            parts += ["<h2>Parameters</h2>", _table(("parameter", "id", "default", "choices"), rows)]
        ports = [
            (side, port.get("label", port.get("id", "")), port.get("dtype", port["domain"]), port.get("vlen", ""))
            for side in ("inputs", "outputs")
            for port in block.get(side, [])
        ]
        parts += ["<h2>Ports</h2>", _table(("side", "port", "type", "length of a vector"), ports)]
        counters = (DOCS / "guide" / "counters.md").read_text("utf-8")
        found = re.search(
            rf"^## {block['id'].removeprefix('kaq_')}\n.*?(?=^## |\Z)", counters, re.DOTALL | re.MULTILINE
        )
        if found:
            table = found[0].partition("\n")[2]
            parts += ["<h2>Counters</h2>", self._rendered(table, DOCS / "guide")]
        return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["<table>", "<tr>", *(f"<th>{name}</th>" for name in head), "</tr>"]
    for row in rows:
        lines += ["<tr>", *(f"<td>{escape(str(cell))}</td>" for cell in row), "</tr>"]
    return "\n".join([*lines, "</table>"])


if __name__ == "__main__":
    Pages(Path(sys.argv[1])).write()
