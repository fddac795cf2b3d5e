#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw docs/images/rooms.svg, the rooms of gr-kaq on their floors: .venv/bin/python docs/internals/draw_rooms.py

Floors are those of [tool.importlinter] in pyproject.toml. Arrows are the imports that grimp finds, and the #include
lines of lib/ and python/bindings/, but for those that other arrows imply. Captions are the first clause of each room's
docstring. `make lint` checks that the picture is up to date.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
import tomllib
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "gr_kaq"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"

WIDTH, BOX, HEIGHT, FLOOR, TOP, LEFT = 1220, 218, 62, 104, 16, 60
NUM_COLUMNS, MIDDLE = 5, 3
COLUMNS = {
    "adaptation": 0,
    "testbed": 1,
    "monitoring": 1,
    "links": 0,
    "beams": 1,
    "channels": 2,
    "estimation": 4,
    "forecasting": 4,
    "diagnosis": 2,
    "frames": 4,
    "files": 1,
    "sweeps": 0,
    "lib/frames": 4,
}
"""Of a room, where it is not MIDDLE: so that few arrows cross."""
STYLE = """
text { font-family: DejaVu Sans, Helvetica, sans-serif; font-size: 12px; fill: #222 }
.name { font-size: 15px; font-weight: bold }
.side { fill: #777 }
.room { fill: #e8f0fa; stroke: #4a6d9c }
.lib { fill: #f6ead9; stroke: #a07c45 }
.arrow { fill: none; stroke: #4a6d9c; stroke-width: 1.6; marker-end: url(#head) }
"""

SINGLE_FILES = ("native", "files")
"""Rooms that are no folder."""

Arrows = set[tuple[str, str]]


def floors() -> list[list[str]]:
    """The rooms of gr_kaq, highest floor first, then those in C++."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["gr_kaq"])
    own = [[room.strip() for room in layer.split("|")] for layer in layers]
    return [*own, ["bindings"], ["lib/detection", "lib/frames"], ["lib/support"]]


def imports() -> Arrows:
    """From room to room; the package's own modules, which only gather names, are no room."""
    sys.path.insert(0, str(PACKAGE.parent))  # grimp reads sources, and finds them as Python does
    graph = grimp.build_graph("gr_kaq", cache_dir=None)
    modules = {module: _room(module) for module in graph.modules}
    found = {(a, modules[b]) for module, a in modules.items() for b in graph.find_modules_directly_imported_by(module)}
    return {(a, b) for a, b in found if a and b and a != b}


def _room(module: str) -> str:
    """Of a module; empty for the package itself."""
    name = [*module.split("."), ""][1]
    return name if name in SINGLE_FILES or (name and (PACKAGE / name / "__init__.py").is_file()) else ""


def includes() -> Arrows:
    """The same in C++, and from the module that loads the extension to the bindings."""
    found = {("native", "bindings")}
    for folder, name in [(ROOT / "python" / "bindings", "bindings")] + [
        (ROOT / "lib" / room, f"lib/{room}") for room in ("support", "detection", "frames")
    ]:
        for file in sorted((*folder.glob("*.h"), *folder.glob("*.cc"))):
            for room in re.findall(r'^#include "(support|detection|frames)/', file.read_text("utf-8"), re.MULTILINE):
                found.add((name, f"lib/{room}"))
    return {(a, b) for a, b in found if a != b}


def is_implied(arrow: tuple[str, str], arrows: Arrows) -> bool:
    """Whether other arrows lead the same way."""
    reached, todo = set(), [b for a, b in arrows if a == arrow[0] and b != arrow[1]]
    while todo:
        room = todo.pop()
        if room not in reached:
            reached.add(room)
            todo += [b for a, b in arrows if a == room]
    return arrow[1] in reached


def caption(room: str) -> list[str]:
    """The first clause of a room's docstring, in lines."""
    if room.startswith("lib/"):
        return []
    if room == "bindings":
        return ["pybind11 over lib/"]
    file = PACKAGE / f"{room}.py" if room in SINGLE_FILES else PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return textwrap.wrap(re.split(r"[:;,.](?:\s|$)", text)[0].replace("`", ""), 33)[:2]


def places(rows: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Centre and top edge of each room's box."""
    found: dict[str, tuple[float, float]] = {}
    for index, row in enumerate(rows):
        for room in row:
            x = LEFT + (WIDTH - LEFT) * (COLUMNS.get(room, MIDDLE) + 0.5) / NUM_COLUMNS
            if (x, TOP + FLOOR * index) in found.values():
                raise ValueError(f"{room} stands where another room stands: give it one of the COLUMNS")
            found[room] = (x, TOP + FLOOR * index)
    return found


def path(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From one box to another: straight down, or out of the side where there are floors in between."""
    (x1, y1), (x2, y2) = start, end
    tip = y2 - 4
    if y2 - y1 > FLOOR and x1 != x2:
        edge, middle = x1 + (BOX / 2 if x2 > x1 else -BOX / 2), y1 + HEIGHT / 2
        return f"M{edge:.0f},{middle:.0f} C{x2:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{tip:.0f}"
    shift = max(-0.35 * BOX, min(0.35 * BOX, 0.25 * (x2 - x1)))
    x1, x2, y1 = x1 + shift, x2 - shift, y1 + HEIGHT
    bend = 0.5 * (tip - y1)
    return f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{tip - bend:.0f} {x2:.0f},{tip:.0f}"


def draw() -> str:
    """The picture, as SVG."""
    rows = floors()
    where = places(rows)
    arrows = imports() | includes()
    parts = []
    for a, b in sorted(arrow for arrow in arrows if not is_implied(arrow, arrows)):
        parts.append(f'<path class="arrow" d="{path(where[a], where[b])}"><title>{a} to {b}</title></path>')
    for index, row in enumerate(rows):
        side = f"floor {len(rows) - index}"
        parts.append(f'<text class="side" x="8" y="{TOP + FLOOR * index + HEIGHT / 2 + 4:.0f}">{side}</text>')
        for room in row:
            x, y = where[room]
            kind = "lib" if "lib/" in room or room == "bindings" else "room"
            left = x - BOX / 2
            parts.append(f'<rect class="{kind}" x="{left:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>')
            lines = caption(room)
            first = y + HEIGHT / 2 + 5 - 8 * len(lines)
            parts.append(f'<text class="name" text-anchor="middle" x="{x:.0f}" y="{first:.0f}">{room}</text>')
            for number, line in enumerate(lines, 1):
                at = f'text-anchor="middle" x="{x:.0f}" y="{first + 16 * number:.0f}"'
                parts.append(f"<text {at}>{escape(line)}</text>")
    height = TOP + FLOOR * (len(rows) - 1) + HEIGHT + 20
    size = f'width="{WIDTH}" height="{height}"'
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#4a6d9c"/></marker>'
    )
    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->",
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height}">',
            f"<style>{STYLE}</style>",
            f"<defs>{head}</defs>",
            f'<rect {size} fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def main() -> int:
    """Write the picture, or with --check say whether it is up to date; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where the picture is out of date")
    if not parser.parse_args().check:
        PICTURE.write_text(draw(), "utf-8")
    elif PICTURE.read_text("utf-8") != draw():
        print(f"{PICTURE.relative_to(ROOT)} is out of date: run {Path(__file__).relative_to(ROOT)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
