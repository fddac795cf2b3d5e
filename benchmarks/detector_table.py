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


def describe(detector: UnfoldedDetector) -> str:
    """Network, widths and sizes in a line."""
    model = detector.model
    widths = f"W{model.matrix_bits}A{model.activation_bits}" if model.quantized else "full precision"
    ratio = f", num_rx >= {model.min_rx_per_tx:g} num_tx" if model.min_rx_per_tx > 1 else ""
    return (
        f"{model.network.upper()}-Net, K={len(model.layers)}, {model.constellation.name}, {widths}; "
        f"up to {model.max_num_rx}x{model.max_num_tx}{ratio}"
    )


def rate(errors: int, bits: int) -> str:
    """BER with half the width of its interval, and the number of errors."""
    count = BitErrorRate(errors, bits)
    low, high = count.confidence_interval()
    return f"{count.rate:.2e} ± {(high - low) / 2:.0e} ({errors})"


def table() -> str:
    """A Markdown section per quantized detector; the full-precision twin and LMMSE saw the same received vectors."""
    lines = []
    for name in gr_kaq.list_detectors():
        if name in ("lmmse", "zf") or name.endswith("-fp"):
            continue
        detector, twin = gr_kaq.load_detector(name), gr_kaq.load_detector(name + "-fp")
        assert isinstance(detector, UnfoldedDetector) and isinstance(twin, UnfoldedDetector)
        lines += [f"### {name}", "", describe(detector), ""]
        lines += ["| size, channel | SNR [dB] | this detector | full precision | LMMSE |", "|---|---|---|---|---|"]
        for own, full in zip(detector.model.measured_ber, twin.model.measured_ber, strict=True):
            where = f"{own['num_rx']}x{own['num_tx']}, {own['channel']}"
            columns = [rate(n, own["bits"]) for n in (own["bit_errors"], full["bit_errors"], own["lmmse_bit_errors"])]
            lines.append(f"| {where} | {own['snr_db']:g} | {' | '.join(columns)} |")
        lines.append("")
    return "\n".join(lines)


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
