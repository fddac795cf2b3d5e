# SPDX-License-Identifier: GPL-3.0-or-later
"""The weight of the distribution match and the batch size, at the same number of training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import markdown as md
from .. import plots
from ..comparisons import Cell, log_ber, of, over_seeds, paired, ratio, run
from ..settings import Settings
from ..statistics import Interval
from .methods import ratio_text, reference_snr

TITLE = "Epsilon and batch size"

COMPARISON = "settings"
BITS = 4
EPSILONS = ("eps_0", "eps_0.1")
BATCHES = (32, 1024)
VECTORS = 4
FULL_PRECISION_SAMPLES, QUANTIZED_SAMPLES = 1500 * 128, 700 * 128
"""Channels that each stage sees, at every batch size."""
QUICK_FULL_PRECISION, QUICK_QUANTIZED = 40 * 128, 8 * 128
QUICK = ("seeds=[1, 2]", "base.evaluation={snr_db: [18, 20], min_errors: 30, max_bits: 20000}")


def measure(settings: Settings) -> dict[str, Any]:
    """Run the comparison for every batch size, where that is due."""
    first, second = settings.pick((FULL_PRECISION_SAMPLES, QUANTIZED_SAMPLES), (QUICK_FULL_PRECISION, QUICK_QUANTIZED))
    batches = {}
    for batch in settings.pick(BATCHES, BATCHES):
        overrides = (
            f"base.batch=[{batch}, {VECTORS}]",
            f"base.full_precision.iterations={first // batch}",
            f"base.quantized.iterations={second // batch}",
            *settings.pick((), QUICK),
        )
        batches[str(batch)] = run(settings, COMPARISON, overrides, f"batch{batch}")
    return {"batches": batches}


def _rate(cells: list[Cell], method: str) -> Interval | None:
    snr = reference_snr(cells)
    return ratio(over_seeds(of(cells, method, BITS), log_ber(snr)))


def epsilon_ratio(cells: list[Cell], method: str) -> Interval | None:
    """BER over that without the distribution match, paired by seed."""
    snr = reference_snr(cells)
    own, other = of(cells, method, BITS), of(cells, EPSILONS[0], BITS)
    return ratio(paired(own, other, log_ber(snr)))


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """BER by epsilon and batch size; the match that was reached."""
    batches = data["batches"]
    figure, axes = plots.axes(2, width=5.0, height=3.8)
    measures = (
        ("bit error rate at the reference SNR", lambda cells, m: (i := _rate(cells, m)) and i.value),
        ("MMD over the last tenth of training", _final_mmd),
    )
    for axis, (title, value) in zip(axes[0], measures, strict=True):
        values = np.array([[value(cells, m) or np.nan for m in EPSILONS] for cells in batches.values()], np.float64)
        image = axis.imshow(values, cmap="viridis", aspect="auto")
        middle = np.nanmean(values)
        for (i, j), number in np.ndenumerate(values):
            axis.text(
                j, i, f"{number:.2e}", ha="center", va="center", fontsize=8, color="w" if number < middle else "k"
            )
        axis.set_xticks(range(len(EPSILONS)), [m.removeprefix("eps_") for m in EPSILONS])
        axis.set_yticks(range(len(batches)), list(batches))
        axis.set(title=title, xlabel="epsilon", ylabel="batch (channels)")
        figure.colorbar(image, ax=axis)
    return [plots.save(figure, folder, "training_settings")]


def _final_mmd(cells: list[Cell], method: str) -> float:
    tails = [[row[2] for row in c["history"][-max(1, len(c["history"]) // 10) :]] for c in of(cells, method, BITS)]
    return float(np.mean([np.mean(tail) for tail in tails]))


def markdown(data: dict[str, Any]) -> str:
    """The heat maps and the ratios to epsilon 0."""
    rows = []
    for batch, cells in data["batches"].items():
        for method in EPSILONS:
            against = "-" if method == EPSILONS[0] else ratio_text(epsilon_ratio(cells, method))
            rate = _rate(cells, method)
            text = "-" if rate is None else f"{rate.value:.2e} [{rate.low:.1e}, {rate.high:.1e}]"
            rows.append([batch, method.removeprefix("eps_"), text, f"{_final_mmd(cells, method):.2e}", against])
    cells = next(iter(data["batches"].values()))
    return md.joined(
        f"ADMM-Net at W{BITS}A{BITS}, 16x16. A batch is so many channels with {VECTORS} vectors each; every network "
        "sees the same number of channels. The MMD is taken over 192 received vectors of a batch (128 of the "
        "smallest), so its bias, two over the number of samples, is part of what is shown. Intervals are over the "
        "seeds.",
        md.figure("training_settings", "BER and distribution match by epsilon and batch size (mean over the seeds)"),
        md.table(
            ["batch", "epsilon", f"BER at {reference_snr(cells):g} dB", "MMD at the end", "BER / that at epsilon 0"],
            rows,
        ),
    )
