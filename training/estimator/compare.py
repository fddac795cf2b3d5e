# SPDX-License-Identifier: GPL-3.0-or-later
"""Does KAQ transfer? Quantization methods side by side, from the same twin, on the same batches, measured alike."""

from __future__ import annotations

import dataclasses
from statistics import mean
from typing import Any

from ..quantization.mmd import Mmd
from .config import Config, Quantizer
from .export import error_db, held_out_windows, refined
from .network import EstimatorNet
from .train import quantize, training_windows

__all__ = ["METHODS", "run", "table"]

BITS = (8, 4)
METHODS: dict[str, tuple[Quantizer, float, bool]] = {
    "post-training, min-max": (Quantizer(law="static", start="minmax"), 0.0, False),
    "post-training, MSE-optimal": (Quantizer(law="static", start="mse"), 0.0, False),
    "static step, MSE loss": (Quantizer(law="static"), 0.0, True),
    "static step, MSE + MMD": (Quantizer(law="static"), 0.1, True),
    "dynamic step, MSE loss": (Quantizer(law="dynamic"), 0.0, True),
    "KAQ: dynamic step, MSE + MMD": (Quantizer(law="dynamic"), 0.1, True),
}
"""Quantizer, epsilon, and whether it trains."""


def run(config: Config, twin: EstimatorNet, iterations: int, seeds: int) -> dict[str, Any]:
    """MSE relative to LMMSE in dB, of the twin and of every method at every width and seed."""
    data = training_windows(config)
    held_out = held_out_windows(config)
    cells = []
    for bits in BITS:
        for name, (quantizer, epsilon, trains) in METHODS.items():
            for seed in range(config.seed, config.seed + (seeds if trains else 1)):
                own = dataclasses.replace(
                    config,
                    name=f"{name}, {bits} bits, seed {seed}",
                    quantizer=dataclasses.replace(quantizer, bits=bits),
                    mmd=Mmd(epsilon=epsilon),
                    quantized=dataclasses.replace(config.quantized, iterations=iterations if trains else 0),
                    seed=seed,
                )
                network, _ = quantize(own, data, twin)
                laws = {
                    key: {"alpha": float(product.step.alpha), "gamma": float(product.step.gamma)}
                    for key, product in network.products().items()
                    if product.step is not None
                }
                db = error_db(held_out, refined(network, held_out))
                cells.append({"bits": bits, "method": name, "seed": seed, "db": db, "laws": laws})
    return {
        "iterations": iterations,
        "frames": config.frames,
        "twin_db": error_db(held_out, refined(twin, held_out)),
        "cells": cells,
    }


def table(result: dict[str, Any]) -> str:
    """A Markdown table: what quantization costs, in dB over the twin, mean and range over the seeds."""
    lines = [
        f"The twin: {result['twin_db']:+.3f} dB relative to LMMSE.",
        "",
        "| method |" + "".join(f" {bits} bits |" for bits in BITS),
        "|---|" + "---|" * len(BITS),
    ]
    for name in METHODS:
        row = f"| {name} |"
        for bits in BITS:
            losses = [
                cell["db"] - result["twin_db"]
                for cell in result["cells"]
                if (cell["method"], cell["bits"]) == (name, bits)
            ]
            spread = f" ({min(losses):+.3f} to {max(losses):+.3f})" if len(losses) > 1 else ""
            row += f" {mean(losses):+.3f} dB{spread} |"
        lines.append(row)
    kaq = [cell for cell in result["cells"] if cell["method"] == list(METHODS)[-1]]
    for bits in BITS:
        laws = next(cell["laws"] for cell in kaq if cell["bits"] == bits)
        steps = ", ".join(f"{name} {law['alpha']:+.2g} / {law['gamma']:.2g}" for name, law in laws.items())
        lines += ["", f"Laws that KAQ learned at {bits} bits, alpha / gamma: {steps}."]
    return "\n".join(lines)
