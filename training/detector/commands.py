# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does with detectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr_kaq.detection import model_file

from ..config import SAVED, ConfigError, find, read_document
from ..page import add_picture, replace_blocks
from ..quantization.allocation import (
    Allocation,
    Budget,
    allocate,
    expect_an_allocation,
    expect_few_allocations,
    regret_table,
    regrets,
    total,
)
from ..quantization.allocation_plot import plot_allocations
from ..workers import opened
from . import compare, evaluate, summary
from .allocate import SCORES, Problem, Score, load_twin
from .comparison import load as load_comparison
from .comparison_table import table
from .config import Config
from .export import detector_model
from .initial_model import initial_model
from .list_detector import commands as list_detector
from .list_detector import compare as list_comparison
from .train import CHECKPOINT, Run, TrainingInterruptedError
from .train import train as train_run

__all__ = ["allocate_widths", "compare_methods", "export", "train"]


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


def compare_methods(
    source: Path, overrides: Sequence[str], output: Path, jobs: int, cluster: str | None, *, fresh: bool
) -> None:
    """Train and measure what is not finished of a comparison, and print a table of all.

    Args:
        source, overrides: see `comparison.load`.
        output: of comparisons; this one is in a folder named after its file.
        jobs, cluster: see `training.workers.opened`.
        fresh: start over.

    Raises:
        ConfigError: the comparison cannot be used, or its folder holds another's results.
        KeyboardInterrupt: interrupted, by SIGTERM too; checkpoints were written, and what is finished was printed.
    """
    if _is_list_comparison(source, overrides):
        if cluster:
            raise ConfigError(f"--cluster: {source} compares list detectors, which takes minutes of this process")
        results = list_comparison.compare(source, overrides, output / source.name.removesuffix(".yaml"))
        print(list_detector.table(results))
        return
    comparison = load_comparison(source, overrides)
    directory = output / source.name.removesuffix(".yaml")
    try:
        with opened(jobs, cluster, len(comparison.cells)) as workers:
            compare.run(comparison, directory, workers, fresh=fresh)
    except KeyboardInterrupt:
        if found := compare.results(directory):
            print(table(found))
        raise KeyboardInterrupt(f"the same command goes on from what is in {directory}") from None
    print(table(compare.results(directory)))
    print(f"wrote {directory}/{compare.CELLS}/*/{compare.RESULT}")


def allocate_widths(
    source: str,
    overrides: Sequence[str],
    budget: Budget,
    score: Score,
    bits: Sequence[int],
    channels: int,
    output: Path,
    page: Path | None,
    *,
    truth: bool,
) -> None:
    """Choose a width for each layer within a budget; on demand, measure all allocations and every score's regret.

    Args:
        source, overrides: see `allocate.load_twin`.
        budget: in bit operations.
        score: that chooses.
        bits: widths to choose from.
        channels: to measure on.
        output: directory; results go into a folder named after the detector and the width of its matrix.
        page: Markdown file that gets the table, see `page.replace_blocks`.
        truth: whether to measure all.

    Raises:
        ConfigError: there is no such detector, no allocation within the budget, or there are too many to measure.
    """
    if budget.unit != "bops":
        raise ConfigError(f"--budget {budget.unit}: a detector has no weights; bops expected")
    config, twin = load_twin(source, overrides)
    if truth:
        expect_few_allocations(source, config.layers, sorted(set(bits)))
    problem = Problem(config, twin, bits, channels)
    limit = budget.share * problem.whole
    expect_an_allocation(problem.price, limit)
    scored = SCORES if truth else (score,)
    costs = {name: problem.costs(name) for name in scored}
    chosen = allocate(costs[score], problem.price, limit)
    loss = problem.loss(problem.errors(chosen))
    print(f"activations {' '.join(map(str, chosen))} bits, matrix {config.matrix_bits} bits")
    share = total(problem.price, chosen) / problem.whole
    print(f"bops {share:.3f} of 8 bits everywhere; {loss:+.3f} dB at {problem.snr_db:g} dB after calibration")
    listed = ",".join(map(str, chosen))  # without spaces, a shell takes it as it is
    print(f"train with: --set activation_bits=[{listed}] --set matrix_bits={config.matrix_bits}")
    name = f"{config.name}-w{config.matrix_bits}{'-midrise' if config.quantizer.midrise else ''}"
    directory = output / name
    directory.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "names": problem.names,
        "bits": problem.bits,
        "matrix_bits": config.matrix_bits,
        "levels": config.quantizer.levels,
        "snr_db": problem.snr_db,
        "channels": channels,
        "budget": limit,
        "score": score,
        "chosen": list(chosen),
        "db": loss,
        "costs": costs,
    }
    if truth:
        errors = problem.truth(directory / f"allocations-{''.join(map(str, problem.bits))}.json")
        measured = {allocation: problem.loss(count) for allocation, count in errors.items()}
        found["regrets"] = regrets(measured, problem.price, costs, config.seed)
        picture = directory / "allocations.png"
        plot_allocations(measured, problem.price, found["regrets"], "bit operations", problem.whole, picture)
        text = f"{regret_table(found['regrets'])}\n\n{_at_uniform_budgets(problem, errors, found['regrets'])}"
        print(text)
        if page is not None:
            replace_blocks(page, {f"allocations {name}": text})
            add_picture(page, picture, f"allocations-{name}")
    (directory / "allocate-bops.json").write_text(json.dumps(found, indent=1), "utf-8")
    print(f"wrote {directory}")


def _at_uniform_budgets(problem: Problem, errors: dict[Allocation, list[int]], found: dict[str, Any]) -> str:
    """What uniform widths lose, and what the best and the chosen allocations do within the same bit operations."""
    lines = [
        f"| budget | bit operations | uniform | best | {' | '.join(SCORES)} |",
        f"|---|---|---|---|{'---|' * len(SCORES)}",
    ]

    def cell(allocation: Allocation, best: Allocation) -> str:
        loss = f"{' '.join(map(str, allocation))}: {problem.loss(errors[allocation]):+.3f} dB"
        if allocation == best:
            return loss
        return f"{loss} (best + {_difference(problem, errors[allocation], errors[best])})"

    for bits in problem.bits:
        uniform = (bits,) * len(problem.names)
        budget = total(problem.price, uniform)
        within = [a for a in errors if total(problem.price, a) <= budget * (1 + 1e-9)]
        best = min(within, key=lambda a: sum(errors[a]))
        taken = {s: next(tuple(a) for most, a, _ in found[s]["chosen"] if most == budget) for s in SCORES}
        row = [f"{bits} bits", f"{budget / problem.whole:.3f}", *(cell(a, best) for a in (uniform, best))]
        lines.append(f"| {' | '.join([*row, *(cell(taken[s], best) for s in SCORES)])} |")
    return "\n".join(lines)


def _difference(problem: Problem, errors: list[int], others: list[int]) -> str:
    return f"{problem.loss(errors) - problem.loss(others):.3f} ± {problem.interval(errors, others):.3f}"
