# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantization methods side by side, from the same twin, on the same batches, measured alike.

A cell is a method at one width from one seed; it has a file of its own. Cells are units that any process can run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import run_units
from gr_kaq.sweeps.workers import Workers

from ..optimization import DEVICE
from ..quantization.mmd import Mmd
from ..quantization.recipes import Method
from .config import Config, Quantizer
from .export import held_out_windows
from .losses import Reference
from .network import EstimatorNet
from .sources import load_twin
from .train import quantize, training_windows
from .windows import Windows

__all__ = ["METHODS", "Cell", "Compared", "cells", "measure", "results", "run", "table"]

BITS = (8, 6, 4, 3)
PARTS = (8, 4)
"""Widths at which KAQ's two parts are told apart."""


@dataclass(frozen=True)
class Compared:
    """A method.

    Attributes:
        quantizer: its settings.
        epsilon: weight of the distribution match.
        trains: whether the network is trained on.
        bits: where it is measured.
    """

    quantizer: Quantizer
    epsilon: float = 0.0
    trains: bool = False
    bits: tuple[int, ...] = BITS


def _calibrated(method: Method, strength: float = 1.0) -> Compared:
    return Compared(Quantizer(law="static", method=method, strength=strength))


def _trained(method: Method) -> Compared:
    return Compared(Quantizer(law="static", method=method), trains=True)


def _kaq(method: Method) -> Compared:
    return Compared(Quantizer(law="dynamic", method=method), 0.1, trains=True)


METHODS: dict[str, Compared] = {
    "post-training, min-max": Compared(Quantizer(law="static", start="minmax")),
    "post-training, MSE-optimal": _calibrated("plain"),
    "the same, weights too": _calibrated("mse"),
    "SmoothQuant, 0.5": _calibrated("smoothquant", 0.5),
    "RepQ-ViT": _calibrated("repq"),
    "RepQ-ViT, 0.5": _calibrated("repq", 0.5),
    "RepQ-ViT, every product": _calibrated("repq-all"),
    "MergeQuant": _calibrated("mergequant"),
    "LRP-QViT's clipping": _calibrated("lrp-qvit"),
    "static step, MSE loss": _trained("plain"),
    "static step, MSE + MMD": Compared(Quantizer(law="static"), 0.1, trains=True, bits=PARTS),
    "dynamic step, MSE loss": Compared(Quantizer(law="dynamic"), trains=True, bits=PARTS),
    "KAQ: dynamic step, MSE + MMD": _kaq("plain"),
    "QAT, weights clipped": _trained("mse"),
    "QAT from RepQ-ViT": _trained("repq-all"),
    "QAT from MergeQuant": _trained("mergequant"),
    "KAQ, weights clipped": _kaq("mse"),
    "KAQ x RepQ-ViT": _kaq("repq-all"),
    "KAQ x MergeQuant": _kaq("mergequant"),
}


@dataclass(frozen=True)
class Cell:
    """A method at one width from one seed."""

    method: str
    bits: int
    seed: int

    @property
    def file(self) -> str:
        """Its name."""
        name = "".join(c if c.isalnum() else "-" for c in self.method.lower())
        return f"{name}-{self.bits}bit-seed{self.seed}.json"


def cells(bits: Sequence[int], seeds: Sequence[int], *, trained: bool) -> Iterator[Cell]:
    """Those of a comparison: calibrated methods once, trained ones from every seed."""
    for width in bits:
        for name, method in METHODS.items():
            if width in method.bits and (trained or not method.trains):
                yield from (Cell(name, width, seed) for seed in (seeds if method.trains else seeds[:1]))


def run(source: str, frames: int, wanted: Sequence[Cell], iterations: int, directory: Path, workers: Workers) -> None:
    """Do cells, each into its file in `directory` as soon as it is there.

    Args:
        source: see `sources.load_twin`; workers on other machines have a run's directory under the same name.
        frames: to calibrate and train on.
        wanted: the cells.
        iterations: of trained methods.
        directory: of the files.
        workers: what does the cells.
    """
    source = str(Path(source).resolve()) if Path(source).is_dir() else source
    jobs = [
        {"source": source, "frames": frames, "iterations": iterations, **dataclasses.asdict(cell)} for cell in wanted
    ]
    directory.mkdir(parents=True, exist_ok=True)
    with progress_bar(total=len(jobs), desc=directory.name, mininterval=0.5) as bar:

        def done(result: Result) -> None:
            cell = Cell(result["method"], result["bits"], result["seed"])
            temporary = directory / f"{cell.file}.{os.getpid()}"
            temporary.write_text(json.dumps(result, indent=1), "utf-8")
            temporary.replace(directory / cell.file)
            bar.write(f"{cell.method}, {cell.bits} bits, seed {cell.seed}: {result['db']:+.3f} dB")
            bar.update()

        run_units(jobs, measure, workers, Results(None), done=done)


def results(directory: Path) -> list[Result]:
    """The cells that are done, in the order of `METHODS`."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(directory.glob("*bit-seed*.json"))]
    return sorted(found, key=lambda cell: list(METHODS).index(cell["method"]))


def measure(job: Job) -> Result:
    """Quantize by a method, and measure what that costs.

    Args:
        job: source, frames and iterations of `run`; method, bits and seed of the cell.

    Returns:
        method, bits, seed; db and interval, what is lost; laws, of each product; twin_db, iterations, frames.
    """
    config, twin, data, reference = _prepared(job["source"], job["frames"])
    method = METHODS[job["method"]]
    own = dataclasses.replace(
        config,
        name=f"{job['method']}, {job['bits']} bits, seed {job['seed']}",
        quantizer=dataclasses.replace(method.quantizer, bits=job["bits"]),
        mmd=Mmd(epsilon=method.epsilon),
        quantized=dataclasses.replace(config.quantized, iterations=job["iterations"] if method.trains else 0),
        seed=job["seed"],
    )
    network, _ = quantize(own, data, twin, progress=False)
    laws = {
        key: {"alpha": float(product.step.alpha), "gamma": float(product.step.gamma)}
        for key, product in network.products().items()
        if product.step is not None
    }
    loss = reference.loss(network)
    return {
        "method": job["method"],
        "bits": job["bits"],
        "seed": job["seed"],
        "db": loss.db,
        "interval": loss.interval,
        "laws": laws,
        "twin_db": reference.db,
        "iterations": own.quantized.iterations,
        "frames": config.frames,
    }


@functools.cache
def _prepared(source: str, frames: int) -> tuple[Config, EstimatorNet, Windows, Reference]:
    """What all cells have in common, once in each process."""
    config, twin = load_twin(source)
    config, twin = dataclasses.replace(config, frames=frames), twin.to(DEVICE)
    return config, twin, training_windows(config, progress=False), Reference(twin, held_out_windows(config))


def table(results: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: what quantization costs, in dB over the twin.

    Of a calibrated method with its 95 % interval; of a trained one the mean and the range over the seeds.
    """
    bits = sorted({cell["bits"] for cell in results}, reverse=True)
    lines = [
        f"The twin: {results[0]['twin_db']:+.3f} dB relative to LMMSE.",
        "",
        "| method |" + "".join(f" {width} bits |" for width in bits),
        "|---|" + "---|" * len(bits),
    ]
    for name, method in METHODS.items():
        row = f"| {name} |"
        own = [cell for cell in results if cell["method"] == name]
        for width in bits if own else ():
            here = [cell for cell in own if cell["bits"] == width]
            losses = [cell["db"] for cell in here]
            if not here:
                row += " |"
            elif method.trains:
                row += f" {mean(losses):+.3f} dB ({min(losses):+.3f} to {max(losses):+.3f}) |"
            else:
                row += f" {losses[0]:+.3f} ± {here[0]['interval']:.3f} dB |"
        lines += [row] if own else []
    kaq = "KAQ: dynamic step, MSE + MMD"
    for width in PARTS:
        laws = next((cell["laws"] for cell in results if (cell["method"], cell["bits"]) == (kaq, width)), None)
        if laws is not None and len(laws) <= 6:
            steps = ", ".join(f"{name} {law['alpha']:+.2g} / {law['gamma']:.2g}" for name, law in laws.items())
            lines += ["", f"Laws that KAQ learned at {width} bits, alpha / gamma: {steps}."]
    return "\n".join(lines)
