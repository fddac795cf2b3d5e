# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of `kaq beams`: errors over pilots, loss over SNR, tracking, and what was probed, as an animation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from ..beams.planar_array import PlanarArray
from ..beams.policies import POLICIES
from ..beams.trials import SimulatedUsers, Tracked, run_search
from .beams import Point, decay

__all__ = ["animate_probes", "plot_all"]

STEPS, STEP_MS, END_MS = 16, 350, 2500
OUTLINE = [withStroke(linewidth=4, foreground="black")]  # so that marks are seen on bright cells, too


def plot_all(points: Sequence[Point], tracked: Mapping[float, Tracked], title: str, folder: Path) -> None:
    """Write errors.png, loss.png and, where users were followed, tracking.png."""
    names = list(dict.fromkeys(point.policy for point in points))
    snrs = sorted({point.snr_db for point in points})
    shown = snrs if len(snrs) <= 3 else [snrs[0], snrs[len(snrs) // 2], snrs[-1]]

    figure = Figure(figsize=(4.4 * len(shown) + 1.6, 6.4), layout="constrained")
    rows = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey="row")
    fits = 0
    for column, snr_db in enumerate(shown):
        for color, name in enumerate(names):
            own = [p for p in points if p.policy == name and p.snr_db == snr_db]
            fits += _errors(rows[0][column], own, f"C{color}", name)
            rows[1][column].plot([p.budget for p in own], [p.gain_loss_db for p in own], f".-C{color}", label=name)
        rows[0][column].set(title=f"{snr_db:g} dB", yscale="log", xscale="log")
        rows[1][column].set_xlabel("pilots")
        rows[1][column].set_yscale("symlog", linthresh=0.1)
        for axes in rows[:, column]:
            axes.grid(True, alpha=0.3)
    rows[0][0].set(ylabel="P(more than 3 dB lost)", ylim=(5e-4, 1.2))
    rows[1][0].set(ylabel="gain lost [dB]")
    rows[1][-1].legend(*rows[1][0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.suptitle(f"{title}; dashed: exponential fit" if fits else title)
    figure.savefig(folder / "errors.png", dpi=90)

    budgets = sorted({point.budget for point in points})
    shown_budgets = (
        budgets if len(budgets) <= 3 else [budgets[len(budgets) // 4], budgets[len(budgets) // 2], budgets[-1]]
    )
    figure = Figure(figsize=(4.4 * len(shown_budgets) + 1.6, 3.8), layout="constrained")
    columns = figure.subplots(1, len(shown_budgets), squeeze=False, sharey=True)[0]
    for axes, budget in zip(columns, shown_budgets, strict=True):
        for color, name in enumerate(names):
            own = sorted((p for p in points if (p.policy, p.budget) == (name, budget)), key=lambda p: p.snr_db)
            losses = np.array([p.gain_loss_db for p in own])
            ends = np.array([p.interval_db for p in own]).reshape(-1, 2).T
            spread = np.maximum(np.abs(ends - losses), 0)
            axes.errorbar([p.snr_db for p in own], losses, spread, fmt=f".-C{color}", capsize=2, label=name)
        axes.set(title=f"{budget} pilots", xlabel="SNR at alignment [dB]")
        axes.grid(True, alpha=0.3)
    columns[0].set_ylabel("gain lost [dB]")
    columns[-1].legend(*columns[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.suptitle(title)
    figure.savefig(folder / "loss.png", dpi=90)

    if tracked:
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for snr_db, result in tracked.items():
            axes.plot(10 * np.log10(np.mean(10 ** (result.gain_db / 10), 0)), label=f"{snr_db:g} dB")
        best = np.mean(10 ** ((result.gain_db + result.loss_db) / 10), 0)
        axes.plot(10 * np.log10(best), "k--", label="best beam")
        axes.set(title=f"{title}: tracking", xlabel="frame", ylabel="mean gain of the beam [dB]")
        axes.grid(True, alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
        figure.savefig(folder / "tracking.png", dpi=90)


def _errors(axes: Any, points: Sequence[Point], color: str, name: str) -> bool:
    """Draw the errors of one policy; whether there is a fit among them."""
    own = [p for p in points if p.far_off.errors]  # no logarithm of 0
    rates = np.array([p.far_off.rate for p in own])
    intervals = np.array([p.far_off.confidence_interval() for p in own]).reshape(-1, 2)
    spread = np.abs(intervals.T - rates)
    axes.errorbar([p.budget for p in own], rates, spread, fmt=f".-{color}", capsize=2, label=name)
    fitted = decay(points)
    if fitted is not None:
        budgets = np.geomspace(min(p.budget for p in points), max(p.budget for p in points), 60)
        axes.plot(budgets, np.minimum(np.exp(-fitted[0] * (budgets - fitted[1])), 1), f"--{color}", linewidth=0.8)
    return fitted is not None


def animate_probes(users: SimulatedUsers, policies: Sequence[str], budget: int, path: Path) -> None:
    """Write a GIF: how often each policy has probed where, for the first user; a wide beam counts where it points."""
    array = users.array
    names = [name for name in policies if POLICIES[name].least_budget(array) <= budget] or list(policies)
    runs = [
        run_search(users, 0, name, max(budget, POLICIES[name].least_budget(array)), np.random.default_rng(0))
        for name in names
    ]
    best = np.unravel_index(np.argmax(users.gains[0]), array.shape)
    images = []
    for step in range(1, STEPS + 1):
        figure = Figure(figsize=(2.6 * (len(runs) + 1), 3.2), layout="constrained")
        axes = figure.subplots(1, len(runs) + 1)
        axes[0].imshow(10 * np.log10(np.maximum(users.gains[0].T, 1e-4)), origin="lower", cmap="gray")
        axes[0].set_title("gain [dB, -40 to 0]", fontsize=9)
        for one, name, (rounds, found) in zip(axes[1:], names, runs, strict=True):
            beams = np.concatenate(rounds)
            shown = beams[: round(len(beams) * step / STEPS)]
            one.imshow(_probed(shown, array).T, origin="lower", cmap="inferno", vmin=0, vmax=3)
            one.plot(*best, "+w", markersize=13, markeredgewidth=2, path_effects=OUTLINE)
            if step == STEPS:
                one.plot(
                    *found, "o", color="cyan", markersize=17, markeredgewidth=2, fillstyle="none", path_effects=OUTLINE
                )
            one.set_title(f"{name}\n{len(shown)} pilots", fontsize=9)
        for one in axes:
            one.set(xticks=[], yticks=[])
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=70, format="png")
        images.append(Image.open(drawn).convert("P", palette=Image.Palette.ADAPTIVE, colors=48))
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=[STEP_MS] * (STEPS - 1) + [END_MS],
        loop=0,
        optimize=True,
    )


def _probed(beams: NDArray[np.int_], array: PlanarArray) -> NDArray[np.floating]:
    """Pilots that each narrow beam had a share in."""
    counts = np.zeros(array.shape)
    for beam in map(array.check, beams.tolist()):
        counts[np.ix_(*array.covered(beam))] += 1 / (beam.first_width * beam.second_width) ** 0.5
    return counts
