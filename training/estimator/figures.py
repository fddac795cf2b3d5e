# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of quantized estimators: loss over bits, and ranges of channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

__all__ = ["plot_losses", "plot_ranges"]

FLOOR_DB = 1e-3
MARKERS = "osD^v<>pPX*hd+x1234"


def plot_losses(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss over bits, a line for each method, which stops where a width was not measured; the range over seeds as bars.

    Below `FLOOR_DB` all is one.
    """
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    methods = list(dict.fromkeys(cell["method"] for cell in results))
    bits = sorted({cell["bits"] for cell in results})
    for i, method in enumerate(methods):
        own = [cell for cell in results if cell["method"] == method]
        losses = [[max(cell["db"], FLOOR_DB) for cell in own if cell["bits"] == width] or [np.nan] for width in bits]
        middle = [mean(values) for values in losses]
        spans = np.transpose([(m - min(v), max(v) - m) for m, v in zip(middle, losses, strict=True)])
        trained = any(cell["iterations"] for cell in own)
        style = {"linestyle": "--" if trained else "-", "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
        axes.errorbar(bits, middle, yerr=spans, label=method, capsize=2, linewidth=1, **style)
    axes.set(xlabel="bits of weights and activations", ylabel="loss to full precision, dB", yscale="log")
    axes.set_xticks(bits)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_ranges(ranges: Sequence[dict[str, Any]], path: Path) -> None:
    """Largest magnitude of each channel over the median, before and after folding, channels sorted."""
    shown = [entry for entry in ranges if entry["feed"] == "norm"] + [e for e in ranges if e["feed"] != "norm"]
    shown = shown[:12]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(4 * columns, 2.4 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes, entry in zip(grid.flat, shown, strict=False):
        for key, style in (("before", "-"), ("after", "--")):
            values = np.sort(entry[key])[::-1]
            axes.plot(np.linspace(0, 1, len(values)), values / np.median(values), style, label=key)
        axes.axhline(2, color="grey", linewidth=0.5)
        axes.set_title(f"{entry['product']} ({entry['feed']})", fontsize=8)
        axes.set(ylim=(0, None))
    grid.flat[0].legend(fontsize=7)
    figure.supxlabel("channels, sorted")
    figure.supylabel("largest magnitude over the median")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
