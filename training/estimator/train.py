# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in two stages, as of detectors: the full-precision twin, then the quantized network that starts as its twin.

The loss is the squared error over that of the frame's LMMSE estimate, so that every SNR counts alike, plus epsilon
times the MMD between the operands of the twin's products and of the quantized network's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..optimization import Stage, descend, learning_rate
from ..quantization.mmd import MmdLoss
from .config import Config
from .frames import FrameSource
from .network import EstimatorNet
from .windows import Windows, windows

__all__ = ["Batch", "draw_batch", "quantize", "train_twin", "training_windows"]

CALIBRATION_BATCHES = 8
HISTORY_ITERATIONS = 100


@dataclass(frozen=True)
class Batch:
    """Real and imaginary parts as N grids.

    Attributes:
        ls: (N, 52, 3).
        lmmse, target: (N, 52, 14).
        statistics: (N, 3).
        weight: (N,).
    """

    ls: Tensor
    lmmse: Tensor
    target: Tensor
    statistics: Tensor
    weight: Tensor


@dataclass
class History:
    """Mean loss and mean MMD over every `HISTORY_ITERATIONS` iterations."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    pending: list[tuple[float, float]] = field(default_factory=list)

    def add(self, iteration: int, loss: float, mmd: float) -> None:
        """Record an iteration."""
        self.pending.append((loss, mmd))
        if len(self.pending) == HISTORY_ITERATIONS:
            means = [sum(column) / HISTORY_ITERATIONS for column in zip(*self.pending, strict=True)]
            self.entries.append({"iteration": iteration + 1, "loss": means[0], "mmd": means[1]})
            self.pending.clear()


def training_windows(config: Config, progress: bool = True) -> Windows:
    """The frames of a configuration."""
    frames = FrameSource(config.data.timing, config.seed).random(config.data, config.frames)
    bar = tqdm(frames, total=config.frames, desc="frames", mininterval=0.5, disable=not progress)
    return windows(bar, config.data.windows, config.seed)


def draw_batch(data: Windows, size: int, generator: torch.Generator) -> Batch:
    """Random windows, each turned by a random phase, and half of them mirrored: as such a channel is as likely.

    Mirrored is conj(h(-f)), which has the delays of h.
    """
    chosen = torch.randint(len(data.truth), (size // 2,), generator=generator)
    turn = torch.polar(torch.ones(len(chosen)), 2 * torch.pi * torch.rand(len(chosen), generator=generator))

    mirrored = (torch.rand(len(chosen), generator=generator) < 0.5)[:, None, None]

    def parts(x: Tensor) -> Tensor:
        turned = x[chosen] * turn[:, None, None]
        turned = torch.where(mirrored, turned.flip(1).conj(), turned)
        return torch.cat([turned.real, turned.imag])

    return Batch(
        parts(data.ls),
        parts(data.lmmse),
        parts(data.target),
        data.statistics[chosen].repeat(2, 1),
        data.weight[chosen].repeat(2),
    )


def train_twin(config: Config, data: Windows, progress: bool = True) -> tuple[EstimatorNet, list[dict[str, Any]]]:
    """The full-precision network, and the history of its loss."""
    torch.manual_seed(config.seed)
    twin = EstimatorNet(config, quantized=False)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(twin.parameters())

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        return squared_error(twin(batch.ls, batch.lmmse, batch.statistics)[0], batch), torch.zeros(())

    history = _iterate(
        config, config.full_precision, data, twin, loss, optimizer, generator, "full precision", progress
    )
    return twin, history


def quantize(
    config: Config, data: Windows, twin: EstimatorNet, progress: bool = True
) -> tuple[EstimatorNet, list[dict[str, Any]]]:
    """The quantized network that starts as a twin, and the history of its loss."""
    network = EstimatorNet(config, quantized=True)
    generator = torch.Generator().manual_seed(config.seed + 1)
    with torch.no_grad():
        batches = [draw_batch(data, config.batch, generator) for _ in range(CALIBRATION_BATCHES)]
        operands = zip(*(twin(batch.ls, batch.lmmse, batch.statistics)[1] for batch in batches), strict=True)
        seen = [torch.cat(operand) for operand in operands]
    network.start_from(twin, seen, config.quantizer.start)
    mmd = MmdLoss(seen, config.mmd)
    parameters = [p for module in (network, mmd) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters)

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        refined, quantized = network(batch.ls, batch.lmmse, batch.statistics)
        match = torch.zeros(())
        if config.mmd.epsilon:
            with torch.no_grad():
                reference = twin(batch.ls, batch.lmmse, batch.statistics)[1]
            match = mmd(reference, quantized, generator)
        return squared_error(refined, batch), match

    history = _iterate(config, config.quantized, data, network, loss, optimizer, generator, "quantized", progress)
    return network, history


def squared_error(refined: Tensor, batch: Batch) -> Tensor:
    """Mean squared distance from the target over the squared error of the frame's LMMSE estimate."""
    # a grid is one of two real dimensions
    return 2 * ((refined - batch.target).square().mean((1, 2)) * batch.weight).mean()


def _iterate(
    config: Config,
    stage: Stage,
    data: Windows,
    network: EstimatorNet,
    loss: Any,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    name: str,
    progress: bool,
) -> list[dict[str, Any]]:
    history = History()
    bar = tqdm(range(stage.iterations), desc=f"{config.name} {name}", mininterval=0.5, disable=not progress)
    for iteration in bar:
        error, mmd = loss(draw_batch(data, config.batch, generator))
        descend(optimizer, learning_rate(stage, iteration), error + config.mmd.epsilon * mmd, network)
        history.add(iteration, error.item(), mmd.item())
        bar.set_postfix(loss=f"{error.item():.4f}", refresh=False)
    return history.entries
