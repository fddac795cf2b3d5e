# SPDX-License-Identifier: GPL-3.0-or-later
"""Detectors of 2 and 3 bits: widths of a layer's own, and quantizers that use all levels of a width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import markdown as md
from .. import plots
from ..comparisons import Cell, loss_db, of, over_seeds, paired, pooled, run, snrs
from ..plots import COLOURS, MARKERS, Style
from ..settings import Settings
from .methods import LEVEL, seed_curve

TITLE = "Few bits"

COMPARISON = "widths"
MIDTREAD = "midtread"
QUICK = (
    "seeds=[1, 2]",
    "base.full_precision.iterations=60",
    "base.quantized.iterations=50",
    "base.evaluation={snr_db: [15, 20, 25], min_errors: 30, max_bits: 20000}",
    "base.batch=[32, 2]",
)


def measure(settings: Settings) -> dict[str, Any]:
    """Run the comparison where that is due."""
    return {"cells": run(settings, COMPARISON, settings.pick((), QUICK))}


def budgets(cells: Sequence[Cell]) -> list[int]:
    """Bits of either operand whose bit operations are the budgets, largest first."""
    return sorted({cell["bits"] for cell in cells}, reverse=True)


def methods(cells: Sequence[Cell], bits: int) -> list[str]:
    """Those that keep a budget, the uniform midtread one first."""
    return sorted({c["method"] for c in cells if c["bits"] == bits}, key=lambda m: (m != MIDTREAD, m))


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """BER versus SNR at each budget."""
    cells = data["cells"]
    order = budgets(cells)
    figure, axes = plots.axes(len(order), width=5.0, height=4.4, sharey=True)
    for axis, bits in zip(axes[0], order, strict=True):
        plots.ber_axis(axis, f"bit operations of W{bits}A{bits}")
        for i, method in enumerate(methods(cells, bits)):
            seed_curve(axis, of(cells, method, bits), Style(COLOURS[i], MARKERS[i], "-"), method)
        seed_curve(axis, of(cells, MIDTREAD, bits), Style("#000000", "", "-"), "full precision", "full_precision")
        plots.legend(axis, loc="lower left")
    return [plots.save(figure, folder, "low-bits")]


def markdown(data: dict[str, Any]) -> str:
    """The plot, and dB lost."""
    cells = data["cells"]
    rows = []
    for bits in budgets(cells):
        for method in methods(cells, bits):
            here = of(cells, method, bits)
            rates = [f"{rate.value:.2e}" for rate in pooled(here)]
            lost = over_seeds(here, lambda cell: loss_db(cell, LEVEL))
            fewer = paired(of(cells, MIDTREAD, bits), here, lambda cell: loss_db(cell, LEVEL))
            won = "-" if method == MIDTREAD else md.decibels(fewer)
            rows.append([f"W{bits}A{bits}", f"`{method}`", *rates, md.decibels(lost), won])
    seeds = sorted({cell["seed"] for cell in cells})
    return md.joined(
        "What can a detector do with the bit operations of W3A3, or of W2A2? The ADMM-Net of the section before, "
        "trained alike. `midtread` is its `kaq_streams`: integers around 0, of which there are 2^bits - 1. `midrise` "
        "has all 2^bits levels: both operands are odd integers. Digits are the widths of the layers' activations; the "
        "matrix has the budget's width in all of them, so that no method takes more bit operations than its budget. "
        f"Seeds: {', '.join(map(str, seeds))}; intervals are Student's t over the seeds (95 %), of paired differences "
        "where two methods are compared.",
        md.figure("low-bits", "BER versus SNR at equal bit operations (mean over the seeds)"),
        md.table(
            [
                "budget",
                "method",
                *(f"BER at {snr:g} dB" for snr in snrs(cells)),
                f"dB lost at BER {LEVEL:g}",
                "dB won over midtread",
            ],
            rows,
        ),
    )
