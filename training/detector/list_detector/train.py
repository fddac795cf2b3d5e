# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in two stages: the full-precision twin, then the quantized detector that starts as its twin.

Both minimise the binary cross-entropy of the LLRs in bits, which is 1 minus the mutual information per coded bit; the
second one adds epsilon times the MMD between the twin's LLRs and its own. It takes minutes, and starts over where it
was interrupted.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gr_kaq.commands.long_run import progress_bar

from ...config import ConfigError
from ...optimization import Stage, descend, learning_rate
from ...quantization.mmd import MmdLoss
from .batches import Found, draw, find_paths
from .config import ListConfig
from .export import list_model
from .network import ListNet, SoftOutput

__all__ = ["CHECKPOINT", "ListRun", "cross_entropy", "load", "train"]

CHECKPOINT = "checkpoint.pt"
STAGES = ("full_precision", "quantized")
HISTORY_ITERATIONS = 25


@dataclass
class ListRun:
    """What a run is made of.

    Attributes:
        config: what to train.
        twin, network: the full-precision detector and the quantized one.
        history: means over `HISTORY_ITERATIONS` iterations each: stage, iteration, loss, mmd, and the step's alpha and
            gamma.
        seconds: spent in training.
    """

    config: ListConfig
    twin: ListNet
    network: ListNet
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def start(cls, config: ListConfig) -> ListRun:
        """A run before its first iteration."""
        return cls(config, ListNet(config, False), ListNet(config, True))

    def save(self, directory: Path) -> None:
        """Write the finished run's networks."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {"config": self.config.to_dict(), "twin": self.twin.state_dict(), "network": self.network.state_dict()}
        torch.save(state, directory / CHECKPOINT)


def load(directory: Path, config: ListConfig) -> ListRun:
    """The finished run in `directory`.

    Raises:
        ConfigError: there is none, or it was another configuration's.
    """
    try:
        state = torch.load(directory / CHECKPOINT, weights_only=True)
    except OSError:
        raise ConfigError(f"{directory}: no {CHECKPOINT}, so this is no finished run; train it first") from None
    if state["config"] != config.to_dict():
        raise ConfigError(f"{directory}: holds a run with another configuration; train it again")
    run = ListRun.start(config)
    run.twin.load_state_dict(state["twin"])
    run.network.load_state_dict(state["network"])
    return run


def cross_entropy(output: SoftOutput, found: Found) -> Tensor:
    """Of the LLRs, in bits per coded bit."""
    return torch.nn.functional.binary_cross_entropy_with_logits(output.llrs, found.bits) / math.log(2)


def train(run: ListRun, *, twin: bool = True, progress: bool = True) -> None:
    """Train both stages.

    Args:
        run: what to train.
        twin: False takes the full-precision stage to be done.
        progress: show a progress bar.
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    if twin:
        _stage(run, 0, generator, None, progress)
    generator.manual_seed(run.config.seed + 1)
    run.network.start_from(run.twin)
    if run.config.quantized.iterations:
        _stage(run, 1, generator, _mmd(run), progress)


def _mmd(run: ListRun) -> MmdLoss | None:
    """The distribution match, with the bandwidths of a first batch."""
    if run.config.mmd.epsilon == 0:
        return None
    generator = torch.Generator().manual_seed(run.config.seed)
    with torch.no_grad():
        found = find_paths(list_model(run.config, run.twin), draw(run.config, generator))
        return MmdLoss(_compared(run.twin(found)), run.config.mmd)


def _compared(output: SoftOutput) -> list[Tensor]:
    """What of a detector is matched in distribution: LLRs by the list, and fused ones; (C, T, N bits) each."""
    limit = 16.0  # larger ones say as much
    return [t.clamp(-limit, limit).permute(2, 3, 0, 1).flatten(2) for t in (output.of_list, output.llrs)]


def _stage(run: ListRun, number: int, generator: torch.Generator, mmd: MmdLoss | None, progress: bool) -> None:
    config, name = run.config, STAGES[number]
    network = run.network if number else run.twin
    stage: Stage = getattr(config, name)
    trained = [p for module in (network, mmd) if module is not None for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=stage.learning_rate)
    began, pending = time.monotonic(), []
    description = f"{config.name} {name}"
    for iteration in progress_bar(range(stage.iterations), desc=description, mininterval=0.5, disable=not progress):
        received = draw(config, generator)
        found = find_paths(list_model(config, network), received)
        output = network(found)
        loss = entropy = cross_entropy(output, found)
        distance = torch.zeros(())
        if mmd is not None:
            with torch.no_grad():
                reference = run.twin(find_paths(list_model(config, run.twin), received))
            distance = mmd(_compared(reference), _compared(output), generator)
            loss = loss + config.mmd.epsilon * distance
        descend(optimizer, learning_rate(stage, iteration), loss, network)
        pending.append((float(entropy.detach()), float(distance.detach())))
        if len(pending) == HISTORY_ITERATIONS or iteration + 1 == stage.iterations:
            means = [sum(column) / len(pending) for column in zip(*pending, strict=True)]
            step = {"alpha": float(network.alpha.detach()), "gamma": float(network.gamma.detach())} if number else {}
            entry = {"stage": name, "iteration": iteration + 1, "loss": means[0], "mmd": means[1], **step}
            run.history.append(entry)
            pending.clear()
    run.seconds += time.monotonic() - began
