#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/guide/detectors.md, and docs/guide/model-cards.md, out of the shipped model files.

Prints the table, or with --update writes both documents.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import gr_kaq
from gr_kaq.detection.auto_detector import AUTO_DETECTORS
from gr_kaq.detection.detectors import load_model
from gr_kaq.detection.linear_detector import LINEAR_DETECTORS
from gr_kaq.detection.model_card import compare_with_lmmse, description, model_card, rate, reference_point
from gr_kaq.detection.model_file import Model

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
MARKERS = re.compile(r"(<!-- table -->\n).*(<!-- end of table -->)", re.DOTALL)
CARDS_HEADING = """# Model cards

What the model files of the shipped detectors say. Written by `python3 benchmarks/detector_table.py --update`;
`kaq info NAME` prints one of them. [detectors.md](detectors.md) tells which detector to take.

"""


def shipped() -> Iterator[tuple[Model, Model | None]]:
    """Every detector with its full-precision twin, if it has one."""
    names = [name for name in gr_kaq.list_detectors() if name not in (*AUTO_DETECTORS, *LINEAR_DETECTORS)]
    for name in names:
        if not name.endswith("-fp"):
            yield load_model(name), load_model(f"{name}-fp") if f"{name}-fp" in names else None


def table() -> str:
    """A row per quantized detector, in Markdown."""
    lines = [
        "| detector | what it is | measured at | BER | LMMSE | better / worse than LMMSE at |",
        "|---|---|---|---|---|---|",
    ]
    for model, _ in shipped():
        anchor = model.name.replace(".", "")  # as GitHub makes anchors of headings
        row = [f"[{model.name}](model-cards.md#{anchor})", description(model)]
        point = reference_point(model)
        if point is not None:
            row.append(f"{point['num_rx']}x{point['num_tx']}, {point['channel']}, {point['snr_db']:g} dB")
            row += [rate(point), rate(point, "lmmse_bit_errors")]
            compared = [compare_with_lmmse(p) for p in model.measured_ber]
            row.append(f"{compared.count(-1)} / {compared.count(1)} of {len(compared)} points")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def cards() -> str:
    """docs/guide/model-cards.md."""
    return CARDS_HEADING + "\n".join(model_card(model, twin) for model, twin in shipped())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the table and the cards into docs/guide")
    if parser.parse_args().update:
        document = GUIDE / "detectors.md"
        text = document.read_text("utf-8")
        document.write_text(MARKERS.sub(lambda match: match[1] + table() + match[2], text), "utf-8")
        (GUIDE / "model-cards.md").write_text(cards(), "utf-8")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
