# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the forecaster.

The loss is by how many nepers the error is above the least possible one, for each stream and horizon, plus beta times
the clustering loss. In the last quarter the heads are rounded, and the rest is trained with quantized products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gr_kaq.commands.long_run import progress_bar
from gr_kaq.forecasting.ccm import features

from ..optimization import DEVICE
from ..quantization.quantizers import calibrated_step
from .config import Config
from .network import NOISE_LEVELS, ForecasterNet, cluster_loss
from .rounding import rounded_heads
from .series import Batch, draw, expected_error

__all__ = ["excess_db", "inputs_of", "loss_of", "train"]

Forecaster = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, list[Tensor]]]

BETA = 0.1
RATE = 1e-3
STARTED = 0.03  # of the rate: for what starts near where it has to be
SCENES = 8
SHARE_QUANTIZED = 0.25


def inputs_of(batch: Batch) -> Tensor:
    """What the network sees of a batch on the CPU, see `ForecasterNet.forward`."""
    return torch.from_numpy(features(batch.samples.numpy(), batch.noise.numpy()))


def _stream_errors(batch: Batch, errors: Tensor) -> Tensor:
    """Sums over the series of each stream, weighted by power, (streams, B, HORIZONS)."""
    weighted = errors * batch.powers[..., None]
    return torch.stack([weighted[:, np.flatnonzero(batch.streams == s)].sum(1) for s in np.unique(batch.streams)])


def excess_db(batch: Batch, weights: Tensor) -> Tensor:
    """By how much the expected error is above the least one, (streams, B, HORIZONS)."""
    ratio = _stream_errors(batch, expected_error(batch, weights)) / _stream_errors(batch, batch.least)
    return 10 * torch.log10(ratio)


def loss_of(network: Forecaster, batch: Batch, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and by how many nepers the error is above the least one.

    Args:
        network: or a function that does the same.
        batch, inputs: the series and `inputs_of` them, on the network's device.
    """
    weights, log_errors, p, _ = network(inputs)
    errors = expected_error(batch, weights)
    excess = torch.log(_stream_errors(batch, errors) / _stream_errors(batch, batch.least)).mean()
    told = torch.mean((log_errors - torch.log(errors.detach())) ** 2)
    return excess + BETA * cluster_loss(inputs, p) + 0.05 * told, excess.detach()


def train(config: Config) -> tuple[ForecasterNet, ForecasterNet]:
    """The network in floating point, and the quantized one that starts as it; both on the CPU."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    twin = ForecasterNet().to(DEVICE)
    float_steps = round(config.steps * (1 - SHARE_QUANTIZED))
    bar = progress_bar(total=config.steps, desc=config.name, mininterval=0.5)
    _optimize(twin, rng, float_steps, RATE, config.size, bar)
    quantized = ForecasterNet(config.bits).to(DEVICE)
    quantized.load_state_dict(twin.state_dict(), strict=False)
    with torch.no_grad():
        seen = twin.eval()(inputs_of(draw(rng, 4 * SCENES)).to(DEVICE))[3]
    for product, operand in zip(quantized.products().values(), seen, strict=True):
        assert product.step is not None
        step = calibrated_step(operand.flatten()[::7], config.bits, "mse", product.unsigned)
        product.step.start_at(step.reshape(1))
    with torch.no_grad():
        rounded = rounded_heads(twin.heads.cpu().numpy(), 10**NOISE_LEVELS, config.bits)
        quantized.heads.copy_(torch.from_numpy(rounded))
    quantized.heads.requires_grad = False
    _optimize(quantized, rng, config.steps - float_steps, RATE / 4, config.size, bar)
    bar.close()
    return twin.cpu(), quantized.cpu().eval()


def _optimize(
    network: ForecasterNet, rng: np.random.Generator, steps: int, rate: float, size: tuple[int, int], bar: Any
) -> None:
    network.train()
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    started = [trained.pop(name) for name in ("heads", "prototypes") if name in trained]
    rates = [rate, STARTED * rate]
    groups = [{"params": part, "lr": of} for part, of in zip((list(trained.values()), started), rates, strict=True)]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, max(steps, 2), pct_start=0.1)
    for _ in range(steps):
        batch = draw(rng, SCENES, *size)
        loss, excess = loss_of(network, batch.to(DEVICE), inputs_of(batch).to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix_str(f"{10 / np.log(10) * float(excess):.2f} dB above the bound", refresh=False)
        bar.update()
