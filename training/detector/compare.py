# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantization methods side by side: the same network, data, iterations and seeds; measured on the same transmissions.

Every seed of a comparison has one full-precision twin, which all its cells start from. The random generator goes on
from where the twin left it, so that all cells of a seed train on the same batches too. A directory holds

    twins/seed1/       checkpoint.pt, result.json
    cells/NAME-4bit-seed1/

and a result is written in one piece when all of it is there. `comparison` states the file, `comparison_table` prints
what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from gr_kaq.commands.long_run import progress_bar

from ..config import ConfigError
from . import evaluate
from .comparison import Cell, Comparison
from .comparison_table import curve
from .config import Config
from .export import detector_model
from .processes import for_each, termination_interrupts
from .train import CHECKPOINT, Run, train

__all__ = ["CELLS", "RESULT", "results", "run"]

TWINS, CELLS, RESULT = "twins", "cells", "result.json"


def run(comparison: Comparison, directory: Path, jobs: int, *, fresh: bool = False) -> None:
    """Train and measure what is not finished yet.

    Args:
        comparison: what to do.
        directory: where to keep it.
        jobs: processes; 1: this one.
        fresh: start over.

    Raises:
        ConfigError: the directory holds cells with another configuration.
        KeyboardInterrupt, TrainingInterruptedError: interrupted, by SIGTERM too; checkpoints were written.
    """
    for part in (TWINS, CELLS) if fresh else ():
        shutil.rmtree(directory / part, ignore_errors=True)
    twins = [(config, directory / TWINS / f"seed{seed}") for seed, config in comparison.twins.items()]
    cells = [(c, directory / CELLS / c.name, directory / TWINS / f"seed{c.seed}") for c in comparison.cells]
    unfinished_twins = [task for task in twins if not _finished(task[1], task[0])]
    unfinished = [task for task in cells if not _finished(task[1], task[0].config)]
    with progress_bar(total=len(twins) + len(cells), desc=directory.name, smoothing=0) as bar, termination_interrupts():
        bar.update(bar.total - len(unfinished_twins) - len(unfinished))

        def done(line: str) -> None:
            bar.write(line)
            bar.update()

        for_each(_train_twin, unfinished_twins, jobs, done)
        for_each(_train_cell, unfinished, jobs, done)


def results(directory: Path) -> list[dict[str, Any]]:
    """What the finished cells of a comparison gave, one dict for each.

    Keys: method, bits, seed, config; ber (a list of dicts with detector ("quantized", "full_precision" or "lmmse"),
    snr_db, bit_errors, bits, and where that was measured); steps (alpha and gamma per layer); bandwidths (sigma of each
    layer's kernels); history (of the quantized stage, see `train.Run`); seconds and measuring_seconds.
    """
    return [json.loads(path.read_text("utf-8")) for path in sorted(directory.glob(f"{CELLS}/*/{RESULT}"))]


def _finished(directory: Path, config: Config) -> bool:
    try:
        stored = json.loads((directory / RESULT).read_text("utf-8"))["config"]
    except FileNotFoundError:
        return False
    given = config.to_dict()
    different = sorted(key for key in stored.keys() | given.keys() if stored.get(key) != given.get(key))
    if set(different) - {"evaluation"}:
        raise ConfigError(
            f"{directory}: holds results of another configuration (differs in: {', '.join(different)}); "
            "start over with --fresh, or choose another --output"
        )
    return not different


def _train_twin(config: Config, directory: Path) -> str:
    run = Run.resume(directory, config) if (directory / CHECKPOINT).exists() else Run.start(config)
    train(run, directory, last_stage=0, progress=False)
    models = [detector_model(config, run.twin)]
    ber = evaluate.measure(config, models, seed=evaluate.EVALUATION_SEED, progress=False)
    for result in ber:
        result["detector"] = "lmmse" if result["detector"] == "lmmse" else "full_precision"
    _write(directory, {"config": config.to_dict(), "ber": ber, "history": run.history, "seconds": run.seconds})
    return f"{config.name}: trained in {run.seconds:.0f} s"


def _train_cell(cell: Cell, directory: Path, twin_directory: Path) -> str:
    config = cell.config
    twin = json.loads((twin_directory / RESULT).read_text("utf-8"))
    if not (directory / CHECKPOINT).exists():
        Run.from_twin(twin_directory, config).save(directory)
    run = Run.resume(directory, config)
    train(run, directory, progress=False)
    began = time.monotonic()
    ber = evaluate.measure_again(config, [detector_model(config, run.network)], twin["ber"])
    for result in ber:
        result["detector"] = "quantized"
    assert run.network.step is not None and run.mmd is not None
    law = run.network.step
    result = {
        "method": cell.method,
        "bits": cell.bits,
        "seed": cell.seed,
        "config": config.to_dict(),
        "ber": ber + twin["ber"],
        "steps": [{"alpha": a, "gamma": g} for a, g in zip(law.alpha.tolist(), law.gamma.tolist(), strict=True)],
        "bandwidths": run.mmd.log_sigma.exp().tolist(),
        "history": [entry for entry in run.history if entry["stage"] == "quantized"],
        "seconds": run.seconds - twin["seconds"],
        "measuring_seconds": time.monotonic() - began,
    }
    _write(directory, result)
    rates = ", ".join(f"{rate:.1e} at {snr:g} dB" for snr, rate in curve(result, "quantized").items())
    return f"{cell.name}: BER {rates}; {result['seconds'] + result['measuring_seconds']:.0f} s"


def _write(directory: Path, document: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / (RESULT + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(temporary, directory / RESULT)
