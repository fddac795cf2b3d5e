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

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import run_units
from gr_kaq.sweeps.workers import Function, Workers

from ..config import ConfigError
from . import evaluate
from .comparison import Cell, Comparison
from .comparison_table import curve
from .config import Config
from .export import detector_model
from .train import CHECKPOINT, Run, TrainingInterruptedError, train

__all__ = ["CELLS", "RESULT", "results", "run", "train_cell", "train_twin"]

TWINS, CELLS, RESULT = "twins", "cells", "result.json"


def run(comparison: Comparison, directory: Path, workers: Workers, *, fresh: bool = False) -> None:
    """Train and measure what is not finished yet.

    Args:
        comparison: what to do.
        directory: where to keep it; workers on other machines have it under the same name.
        workers: what trains.
        fresh: start over.

    Raises:
        ConfigError: the directory holds cells with another configuration.
        KeyboardInterrupt: interrupted, by SIGTERM too; checkpoints were written.
    """
    for part in (TWINS, CELLS) if fresh else ():
        shutil.rmtree(directory / part, ignore_errors=True)
    directory = directory.resolve()
    twins = [(config, directory / TWINS / f"seed{seed}") for seed, config in comparison.twins.items()]
    cells = [(c, directory / CELLS / c.name, directory / TWINS / f"seed{c.seed}") for c in comparison.cells]
    unfinished_twins = [task for task in twins if not _finished(task[1], task[0])]
    unfinished = [task for task in cells if not _finished(task[1], task[0].config)]
    with (
        progress_bar(total=len(twins) + len(cells), desc=directory.name, smoothing=0) as bar,
        _termination_interrupts(),
    ):
        bar.update(bar.total - len(unfinished_twins) - len(unfinished))

        def done(result: Result) -> None:
            bar.write(result["said"])
            bar.update()

        def run_all(function: Function, jobs: Sequence[Job]) -> None:
            run_units(jobs, function, workers, Results(None), done=done)

        run_all(train_twin, [{"config": config.to_dict(), "directory": str(path)} for config, path in unfinished_twins])
        run_all(train_cell, [_job(*task) for task in unfinished])


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


def train_twin(job: Job) -> Result:
    """Train and measure a twin.

    Args:
        job: config (`Config.to_dict`), and the directory that gets the result.

    Returns:
        `said`, a line about it.
    """
    config, directory = Config.from_document({"kind": Config.kind, **job["config"]}), Path(job["directory"])
    run = Run.resume(directory, config) if (directory / CHECKPOINT).exists() else Run.start(config)
    _train(run, directory, last_stage=0)
    models = [detector_model(config, run.twin)]
    ber = evaluate.measure(config, models, seed=evaluate.EVALUATION_SEED, progress=False)
    for result in ber:
        result["detector"] = "lmmse" if result["detector"] == "lmmse" else "full_precision"
    _write(directory, {"config": config.to_dict(), "ber": ber, "history": run.history, "seconds": run.seconds})
    return {"said": f"{config.name}: trained in {run.seconds:.0f} s"}


def _job(cell: Cell, directory: Path, twin_directory: Path) -> Job:
    return {
        "method": cell.method,
        "bits": cell.bits,
        "seed": cell.seed,
        "config": cell.config.to_dict(),
        "directory": str(directory),
        "twin_directory": str(twin_directory),
    }


def train_cell(job: Job) -> Result:
    """Train and measure a cell.

    Args:
        job: method, bits and seed; config, directory, and twin_directory, that of its twin.

    Returns:
        `said`, a line about it.
    """
    config, directory = Config.from_document({"kind": Config.kind, **job["config"]}), Path(job["directory"])
    twin_directory = Path(job["twin_directory"])
    twin = json.loads((twin_directory / RESULT).read_text("utf-8"))
    if not (directory / CHECKPOINT).exists():
        Run.from_twin(twin_directory, config).save(directory)
    run = Run.resume(directory, config)
    _train(run, directory)
    began = time.monotonic()
    ber = evaluate.measure_again(config, [detector_model(config, run.network)], twin["ber"])
    for result in ber:
        result["detector"] = "quantized"
    assert run.network.step is not None and run.mmd is not None
    law = run.network.step
    result = {
        "method": job["method"],
        "bits": job["bits"],
        "seed": job["seed"],
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
    return {"said": f"{directory.name}: BER {rates}; {result['seconds'] + result['measuring_seconds']:.0f} s"}


def _train(run: Run, directory: Path, last_stage: int = 1) -> None:
    """An interrupt ends the sweep, and a process of it."""
    try:
        train(run, directory, last_stage=last_stage, progress=False)
    except TrainingInterruptedError:
        raise KeyboardInterrupt from None


def _write(directory: Path, document: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / (RESULT + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(temporary, directory / RESULT)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
