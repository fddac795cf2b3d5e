# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the forecaster: python -m training.forecaster.train --out FILE.

The loss is by how many nepers the error is above the least possible one, for each stream and horizon, plus beta times
the clustering loss. Quantization is trained in the last quarter (8 bits, with `--bits`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gr_kaq.forecasting.ccm import features

from ..quantization.quantizers import calibrated_step
from .network import ForecasterNet, cluster_loss
from .series import Batch, draw, expected_error

__all__ = ["excess_db", "main", "train"]

BETA = 0.1
RATE = 2e-3
SCENES = 8
SHARE_QUANTIZED = 0.25


def _features(batch: Batch) -> Tensor:
    return torch.from_numpy(features(batch.samples.numpy(), batch.noise.numpy()))


def _stream_errors(batch: Batch, errors: Tensor) -> Tensor:
    """Sums over the series of each stream, weighted by power, (streams, B, HORIZONS)."""
    weighted = errors * batch.powers[..., None]
    return torch.stack([weighted[:, batch.streams == s].sum(1) for s in torch.unique(batch.streams)])


def excess_db(batch: Batch, weights: Tensor) -> Tensor:
    """By how much the expected error is above the least one, (streams, B, HORIZONS)."""
    ratio = _stream_errors(batch, expected_error(batch, weights)) / _stream_errors(batch, batch.least)
    return 10 * torch.log10(ratio)


def train(
    steps: int, seed: int, bits: int | None, size: tuple[int, int] = (2, 2)
) -> tuple[ForecasterNet, ForecasterNet]:
    """Networks in floating point and quantized, after so many steps in all; without bits, both are the same."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = quantized = ForecasterNet()
    float_steps = steps if bits is None else round(steps * (1 - SHARE_QUANTIZED))
    bar = tqdm(total=steps, disable=None, mininterval=5)
    _optimize(network, rng, float_steps, RATE, size, bar)
    if bits is not None:
        quantized = ForecasterNet(bits)
        quantized.load_state_dict(network.state_dict(), strict=False)
        with torch.no_grad():
            seen = network.eval()(_features(draw(rng, 4 * SCENES)))[3]
        for product, operand in zip(quantized.products().values(), seen, strict=True):
            assert product.step is not None
            product.step.start_at(calibrated_step(operand.flatten()[::7], bits, "mse", product.unsigned).reshape(1))
        _optimize(quantized, rng, steps - float_steps, RATE / 4, size, bar)
    bar.close()
    return network.eval(), quantized.eval()


def _optimize(
    network: ForecasterNet, rng: np.random.Generator, steps: int, rate: float, size: tuple[int, int], bar: tqdm
) -> None:
    network.train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, max(steps, 2), pct_start=0.1)
    for _ in range(steps):
        batch = draw(rng, SCENES, *size)
        inputs = _features(batch)
        weights, log_errors, p, _ = network(inputs)
        errors = expected_error(batch, weights)
        excess = torch.log(_stream_errors(batch, errors) / _stream_errors(batch, batch.least)).mean()
        told = torch.mean((log_errors - torch.log(errors.detach())) ** 2)
        loss = excess + BETA * cluster_loss(inputs, p) + 0.05 * told
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix_str(f"{10 / np.log(10) * float(excess.detach()):.2f} dB above the bound", refresh=False)
        bar.update()


def main(arguments: list[str] | None = None) -> int:
    """Train, save, and say how far it is above the bound on scenes that it has not seen."""
    parser = argparse.ArgumentParser(prog="python -m training.forecaster.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="weights to write (.pt)")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bits", type=int, choices=range(2, 9), help="of the operands (default: floating point)")
    parser.add_argument("--size", type=int, nargs=2, default=(2, 2), metavar=("RX", "TX"), help="of the scenes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for network, path in zip(
        train(options.steps, options.seed, options.bits, tuple(options.size)),
        (options.out.with_suffix(".float.pt"), options.out),
        strict=True,
    ):
        torch.save(network.state_dict(), path)
        with torch.no_grad():
            batch = draw(np.random.default_rng(10**6 + options.seed), 100, *options.size)
            found = excess_db(batch, network(_features(batch))[0]).mean((0, 1)).numpy()
        print(f"{path}: above the bound by {np.round(found[[0, 1, 3, 7, 19]], 2)} dB, 1, 2, 4, 8, 20 frames ahead")
    return 0


if __name__ == "__main__":
    sys.exit(main())
