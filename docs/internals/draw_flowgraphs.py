#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw docs/images/link.svg, receiver.svg and testbed.svg: python3 docs/internals/draw_flowgraphs.py"""

from __future__ import annotations

from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
BOX, HEIGHT, GAP, ROW, MARGIN = 152, 54, 92, 96, 16
STYLE = """
text { font-family: DejaVu Sans, Helvetica, sans-serif; font-size: 11px; fill: #222; text-anchor: middle }
.name { font-size: 13px; font-weight: bold }
.box { fill: #e8f0fa; stroke: #4a6d9c }
.other { fill: #f6ead9; stroke: #a07c45 }
.arrow { fill: none; stroke: #4a6d9c; stroke-width: 1.6; marker-end: url(#head) }
.message { stroke-dasharray: 5 4 }
"""

Box = tuple[int, int, str, str]
"""Column, row, name, what it is; the latter begins with * where it is not a block of gr-kaq."""

Arrow = tuple[int, int, str]
"""From and to which box, and what goes there; begins with ~ where these are messages."""

PICTURES: dict[str, tuple[list[Box], list[Arrow]]] = {
    "link": (
        [
            (0, 0, "QAM Source", "symbols of each stream"),
            (1, 0, "Channel Simulator", "fading and noise"),
            (2, 0, "MIMO Detector", "symbols, soft bits"),
            (3, 0, "BER Meter", "knows the bits"),
        ],
        [(0, 1, "x"), (1, 2, "y, tags: H, SNR"), (2, 3, "estimates of x")],
    ),
    "receiver": (
        [
            (0, 0, "radio", "*or ZMQ, recording"),
            (1, 0, "Synchronizer", "finds frames"),
            (2, 0, "FFT", "*of each antenna"),
            (3, 0, "Channel Estimator", "H and noise"),
            (3, 1, "MIMO Detector", "symbols, soft bits"),
            (2, 1, "Frame Decoder", "LDPC, checksum"),
            (1, 1, "PDU File Sink", "the file"),
        ],
        [
            (0, 1, "samples"),
            (1, 2, "symbols"),
            (2, 3, "carriers"),
            (3, 4, "y, tags"),
            (4, 5, "LLRs"),
            (5, 6, "~payloads"),
        ],
    ),
    "testbed": (
        [
            (0, 0, "your program", "*Python, C, Octave"),
            (1, 0, "ZMQ PULL Source", "*GNU Radio"),
            (2, 0, "MIMO Detector", "symbols, soft bits"),
            (3, 0, "ZMQ PUSH Sink", "*GNU Radio"),
            (4, 0, "your program", "*takes symbols"),
        ],
        [(0, 1, "y, H"), (1, 2, "y, tags"), (2, 3, "x, tags"), (3, 4, "x, tags")],
    ),
}


def draw(boxes: list[Box], arrows: list[Arrow]) -> str:
    """The picture as SVG."""
    width = MARGIN * 2 + max(column for column, *_ in boxes) * (BOX + GAP) + BOX
    height = MARGIN * 2 + max(row for _, row, *_ in boxes) * ROW + HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#4a6d9c"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    places = [(MARGIN + column * (BOX + GAP), MARGIN + row * ROW) for column, row, *_ in boxes]
    for (x, y), (_, _, name, what) in zip(places, boxes, strict=True):
        kind = "other" if what.startswith("*") else "box"
        parts += [
            f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>',
            f'<text class="name" x="{x + BOX / 2:g}" y="{y + 23}">{escape(name)}</text>',
            f'<text x="{x + BOX / 2:g}" y="{y + 41}">{escape(what.lstrip("*"))}</text>',
        ]
    for start, stop, text in arrows:
        (x, y), (to_x, to_y) = places[start], places[stop]
        style = "arrow message" if text.startswith("~") else "arrow"
        if to_y > y:
            middle = x + BOX / 2
            path, label = f"M{middle:g} {y + HEIGHT} V{to_y - 1}", (middle + 34, (y + HEIGHT + to_y) / 2 + 4)
        elif to_x < x:
            path, label = f"M{x} {y + HEIGHT / 2:g} H{to_x + BOX + 1}", ((x + BOX + to_x) / 2, y + HEIGHT / 2 - 7)
        else:
            path, label = f"M{x + BOX} {y + HEIGHT / 2:g} H{to_x - 1}", ((x + BOX + to_x) / 2, y + HEIGHT / 2 - 7)
        parts.append(f'<path class="{style}" d="{path}"/>')
        words = text.lstrip("~").split(", ")
        for line, word in enumerate(reversed(words)):
            parts.append(f'<text x="{label[0]:g}" y="{label[1] - 12 * line:g}">{escape(word)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the pictures."""
    for name, (boxes, arrows) in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(draw(boxes, arrows), "utf-8")


if __name__ == "__main__":
    main()
