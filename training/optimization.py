# SPDX-License-Identifier: GPL-3.0-or-later
"""How networks descend: where, the settings of a stage, the learning rate, and one step of Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import at_least
from .quantization.laws import Law

__all__ = ["DEVICE", "Stage", "descend", "learning_rate"]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where networks compute. Batches are drawn on the CPU, so that they are the same."""

CLIP_NORM = 1.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True)
class Stage:
    """One of the two stages: the full-precision twin's training, or the quantized network's.

    Args:
        iterations: batches. 0 of the quantized stage is post-training quantization: its twin with calibrated steps.
        learning_rate: Adam's, at the start. It falls to zero along a cosine, or
        halve_every: is halved every so many iterations.
    """

    iterations: int
    learning_rate: float
    halve_every: int | None = None

    def __post_init__(self) -> None:
        at_least("iterations", self.iterations, 0)


def learning_rate(stage: Stage, iteration: int) -> float:
    """Learning rate of an iteration, see `Stage`."""
    if stage.halve_every is not None:
        return stage.learning_rate * 0.5 ** (iteration // stage.halve_every)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * iteration / stage.iterations))


def descend(optimizer: torch.optim.Optimizer, rate: float, loss: Tensor, network: nn.Module) -> None:
    """One step down a loss, with the network's gradient clipped and its laws kept to what they may be."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
    optimizer.step()
    for module in network.modules():
        if isinstance(module, Law):
            module.constrain()
