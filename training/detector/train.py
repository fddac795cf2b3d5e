# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in two stages: the full-precision twin, then the quantized network that starts as its twin.

A run is a directory with `checkpoint.pt`. A run that was interrupted goes on from there, and ends bit for bit as one
that was not: the checkpoint holds the state of the one random generator as well. (With the same torch, number of
threads and processor.) Batches are drawn on the CPU, so that they are the same where a GPU computes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.signals.constellation import CONSTELLATIONS

from ..config import ConfigError
from ..optimization import DEVICE, Stage, descend, learning_rate
from ..quantization.mmd import MmdLoss
from ..quantization.quantizers import PACT_DECAY
from .batches import Batch, draw_batch, training_packets
from .config import Config
from .initial_model import initial_model, start_from
from .networks import NetworkOutput, UnfoldedNet, build

__all__ = ["CHECKPOINT", "NO_PART_IN_TWIN", "STAGES", "Run", "TrainingInterruptedError", "train"]

CHECKPOINT = "checkpoint.pt"
STAGES = ("full_precision", "quantized")
CHECKPOINT_SECONDS = 30.0
HISTORY_ITERATIONS = 25
CALIBRATION_BATCHES = 16
CALIBRATION_SEED = 2_000_000
NO_PART_IN_TRAINING = frozenset({"name", "evaluation"})
NO_PART_IN_TWIN = NO_PART_IN_TRAINING | {"activation_bits", "matrix_bits", "quantized", "quantizer", "mmd"}
"""Keys of the configuration that the full-precision twin does not depend on."""


class TrainingInterruptedError(Exception):
    """Training was interrupted; a checkpoint was written."""


@dataclass
class Run:
    """Everything that a run consists of between two iterations.

    Attributes:
        config: what to train.
        twin, network: the full-precision network and the quantized one.
        mmd: once the second stage has begun.
        generator: the one source of randomness, but for the batches of a calibration.
        device: what computes.
        stage, iteration: how far it got; the stages are those of `STAGES`.
        history: means over `HISTORY_ITERATIONS` iterations each: stage, iteration, loss, mse, mmd.
        seconds: spent in training.
    """

    config: Config
    twin: UnfoldedNet
    network: UnfoldedNet
    generator: torch.Generator
    packets: Tensor | None
    device: torch.device
    mmd: MmdLoss | None = None
    optimizer: torch.optim.Optimizer | None = None
    stage: int = 0
    iteration: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    pending: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def start(cls, config: Config) -> Run:
        """A run before its first iteration."""
        packets = training_packets(config.channel, config.sizes[0]) if config.channel.kind == "recorded" else None
        generator = torch.Generator().manual_seed(config.seed)
        twin, network = (build(config, quantized).to(DEVICE) for quantized in (False, True))
        model = initial_model(config)
        if model is not None:
            start_from(twin, model)
        run = cls(config, twin, network, generator, packets, DEVICE)
        run.begin_stage(0)
        return run

    @classmethod
    def resume(cls, directory: Path, config: Config) -> Run:
        """The run whose checkpoint lies in `directory`.

        Raises:
            ConfigError: it was another configuration's.
        """
        return cls._restore(directory, config, NO_PART_IN_TRAINING)

    @classmethod
    def from_twin(cls, directory: Path, config: Config) -> Run:
        """A run that is done with its first stage, which another run did in `directory`; see `train`.

        It goes on as if it had trained the twin itself.

        Raises:
            ConfigError: that one was another twin.
        """
        return cls._restore(directory, config, NO_PART_IN_TWIN)

    @classmethod
    def _restore(cls, directory: Path, config: Config, ignored: frozenset[str]) -> Run:
        state = load_checkpoint(directory)
        stored, given = state["config"], config.to_dict()
        keys = (stored.keys() | given.keys()) - ignored
        different = sorted(k for k in keys if stored.get(k) != given.get(k))
        if different:
            raise ConfigError(
                f"{directory}: holds a run with another configuration (differs in: {', '.join(different)}); "
                "start over with --fresh, or choose another --output"
            )
        run = cls.start(config)
        run.twin.load_state_dict(state["twin"])
        if state["stage"]:
            run.begin_stage(1)
            assert run.mmd is not None
            run.network.load_state_dict(state["network"])
            run.mmd.load_state_dict(state["mmd"])
        assert run.optimizer is not None
        run.optimizer.load_state_dict(state["optimizer"])
        run.generator.set_state(state["generator"])
        run.iteration, run.history, run.pending = state["iteration"], state["history"], state["pending"]
        run.seconds = state["seconds"]
        return run

    def save(self, directory: Path) -> None:
        """Write the checkpoint; a crash while writing leaves the previous one."""
        assert self.optimizer is not None
        state = {
            "config": self.config.to_dict(),
            "twin": self.twin.state_dict(),
            "network": self.network.state_dict(),
            "mmd": None if self.mmd is None else self.mmd.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "stage": self.stage,
            "iteration": self.iteration,
            "history": self.history,
            "pending": self.pending,
            "seconds": self.seconds,
        }
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / (CHECKPOINT + ".part")
        torch.save(state, temporary)
        os.replace(temporary, directory / CHECKPOINT)

    def begin_stage(self, stage: int) -> None:
        """Prepare the first or the second stage."""
        self.stage, self.iteration = stage, 0
        trained: list[nn.Module] = [self.twin]
        if stage == 1:
            batch = self.draw(self.generator)
            # other calibrations than the default have a generator of their own, so that all train on the same batches
            source = torch.Generator().manual_seed(CALIBRATION_SEED + self.config.seed)
            several = self.config.quantizer.start != "lsq"
            batches = [self.draw(source) for _ in range(CALIBRATION_BATCHES)] if several else [batch]
            self.network.start_from(self.twin, batches)
            with torch.no_grad():
                self.mmd = MmdLoss(self.twin(batch).activations, self.config.mmd)
            trained = [self.network, self.mmd]
        parameters = [p for module in trained for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(parameters, lr=self._stage().learning_rate)

    def draw(self, generator: torch.Generator) -> Batch:
        """The next batch of a generator."""
        config = self.config
        size = config.sizes[int(torch.randint(len(config.sizes), (1,), generator=generator))]
        constellation = CONSTELLATIONS[config.constellation]
        batch = draw_batch(
            config.channel,
            self.packets,
            constellation,
            config.batch,
            size,
            config.snr_db,
            generator,
            config.csi_error,
        )
        return batch.to(self.device)

    def step(self) -> float:
        """One iteration; returns its loss."""
        assert self.optimizer is not None
        batch = self.draw(self.generator)
        network = self.network if self.stage else self.twin
        output = network(batch)
        mse = symbol_loss(self.config, batch, output)
        mmd = torch.zeros((), device=self.device)
        if self.mmd is not None:
            with torch.no_grad():
                reference = self.twin(batch).activations
            mmd = self.mmd(reference, output.activations, self.generator)
        loss = mse + self.config.mmd.epsilon * mmd
        if self.stage and self.config.quantizer.step == "pact":
            loss = loss + PACT_DECAY * network.clip_values(batch).square().mean(0).sum()
        descend(self.optimizer, learning_rate(self._stage(), self.iteration), loss, network)
        self.iteration += 1
        values = torch.stack([loss, mse, mmd]).tolist()
        self._record(values)
        return values[0]

    def _stage(self) -> Stage:
        return getattr(self.config, STAGES[self.stage])

    def _record(self, values: list[float]) -> None:
        self.pending.append(values)
        if len(self.pending) == HISTORY_ITERATIONS or self.iteration == self._stage().iterations:
            loss, mse, mmd = (sum(column) / len(self.pending) for column in zip(*self.pending, strict=True))
            entry = {"stage": STAGES[self.stage], "iteration": self.iteration, "loss": loss, "mse": mse, "mmd": mmd}
            self.history.append(entry)
            self.pending.clear()


def load_checkpoint(directory: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, nothing that could execute."""
    return torch.load(directory / CHECKPOINT, weights_only=True, map_location="cpu")


def symbol_loss(config: Config, batch: Batch, output: NetworkOutput) -> Tensor:
    """Mean squared error of the outputs, and a little of the intermediate layers', against the symbols sent."""

    def error(estimates: list[Tensor]) -> Tensor:
        return torch.stack([(estimate - batch.x).square().mean() for estimate in estimates])

    loss = error(output.outputs).sum()
    if output.intermediate:
        loss = loss + config.intermediate_weight * error(output.intermediate).mean()
    return loss


def train(run: Run, directory: Path, *, last_stage: int = 1, progress: bool = True) -> None:
    """Train to the end of a stage, with checkpoints in `directory`.

    Args:
        run: what to train.
        directory: for `Run.resume`, or after stage 0 for `Run.from_twin`.
        last_stage: 0 trains the twin only.
        progress: show a progress bar.

    Raises:
        TrainingInterruptedError: by SIGINT or SIGTERM, after the iteration under way and a checkpoint.
    """
    with _signals_noted() as stop:
        saved = time.monotonic()
        while True:
            total = getattr(run.config, STAGES[run.stage]).iterations
            name = f"{run.config.name} {STAGES[run.stage]}"
            with progress_bar(
                total=total, initial=run.iteration, desc=name, mininterval=0.5, disable=not progress
            ) as bar:
                while run.iteration < total:
                    began = time.monotonic()
                    loss = run.step()
                    now = time.monotonic()
                    run.seconds += now - began
                    bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
                    bar.update()
                    if stop.is_set() or now - saved > CHECKPOINT_SECONDS:
                        run.save(directory)
                        saved = now
                    if stop.is_set():
                        raise TrainingInterruptedError
            if run.stage >= last_stage:
                break
            run.begin_stage(1)
    run.save(directory)


@contextlib.contextmanager
def _signals_noted() -> Iterator[threading.Event]:
    """Within, SIGINT and SIGTERM set the event instead of raising in the middle of an iteration."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
