# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does with detectors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gr_kaq.detection import model_file

from ..config import SAVED, ConfigError, find, read_document
from . import compare, evaluate, summary
from .comparison import load as load_comparison
from .comparison_table import table
from .config import Config
from .export import detector_model
from .initial_model import initial_model
from .list_detector import commands as list_detector
from .list_detector import compare as list_comparison
from .train import CHECKPOINT, Run, TrainingInterruptedError
from .train import train as train_run

__all__ = ["compare_methods", "export", "train"]


def train(source: str, overrides: Sequence[str], directory: Path, *, fresh: bool) -> None:
    """Train and measure a detector, and print its BER.

    Args:
        source, overrides: see `Config.load`.
        directory: of the run. What was interrupted there goes on.
        fresh: start over.

    Raises:
        ConfigError: the configuration cannot be used, or the run in the directory is another's.
        KeyboardInterrupt: interrupted, by SIGTERM too; a checkpoint was written.
    """
    if _is_list(find(source), overrides):
        list_detector.train(source, overrides, directory)
        return
    config = Config.load(source, overrides)
    resuming = (directory / CHECKPOINT).exists() and not fresh
    run = Run.resume(directory, config) if resuming else Run.start(config)
    directory.mkdir(parents=True, exist_ok=True)
    config.save(directory)
    if resuming:
        print(f"{directory}: going on from a checkpoint", file=sys.stderr)
    else:
        (directory / summary.SUMMARY).unlink(missing_ok=True)
    try:
        train_run(run, directory)
    except TrainingInterruptedError:
        raise KeyboardInterrupt(f"the same command goes on from {directory / CHECKPOINT}") from None
    models = [detector_model(config, network) for network in (run.twin, run.network)]
    before = initial_model(config)
    if before is not None:
        models.insert(0, before)
    results = evaluate.measure(config, models)
    summary.write(directory, config, run.history, results, run.seconds)
    print(summary.table(results))
    print(f"wrote {directory}/{summary.SUMMARY} and summary.png; export with: python -m training export {directory}")


def export(directory: Path, output: Path) -> None:
    """Write the model files of a finished run, with the BER that was measured, and print their paths.

    Raises:
        ConfigError: the run is not finished.
    """
    if _is_list(directory / SAVED):
        list_detector.export(directory, output)
        return
    if not (directory / summary.SUMMARY).exists():
        raise ConfigError(f"{directory}: no {summary.SUMMARY}, so this is no finished run; train it first")
    config = Config.load(directory / SAVED)
    run = Run.resume(directory, config)
    results = summary.read_results(directory)
    output.mkdir(parents=True, exist_ok=True)
    for network in (run.network, run.twin):
        model = evaluate.with_measured_ber(detector_model(config, network), results)
        print(model_file.save(model, output))


def _is_list(path: Path, overrides: Sequence[str] = ()) -> bool:
    """Whether a configuration is that of a list detector."""
    return read_document(path, overrides).get("network") == "list"


def _is_list_comparison(source: Path, overrides: Sequence[str]) -> bool:
    base = read_document(source, overrides).get("base")
    if not isinstance(base, dict):
        return False
    preset = read_document(find(base["preset"])) if "preset" in base else {}
    return {**preset, **base}.get("network") == "list"


def compare_methods(source: Path, overrides: Sequence[str], output: Path, jobs: int, *, fresh: bool) -> None:
    """Train and measure what is not finished of a comparison, and print a table of all.

    Args:
        source, overrides: see `comparison.load`.
        output: of comparisons; this one is in a folder named after its file.
        jobs: processes.
        fresh: start over.

    Raises:
        ConfigError: the comparison cannot be used, or its folder holds another's results.
        KeyboardInterrupt: interrupted, by SIGTERM too; checkpoints were written.
    """
    if _is_list_comparison(source, overrides):
        results = list_comparison.compare(source, overrides, output / source.name.removesuffix(".yaml"))
        print(list_detector.table(results))
        return
    comparison = load_comparison(source, overrides)
    if jobs < 1:
        raise ConfigError(f"--jobs is {jobs}; at least 1 expected")
    directory = output / source.name.removesuffix(".yaml")
    try:
        compare.run(comparison, directory, jobs, fresh=fresh)
    except (KeyboardInterrupt, TrainingInterruptedError):
        raise KeyboardInterrupt(f"the same command goes on from what is in {directory}") from None
    print(table(compare.results(directory)))
    print(f"wrote {directory}/{compare.CELLS}/*/{compare.RESULT}")
