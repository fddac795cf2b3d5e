# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of what policies did: goodput and block errors, over SNR, Doppler or delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .choices import TARGET
from .simulation import SEEING, Outcome

__all__ = ["plot_outcomes"]


def plot_outcomes(
    figure: Any, outcomes: Mapping[float, Sequence[Outcome]], xlabel: str, title: str, path: Path
) -> None:
    """Write a picture of goodput, with 95 % intervals over the channels, and error rate of first transmissions.

    Args:
        figure: an empty one of matplotlib.
        outcomes: of the policies, by what they are drawn over.
        xlabel: what that is.
        title: of the picture.
        path: of the file.
    """
    goodput, errors = figure.subplots(1, 2)
    names = list(dict.fromkeys(outcome.policy for of_point in outcomes.values() for outcome in of_point))
    for index, name in enumerate(names):
        drawn = [(x, outcome) for x, of_point in outcomes.items() for outcome in of_point if outcome.policy == name]
        positions = [x for x, _ in drawn]
        style = {"color": f"C{index}", "linestyle": "--" if name in SEEING else "-"}
        means, intervals = [o.goodput / 1e6 for _, o in drawn], [o.interval / 1e6 for _, o in drawn]
        goodput.errorbar(positions, means, intervals, marker="o", markersize=3, capsize=2, label=name, **style)
        rates = [outcome.block_error_rate for _, outcome in drawn]
        errors.plot(positions, rates, marker="o", markersize=3, label=name, **style)
    errors.axhline(TARGET, color="k", linewidth=0.8)
    goodput.set(xlabel=xlabel, ylabel="goodput [Mbit/s]", title=title)
    errors.set(xlabel=xlabel, ylabel="error rate of first transmissions")
    for axes in (goodput, errors):
        axes.grid(True, alpha=0.3)
    goodput.legend(fontsize="small")
    figure.savefig(path, dpi=120)
