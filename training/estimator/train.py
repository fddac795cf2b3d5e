# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in two stages, as of detectors: the full-precision twin, then the quantized network that starts as its twin.

The loss is the squared error over that of the frame's LMMSE estimate, so that every SNR counts alike, plus epsilon
times the MMD between the operands of the twin's products and of the quantized network's.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gr_kaq.commands.long_run import progress_bar

from ..optimization import DEVICE, Stage, descend, learning_rate
from ..quantization.mmd import MmdLoss
from .config import Config
from .frames import FrameSource
from .network import EstimatorNet
from .windows import Windows, windows

__all__ = [
    "Batch",
    "calibration_operands",
    "calibration_windows",
    "draw_batch",
    "quantize",
    "train_twin",
    "training_windows",
]

CALIBRATION_BATCHES = 8
CALIBRATION_FRAMES = 1000
CALIBRATION_ROWS = 8192  # of a batch
CHECKPOINT_SECONDS = 30.0
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

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


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
    bar = progress_bar(frames, total=config.frames, desc="frames", mininterval=0.5, disable=not progress)
    return windows(bar, config.data.windows, config.seed)


def calibration_windows(config: Config) -> Windows:
    """Frames to calibrate on: at most `CALIBRATION_FRAMES` of those of a configuration, which train it, too."""
    return training_windows(dataclasses.replace(config, frames=min(config.frames, CALIBRATION_FRAMES)), progress=False)


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


def train_twin(
    config: Config,
    data: Windows,
    progress: bool = True,
    checkpoint: Path | None = None,
    start: EstimatorNet | None = None,
) -> tuple[EstimatorNet, list[dict[str, Any]]]:
    """The full-precision network, and the history of its loss.

    Args:
        config: the training.
        data: what to train on.
        progress: show a progress bar.
        checkpoint: file that the state is kept in; what was interrupted goes on from there.
        start: network of this shape to start from; None: from scratch.
    """
    torch.manual_seed(config.seed)
    twin = EstimatorNet(config, quantized=False).to(DEVICE)
    if start is not None:
        twin.load_state_dict(start.state_dict())
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(twin.parameters())

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        refined = twin(batch.ls, batch.lmmse, batch.statistics)[0]
        return squared_error(refined, batch), torch.zeros((), device=DEVICE)

    history = _iterate(
        config, config.full_precision, data, twin, loss, optimizer, generator, "full precision", progress, checkpoint
    )
    return twin, history


def quantize(
    config: Config, data: Windows, twin: EstimatorNet, progress: bool = True, checkpoint: Path | None = None
) -> tuple[EstimatorNet, list[dict[str, Any]]]:
    """The quantized network that starts as a twin, and the history of its loss; see `train_twin`."""
    network = EstimatorNet(config, quantized=True).to(DEVICE)
    generator = torch.Generator().manual_seed(config.seed + 1)
    network.start_from(twin, calibration_operands(twin, data, config.batch, generator))
    if not config.quantized.iterations:
        network.merge()
        return network, []
    reference = network.in_full_precision()  # the twin, with scales as in the network
    batch = draw_batch(data, config.batch, torch.Generator().manual_seed(config.seed + 1)).to(DEVICE)
    mmd = MmdLoss(_operands(reference, batch), config.mmd)
    parameters = [p for module in (network, mmd) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters)

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        refined, quantized = network(batch.ls, batch.lmmse, batch.statistics)
        match = torch.zeros((), device=DEVICE)
        if config.mmd.epsilon:
            match = mmd(_operands(reference, batch), quantized, generator)
        return squared_error(refined, batch), match

    history = _iterate(
        config, config.quantized, data, network, loss, optimizer, generator, "quantized", progress, checkpoint, mmd
    )
    network.merge()
    return network, history


def calibration_operands(twin: EstimatorNet, data: Windows, batch: int, generator: torch.Generator) -> list[Tensor]:
    """What each product of a full-precision network sees in `CALIBRATION_BATCHES` batches, (rows, channels) each."""
    seen = []
    for _ in range(CALIBRATION_BATCHES):
        operands = (x.flatten(0, -2) for x in _operands(twin, draw_batch(data, batch, generator).to(DEVICE)))
        seen.append([x[:: -(-len(x) // CALIBRATION_ROWS)].clone() for x in operands])
    return [torch.cat(operand) for operand in zip(*seen, strict=True)]


@torch.no_grad()
def _operands(network: EstimatorNet, batch: Batch) -> list[Tensor]:
    return network(batch.ls, batch.lmmse, batch.statistics)[1]


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
    checkpoint: Path | None,
    *others: torch.nn.Module,
) -> list[dict[str, Any]]:
    history, first = History(), 0
    parts: dict[str, Any] = {
        "network": network,
        "optimizer": optimizer,
        **{f"other{i}": part for i, part in enumerate(others)},
    }
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(state[key])
        generator.set_state(state["generator"])
        first, history = state["iteration"], History(state["entries"], state["pending"])
    saved = time.monotonic()
    bar = progress_bar(
        range(first, stage.iterations),
        desc=f"{config.name} {name}",
        total=stage.iterations,
        initial=first,
        mininterval=0.5,
        disable=not progress,
    )
    for iteration in bar:
        error, mmd = loss(draw_batch(data, config.batch, generator).to(DEVICE))
        descend(optimizer, learning_rate(stage, iteration), error + config.mmd.epsilon * mmd, network)
        history.add(iteration, error.item(), mmd.item())
        bar.set_postfix(loss=f"{error.item():.4f}", refresh=False)
        done = iteration + 1 == stage.iterations
        if checkpoint is not None and (done or time.monotonic() - saved > CHECKPOINT_SECONDS):
            state = {key: part.state_dict() for key, part in parts.items()}
            state |= {"generator": generator.get_state(), "iteration": iteration + 1}
            temporary = checkpoint.with_suffix(".part")
            torch.save({**state, "entries": history.entries, "pending": history.pending}, temporary)
            temporary.replace(checkpoint)  # a crash while writing leaves the previous one
            saved = time.monotonic()
    return history.entries
