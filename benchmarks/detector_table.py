#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/detectors.md, out of the shipped model files. Prints it, or with --update writes it there."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import gr_kaq
from gr_kaq import BitErrorRate, UnfoldedDetector

DOCUMENT = Path(__file__).parents[1] / "docs" / "detectors.md"
MARKERS = re.compile(r"(<!-- table -->\n).*(<!-- end of table -->)", re.DOTALL)


def describe(model_detector: UnfoldedDetector) -> str:
    """Network, widths and sizes in a line."""
    model = model_detector.model
    widths = f"W{model.matrix_bits}A{model.activation_bits}" if model.quantized else "full precision"
    ratio = f", num_rx >= {model.min_rx_per_tx:g} num_tx" if model.min_rx_per_tx > 1 else ""
    return (
        f"{model.network.upper()}-Net, K={len(model.layers)}, {model.constellation.name}, {widths}; "
        f"up to {model.max_num_rx}x{model.max_num_tx}{ratio}"
    )


def table() -> str:
    """The Markdown table."""
    lines = ["| detector | measured at | SNR [dB] | BER [95 % interval] | bit errors |", "|---|---|---|---|---|"]
    for name in gr_kaq.list_detectors():
        if name in ("lmmse", "zf"):
            continue
        detector = gr_kaq.load_detector(name)
        assert isinstance(detector, UnfoldedDetector)
        lines.append(f"| **{name}** | {describe(detector)} | | | |")
        for point in detector.model.measured_ber:
            count = BitErrorRate(point["bit_errors"], point["bits"])
            low, high = count.confidence_interval()
            where = f"{point['num_rx']}x{point['num_tx']}, {point['channel']}"
            lines.append(
                f"| | {where} | {point['snr_db']:g} | {count.rate:.2e} [{low:.2e}, {high:.2e}] | {count.errors} |"
            )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the table into docs/detectors.md")
    if parser.parse_args().update:
        text = DOCUMENT.read_text("utf-8")
        DOCUMENT.write_text(MARKERS.sub(lambda match: match[1] + table() + match[2], text), "utf-8")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
