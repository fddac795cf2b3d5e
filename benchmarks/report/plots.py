# SPDX-License-Identifier: GPL-3.0-or-later
"""One look for all plots: colours of Okabe and Ito, which the colour-blind can tell apart, and a marker for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from .exact import EXACT_MAP, EXACT_MAX_LOG, EXACT_ML
from .names import EP, KBEST, KBEST_REVERSED, LMMSE, PIC
from .statistics import Rate

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["Style", "axes", "ber_axis", "curve", "legend", "plt", "save", "style"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#5D3A9B")
MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Style:
    """How a curve is drawn."""

    colour: str
    marker: str
    line: str = "-"


FIXED = {
    LMMSE: Style("#000000", "x", "--"),
    EP: Style("#666666", "<", ":"),
    PIC: Style("#666666", "1", "-."),
    KBEST: Style("#999999", ">", ":"),
    KBEST_REVERSED: Style("#999999", "2", "-."),
    EXACT_ML: Style("#000000", "", "-"),
    EXACT_MAP: Style("#000000", "", "-"),
    EXACT_MAX_LOG: Style("#000000", "", "-."),
}


def style(name: str, among: Sequence[str]) -> Style:
    """A curve's style: the references are grey or black, the others coloured in the order of `among`.

    A full-precision twin has its detector's colour, dashed and without marker.
    """
    if name in FIXED:
        return FIXED[name]
    ours = [n for n in among if n not in FIXED and not n.endswith("-fp")]
    base = name.removesuffix("-fp")
    index = ours.index(base) if base in ours else len(ours)
    colour = COLOURS[index % len(COLOURS)]
    return Style(colour, "", "--") if name.endswith("-fp") else Style(colour, MARKERS[index % len(MARKERS)])


def axes(columns: int, rows: int = 1, width: float = 4.6, height: float = 3.9, **keywords: Any) -> tuple[Any, Any]:
    """A figure and its axes (rows, columns)."""
    return plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained", **keywords
    )


def ber_axis(axis: Any, title: str, ylabel: str = "bit error rate") -> None:
    """Labels, a logarithmic rate and a grid."""
    axis.set_title(title, fontsize="medium")
    axis.set(xlabel="SNR per receive antenna (dB)", yscale="log")
    axis.set_ylabel(ylabel)
    grid(axis)


def grid(axis: Any) -> None:
    """A light grid behind the curves."""
    axis.grid(True, which="major", color="0.85", linewidth=0.8)
    axis.grid(True, which="minor", color="0.93", linewidth=0.5)
    axis.set_axisbelow(True)


def curve(axis: Any, snr_db: Sequence[float], rates: Sequence[Rate | None], look: Style, name: str) -> None:
    """A curve with 95 % intervals; points without an error are left out, as they have no place on a log axis."""
    points = [(s, r) for s, r in zip(snr_db, rates, strict=True) if r is not None and r.errors]
    if not points:
        return
    values = [r.value for _, r in points]
    spread = [
        [v - r.interval()[0] for v, (_, r) in zip(values, points, strict=True)],
        [r.interval()[1] - v for v, (_, r) in zip(values, points, strict=True)],
    ]
    axis.errorbar(
        [s for s, _ in points],
        values,
        spread,
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        markersize=4.5,
        linewidth=1.4,
        capsize=2,
        elinewidth=0.9,
        label=name,
    )


def legend(axis: Any, **keywords: Any) -> None:
    """A small legend; none on an empty axis."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small", framealpha=0.9, **keywords)


def save(figure: Any, folder: Path, name: str) -> str:
    """Write NAME.png; returns NAME."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return name
