# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a probe: sensitivity over the bands, and block errors over bands and powers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axes import Axis
from .probe import ProbedReceiver

__all__ = ["plot_heat_map", "plot_sensitivity"]


def plot_sensitivity(figure: Any, axis: Axis, results: Sequence[ProbedReceiver], title: str, path: Path) -> None:
    """Write a picture of the sensitivity of each receiver over the bands, with 95 % intervals.

    What is known analytically is a dashed line: a mean squared error per power, moved up or down to fit best, as the
    errors of blocks have another unit.

    Args:
        figure: an empty one of matplotlib.
        axis: that was probed.
        results: of the receivers.
        title: of the picture.
        path: of the file.
    """
    axes = figure.add_subplot()
    for index, result in enumerate(results):
        levels = np.array([-band.threshold.level_db for band in result.bands])
        errors = np.array([1.96 * band.threshold.error_db for band in result.bands])
        label = f"{result.estimator} + {result.detector}"
        axes.errorbar(axis.positions, levels, errors, fmt="o-", capsize=2, markersize=3, color=f"C{index}", label=label)
        known = np.array([band.analytic_db for band in result.bands])
        both = np.isfinite(known) & np.isfinite(levels)
        if both.any():
            strong = both & (known > known[both].max() - 13)
            moved = known + np.mean(levels[strong] - known[strong])
            axes.plot(axis.positions, moved, "--", color=f"C{index}", alpha=0.6, label=f"{result.estimator}, analytic")
    axes.set(title=title, xlabel=f"band [{axis.unit}]", ylabel="sensitivity: - power that is tolerated [dB]")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def plot_heat_map(
    figure: Any,
    axis: Axis,
    names: Sequence[str],
    levels_db: Sequence[float],
    rates: NDArray[np.float64],
    target: float,
    path: Path,
) -> None:
    """Write a picture of block error rates, (receivers, bands, levels), a map for each receiver.

    Args:
        figure: an empty one of matplotlib.
        axis: that was probed.
        names: of the receivers.
        levels_db: powers, ascending and evenly spaced.
        rates: block error rates.
        target: where the contour is.
        path: of the file.
    """
    step = levels_db[1] - levels_db[0]
    edges = [*axis.edges[:, 0], axis.edges[-1, 1]]
    levels = np.append(np.asarray(levels_db) - step / 2, levels_db[-1] + step / 2)
    for column, (name, values) in enumerate(zip(names, rates, strict=True)):
        axes = figure.add_subplot(1, len(names), column + 1)
        mesh = axes.pcolormesh(edges, levels, values.T, vmin=0, vmax=1, cmap="viridis")
        if min(values.shape) > 1:
            axes.contour(axis.positions, levels_db, values.T, [target], colors="w", linewidths=1)
        axes.set(title=name, xlabel=f"band [{axis.unit}]", ylabel="power [dB]" if column == 0 else "")
    figure.colorbar(mesh, ax=figure.axes, label="block error rate")
    figure.savefig(path, dpi=120)
