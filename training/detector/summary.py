# SPDX-License-Identifier: GPL-3.0-or-later
"""The written summary of a run: summary.json and summary.png (loss and BER)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from gr_kaq.signals.bit_errors import BitErrorRate

from .config import Config

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["SUMMARY", "read_results", "table", "write"]

SUMMARY = "summary.json"
MARKERS = "osv^D"


def write(
    directory: Path, config: Config, history: list[dict[str, Any]], results: list[dict[str, Any]], seconds: float
) -> None:
    """Write summary.json and summary.png.

    Args:
        directory: of the run.
        config: what was trained.
        history: of `train.Run`.
        results: of `evaluate.measure`.
        seconds: spent in training.
    """
    document = {
        "config": config.to_dict(),
        "seed": config.seed,
        "training_seconds": round(seconds, 1),
        "ber": [{**r, "ber": r["bit_errors"] / r["bits"]} for r in results],
        "history": history,
    }
    (directory / SUMMARY).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    _plot(directory / "summary.png", config, history, results)


def read_results(directory: Path) -> list[dict[str, Any]]:
    """The measured results in summary.json."""
    document = json.loads((directory / SUMMARY).read_text("utf-8"))
    return [{k: v for k, v in r.items() if k != "ber"} for r in document["ber"]]


def table(results: list[dict[str, Any]]) -> str:
    """The measured BER as text, one line per detector and SNR."""
    lines = []
    for place in dict.fromkeys((r["channel"], r["num_rx"], r["num_tx"]) for r in results):
        lines.append(f"{place[1]}x{place[2]}, {place[0]}")
        for r in (r for r in results if (r["channel"], r["num_rx"], r["num_tx"]) == place):
            lines.append(f"  {r['snr_db']:5g} dB  {r['detector']:<28} {BitErrorRate(r['bit_errors'], r['bits'])}")
    return "\n".join(lines)


def _plot(path: Path, config: Config, history: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    places = list(dict.fromkeys((r["channel"], r["num_rx"], r["num_tx"]) for r in results))
    figure, axes = plt.subplots(1, 1 + len(places), figsize=(6 * (1 + len(places)), 4.8), squeeze=False)
    loss, *rates = axes[0]
    start = 0
    for stage in dict.fromkeys(h["stage"] for h in history):
        part = [h for h in history if h["stage"] == stage]
        iterations, losses = [start + h["iteration"] for h in part], np.array([h["loss"] for h in part])
        (line,) = loss.plot(iterations, _smooth(losses), label=stage.replace("_", " "))
        loss.plot(iterations, losses, color=line.get_color(), alpha=0.2, linewidth=0.8)
        start += part[-1]["iteration"]
    loss.set(title=f"{config.name}: training", xlabel="iteration", ylabel="loss", yscale="log")
    for axis, place in zip(rates, places, strict=True):
        here = [r for r in results if (r["channel"], r["num_rx"], r["num_tx"]) == place]
        for marker, name in zip(MARKERS, dict.fromkeys(r["detector"] for r in here), strict=False):
            curve = [(r["snr_db"], BitErrorRate(r["bit_errors"], r["bits"])) for r in here if r["detector"] == name]
            rate = [c.rate for _, c in curve]
            spread = [[max(0.0, abs(c.rate - c.confidence_interval()[side])) for _, c in curve] for side in (0, 1)]
            axis.errorbar([s for s, _ in curve], rate, spread, marker=marker, markersize=4, capsize=2, label=name)
        title = f"{config.constellation}, {place[1]}x{place[2]}, {place[0]}"
        axis.set_title(title, fontsize="small", wrap=True)
        axis.set(xlabel="SNR per receive antenna (dB)", ylabel="bit error rate", yscale="log")
    for axis in axes[0]:
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over a twentieth of the run around each value: batches differ more than the network does."""
    width = max(1, len(values) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - width // 2, 0)
    last = np.minimum(first + width, len(values))
    return (sums[last] - sums[first]) / (last - first)
