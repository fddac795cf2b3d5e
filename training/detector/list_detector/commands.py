# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does with list detectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr_kaq.detection import model_file
from gr_kaq.signals.bit_errors import BitErrorRate

from ...config import SAVED, ConfigError
from ..evaluate import with_measured_ber
from ..summary import SUMMARY
from . import evaluate
from .config import ListConfig
from .export import list_model
from .train import ListRun, load
from .train import train as train_run

__all__ = ["export", "table", "train"]


def train(source: str, overrides: Sequence[str], directory: Path) -> None:
    """Train and measure a list detector, and print its BER and mutual information.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    config = ListConfig.load(source, overrides)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SUMMARY).unlink(missing_ok=True)
    config.save(directory)
    run = ListRun.start(config)
    train_run(run)
    run.save(directory)
    results = evaluate.measure(config, [list_model(config, network) for network in (run.twin, run.network)])
    document = {
        "config": config.to_dict(),
        "seed": config.seed,
        "training_seconds": round(run.seconds, 1),
        "ber": results,
        "history": run.history,
    }
    (directory / SUMMARY).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(table(results))
    print(f"wrote {directory}/{SUMMARY}; export with: python -m training export {directory}")


def export(directory: Path, output: Path) -> None:
    """Write the model files of a finished run, with the BER that was measured, and print their paths.

    Raises:
        ConfigError: the run is not finished.
    """
    if not (directory / SUMMARY).exists():
        raise ConfigError(f"{directory}: no {SUMMARY}, so this is no finished run; train it first")
    config = ListConfig.load(directory / SAVED)
    run = load(directory, config)
    results = json.loads((directory / SUMMARY).read_text("utf-8"))["ber"]
    counts = [{key: value for key, value in result.items() if key != "information"} for result in results]
    output.mkdir(parents=True, exist_ok=True)
    for network in (run.network, run.twin):
        print(model_file.save(with_measured_ber(list_model(config, network), counts), output))


def table(results: Sequence[dict[str, Any]]) -> str:
    """What was measured as text, one line per point and detector."""
    lines = []
    for place in dict.fromkeys((r["num_rx"], r["num_tx"], r["channel"]) for r in results):
        lines.append(f"{place[0]}x{place[1]}, {place[2]}")
        for r in (r for r in results if (r["num_rx"], r["num_tx"], r["channel"]) == place):
            rate = BitErrorRate(r["bit_errors"], r["bits"])
            lines.append(f"  {r['snr_db']:5g} dB  {r['detector']:<28} MI {r['information']:7.4f}  {rate}")
    return "\n".join(lines)
