# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as a site: `make docs` runs Sphinx over the repository, with this file in front."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gr_kaq

project = "gr-kaq"
author = "the authors of gr-kaq"
version = release = gr_kaq.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/**/*.md",
    "examples/README.md",
    "training/README.md",
    "python/gr_kaq/channels/recordings/README.md",
    "python/gr_kaq/estimation/estimators/README.md",
]
exclude_patterns = ["docs/guide/performance/reasons.md"]  # a part of performance.md, which `make bench` puts there
suppress_warnings = [
    "myst.xref_missing"
]  # links to sources, which are not part of the site; tests/test_docs.py checks all

html_theme = "furo"
html_title = f"gr-kaq {release}"
html_static_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have shapes and units as well
default_role = "literal"
napoleon_custom_sections = [("Warns", "returns_style")]
toc_object_entries = False
html_show_copyright = False


SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Warns:", "Yields:")


def plain_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text: what reStructuredText would take for markup is none.

    Formulas, which are indented behind an empty line, become literal blocks; what is indented below a line with a colon
    becomes a list.
    """
    changed: list[str] = []
    literal = listed = None  # margin of the block that a line belongs to
    said = ""  # the last line with something on it
    for line in lines:
        indent = len(line) - len(line.lstrip())
        outer = len(said) - len(said.lstrip())
        if not line.strip():
            listed = None
        elif literal is not None and indent < literal:
            literal = None
        elif listed is not None and indent < listed:
            listed = None
            changed.append("")
        if line.strip() and literal is None and listed is None and indent == outer + 4:
            if not changed[-1].strip():
                literal = indent
                changed += [" " * outer + "::", ""]
            elif said.rstrip().endswith(":") and said.strip() not in SECTIONS:
                listed = indent
                changed.append("")
        if listed is not None:
            line = " " * listed + ("- " if indent == listed else "  ") + line.lstrip()
        changed.append(line if literal is not None else _escaped(line))
        said = line if line.strip() else said
    lines[:] = changed


def _escaped(line: str) -> str:
    parts = re.split(r"(``.*?``|`.*?`)", line)
    parts[::2] = [re.sub(r"([|*_])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # before napoleon


assert Path(gr_kaq.__file__).exists()
