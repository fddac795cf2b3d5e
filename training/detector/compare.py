# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantization methods side by side: the same network, data, iterations and seeds; measured on the same transmissions.

A comparison is a YAML file:

    kind: comparison
    base: {preset: NAME, KEY: VALUE, ...}     a training configuration, whole or as changes to a preset
    seeds: [1, 2, 3]
    bits: [8, 4, 3, 2]                        of activations and matrix alike
    methods:
      NAME: {KEY: VALUE, ...}                 what the method changes; keys nested, or with dots
      NAME: {only_bits: [4, 2], ...}          at these widths only

A cell is one method at one width from one seed. Every seed has one full-precision twin, which all its cells start from;
the random generator goes on from where the twin left it, so that all cells of a seed train on the same batches too.
A directory holds

    twins/seed1/       checkpoint.pt, result.json
    cells/NAME-4bit-seed1/

and a result is written in one piece when all of it is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..config import ConfigError, find, read_document, set_key
from ..optimization import Stage
from ..quantization.mmd import Mmd
from . import evaluate
from .config import Config, Quantizer
from .export import detector_model
from .train import CHECKPOINT, NO_PART_IN_TWIN, Run, TrainingInterruptedError, train

__all__ = ["CELLS", "RESULT", "Cell", "Comparison", "load", "loss_db", "results", "run", "table"]

TWINS, CELLS, RESULT = "twins", "cells", "result.json"
KIND = "comparison"
KEYS = ("kind", "base", "seeds", "bits", "methods")
LOSS_AT_BER = 1e-2


@dataclass(frozen=True)
class Cell:
    """One method at one width from one seed."""

    method: str
    bits: int
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.method}-{self.bits}bit-seed{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison trains.

    Attributes:
        twins: configuration of the full-precision twin of each seed.
        cells: in the order of widths, methods, seeds.
    """

    twins: dict[int, Config]
    cells: tuple[Cell, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Comparison:
    """Read a comparison.

    Args:
        path: of a YAML file.
        overrides: KEY=VALUE, such as ``base.quantized.iterations=100`` or ``seeds=[1]``.

    Raises:
        ConfigError: the file is missing or no YAML, or a key is missing, unknown or does not fit.
    """
    document = read_document(path, overrides)
    if document.get("kind", KIND) != KIND:
        raise ConfigError(f"{path}: key kind: {KIND} expected, got {document['kind']}")
    if set(document) != set(KEYS):
        raise ConfigError(f"{path}: exactly the keys {', '.join(KEYS)} expected, got {', '.join(map(str, document))}")
    base, methods = document["base"], document["methods"]
    if not isinstance(base, dict) or not isinstance(methods, dict) or not methods:
        raise ConfigError(f"{path}: key base and key methods: a mapping expected")
    seeds, bits = _integers(document["seeds"], "seeds"), _integers(document["bits"], "bits")
    if "preset" in base:
        base = {**base}
        preset = read_document(find(base.pop("preset")))
        for key, value in base.items():
            set_key(preset, key, value)
        base = preset
    widths = {}
    for method, changes in methods.items():
        if not isinstance(changes, dict):
            raise ConfigError(f"{path}: key methods.{method}: a mapping expected, got {changes!r}")
        widths[method] = _integers(changes.get("only_bits", bits), f"methods.{method}.only_bits")
    reference = {seed: _config(path, base, {}, "base", bits[0], seed) for seed in seeds}
    cells = []
    for width in dict.fromkeys([*bits, *(b for own in widths.values() for b in own)]):
        for method, changes in methods.items():
            changes = {key: value for key, value in changes.items() if key != "only_bits"}
            for seed in seeds if width in widths[method] else ():
                config = _config(path, base, changes, f"methods.{method}", width, seed)
                twin, own = reference[seed].to_dict(), config.to_dict()
                for key in own.keys() - NO_PART_IN_TWIN:
                    if own[key] != twin[key]:
                        raise ConfigError(
                            f"{path}: key methods.{method}.{key}: changes the full-precision twin, which is for all"
                        )
                cells.append(Cell(str(method), width, seed, config))
    return Comparison({seed: _twin_config(config) for seed, config in reference.items()}, tuple(cells))


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
    with tqdm(total=len(twins) + len(cells), desc=directory.name, smoothing=0) as bar, _termination_interrupts():
        bar.update(bar.total - len(unfinished_twins) - len(unfinished))

        def done(line: str) -> None:
            bar.write(line)
            bar.update()

        _for_each(_train_twin, unfinished_twins, jobs, done)
        _for_each(_train_cell, unfinished, jobs, done)


def results(directory: Path) -> list[dict[str, Any]]:
    """What the finished cells of a comparison gave, one dict for each.

    Keys: method, bits, seed, config; ber (a list of dicts with detector ("quantized", "full_precision" or "lmmse"),
    snr_db, bit_errors, bits, and where that was measured); steps (alpha and gamma per layer); bandwidths (sigma of each
    layer's kernels); history (of the quantized stage, see `train.Run`); seconds and measuring_seconds.
    """
    return [json.loads(path.read_text("utf-8")) for path in sorted(directory.glob(f"{CELLS}/*/{RESULT}"))]


def loss_db(result: dict[str, Any], ber: float = LOSS_AT_BER) -> float | None:
    """How much more SNR a cell needs for a BER than its twin, in dB; None where one of them does not get there.

    Between the measured SNRs, the logarithm of the BER is taken to be linear in dB.
    """
    quantized, twin = (_snr_at(_curve(result, detector), ber) for detector in ("quantized", "full_precision"))
    return None if quantized is None or twin is None else quantized - twin


def table(cells: list[dict[str, Any]]) -> str:
    """Mean BER over the seeds, and the loss to full precision with its range over the seeds."""
    lines = []
    for bits in sorted({cell["bits"] for cell in cells}, reverse=True):
        here = [cell for cell in cells if cell["bits"] == bits]
        snrs = list(_curve(here[0], "quantized"))
        wide = max(len(name) for name in ["full_precision", *(cell["method"] for cell in here)])
        head = "".join(f"{snr:>7g} dB" for snr in snrs)
        lines += ["", f"{bits} bits: BER at SNR, loss at BER {LOSS_AT_BER:g} (mean, range over seeds)"]
        lines.append(f"  {'':{wide}}{head}   loss")
        first = {cell["seed"]: cell for cell in here}.values()
        rows = {name: [_curve(cell, name) for cell in first] for name in ("lmmse", "full_precision")}
        for method in sorted({cell["method"] for cell in here}):
            rows[method] = [_curve(cell, "quantized") for cell in here if cell["method"] == method]
        for name, curves in rows.items():
            means = "".join(f"{sum(curve[snr] for curve in curves) / len(curves):10.2e}" for snr in snrs)
            losses = [loss_db(cell) for cell in here if cell["method"] == name]
            reached = [loss for loss in losses if loss is not None]
            said = ""
            if losses:
                said = f"not reached by {len(losses) - len(reached)} of {len(losses)} seeds"
            if reached and len(reached) == len(losses):
                mean = sum(reached) / len(reached)
                said = f"{mean:.2f} dB ({min(reached):.2f} to {max(reached):.2f}, {len(reached)} seeds)"
            lines.append(f"  {name:{wide}}{means}   {said}".rstrip())
    return "\n".join(lines[1:])


def _integers(value: Any, key: str) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(item) is int for item in value):
        raise ConfigError(f"key {key}: a list of whole numbers expected, got {value!r}")
    return value


def _config(path: Path, base: dict[str, Any], changes: dict[str, Any], key: str, bits: int, seed: int) -> Config:
    document = json.loads(json.dumps(base))
    try:
        for name, value in changes.items():
            set_key(document, str(name), value)
        name = f"{key.removeprefix('methods.')}-{bits}bit-seed{seed}"
        return Config.from_document(
            {**document, "name": name, "activation_bits": bits, "matrix_bits": bits, "seed": seed}
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {key}: {error}") from None


def _twin_config(config: Config) -> Config:
    """The configuration without what a twin does not depend on, so that it stays the same when that changes."""
    return dataclasses.replace(
        config,
        name=f"twin-seed{config.seed}",
        activation_bits=8,
        matrix_bits=8,
        quantized=Stage(0, 0.0),
        quantizer=Quantizer(),
        mmd=Mmd(),
        candidates=0,
    )


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
    rates = ", ".join(f"{rate:.1e} at {snr:g} dB" for snr, rate in _curve(result, "quantized").items())
    return f"{cell.name}: BER {rates}; {result['seconds'] + result['measuring_seconds']:.0f} s"


def _write(directory: Path, document: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / (RESULT + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(temporary, directory / RESULT)


def _curve(result: dict[str, Any], detector: str) -> dict[float, float]:
    """BER by SNR, over all sizes and channels together."""
    errors: dict[float, int] = {}
    bits: dict[float, int] = {}
    for r in (r for r in result["ber"] if r["detector"] == detector):
        errors[r["snr_db"]] = errors.get(r["snr_db"], 0) + r["bit_errors"]
        bits[r["snr_db"]] = bits.get(r["snr_db"], 0) + r["bits"]
    return {snr: errors[snr] / bits[snr] for snr in sorted(errors)}


def _snr_at(curve: dict[float, float], ber: float) -> float | None:
    points = list(curve.items())
    for (snr, above), (next_snr, below) in itertools.pairwise(points):
        if above >= ber > below > 0:
            return snr + (next_snr - snr) * math.log(above / ber) / math.log(above / below)
    return None


def _for_each(
    function: Callable[..., str], tasks: Sequence[tuple[Any, ...]], jobs: int, done: Callable[[str], None]
) -> None:
    """Call the function for all tasks, `done` with what it returns."""
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        for task in tasks:
            done(function(*task))
        return
    # a process each: neither torch nor BLAS is to take more than its core. Workers read this when they import NumPy
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")  # a fork would share torch's threads, and CUDA does not survive it
    with ProcessPoolExecutor(jobs, context, _start_worker) as pool:
        try:
            for future in as_completed([pool.submit(_in_worker, function, task) for task in tasks]):
                done(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()  # in training, that writes a checkpoint first
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; what follows is the parent's to decide
    torch.set_num_threads(1)


def _in_worker(function: Callable[..., str], task: tuple[Any, ...]) -> str:
    try:
        return function(*task)
    except TrainingInterruptedError:
        os._exit(0)  # and not on to the next task in the queue


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
