# SPDX-License-Identifier: GPL-3.0-or-later
"""The plot of all allocations of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from .allocation import Allocation, Prices, total

matplotlib.use("Agg")
from matplotlib import pyplot

__all__ = ["plot_allocations"]


def plot_allocations(
    truth: Mapping[Allocation, float],
    price: Prices,
    regrets: Mapping[str, Any],
    unit: str,
    whole: float,
    path: Path,
) -> None:
    """Every allocation as a dot, the best of each budget as a line, and what each score takes.

    Args:
        truth: of all allocations, what they lose in dB.
        price: of each product.
        regrets: of `allocation.regrets`.
        unit: of the prices.
        whole: price of 8 bits everywhere.
        path: of the picture.
    """
    points = sorted((total(price, allocation) / whole, loss) for allocation, loss in truth.items())
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    x, y = np.transpose(points)
    axes.plot(x, y, ".", color="silver", label="all allocations")
    axes.step(x, np.minimum.accumulate(y), where="post", color="black", linewidth=1, label="best within the budget")
    for (score, entry), marker in zip(regrets.items(), "ov^s", strict=False):
        if entry["chosen"]:
            budgets, _, losses = zip(*entry["chosen"], strict=True)
            axes.plot(np.array(budgets) / whole, losses, marker, markersize=4, fillstyle="none", label=score)
    axes.set(xlabel=f"{unit}, over those of 8 bits everywhere", ylabel="loss to full precision, dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
