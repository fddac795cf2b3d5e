# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantization methods side by side, from the same twin, on the same batches, measured alike.

A cell is a method at one width from one seed; it has a file of its own, and what is finished is not done again.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from gr_kaq.commands.long_run import progress_bar

from ..quantization.mmd import Mmd
from ..quantization.recipes import Method
from .config import Config, Quantizer
from .export import held_out_windows
from .losses import Reference
from .network import EstimatorNet
from .train import quantize, training_windows

__all__ = ["METHODS", "Cell", "Compared", "cells", "run", "table"]

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


def run(config: Config, twin: EstimatorNet, wanted: Sequence[Cell], iterations: int, directory: Path) -> None:
    """Do the cells that are not done, each into its file in `directory`."""
    missing = [cell for cell in wanted if not (directory / cell.file).exists()]
    if not missing:
        return
    directory.mkdir(parents=True, exist_ok=True)
    data, reference = training_windows(config), Reference(twin, held_out_windows(config))
    for cell in progress_bar(missing, desc=config.name, mininterval=0.5):
        method = METHODS[cell.method]
        own = dataclasses.replace(
            config,
            name=f"{cell.method}, {cell.bits} bits, seed {cell.seed}",
            quantizer=dataclasses.replace(method.quantizer, bits=cell.bits),
            mmd=Mmd(epsilon=method.epsilon),
            quantized=dataclasses.replace(config.quantized, iterations=iterations if method.trains else 0),
            seed=cell.seed,
        )
        network, _ = quantize(own, data, twin, progress=False)
        laws = {
            key: {"alpha": float(product.step.alpha), "gamma": float(product.step.gamma)}
            for key, product in network.products().items()
            if product.step is not None
        }
        loss = reference.loss(network)
        result = {
            **dataclasses.asdict(cell),
            "db": loss.db,
            "interval": loss.interval,
            "laws": laws,
            "twin_db": reference.db,
            "iterations": own.quantized.iterations,
            "frames": config.frames,
        }
        temporary = directory / f"{cell.file}.{os.getpid()}"
        temporary.write_text(json.dumps(result, indent=1), "utf-8")
        temporary.replace(directory / cell.file)


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
