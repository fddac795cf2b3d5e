# SPDX-License-Identifier: GPL-3.0-or-later
"""Random batches of a list detector: received vectors, and the paths that the search of gr_kaq finds for them.

The search itself has no gradient. What it finds is data; the paths' metrics are computed anew in torch (`network`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gr_kaq.detection.channel_levels import channel_levels
from gr_kaq.detection.list_model import ListModel
from gr_kaq.detection.list_preparation import prepare_list
from gr_kaq.detection.list_reference import matched_and_rotated
from gr_kaq.detection.list_search import NO_PATH, search
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.signal_model import Noise

from ..batches import complex_normal, draw_channels
from ..config import Channel
from .config import ListConfig

__all__ = ["Found", "Received", "draw", "find_paths", "weaken"]

RAYLEIGH = Channel()
STREAMS = 4
"""Of more streams than these a batch has fewer channels, of fewer streams more: all have as many bits."""


@dataclass(frozen=True)
class Received:
    """C channels, T vectors for each.

    Attributes:
        h: complex64 (C, num_rx, num_tx).
        y: complex64 (C, T, num_rx).
        noise_var: (C,), float64.
        levels: (num_tx, 2, C, T), level indices sent: real and imaginary part of each stream.
    """

    h: Tensor
    y: Tensor
    noise_var: np.ndarray
    levels: Tensor


@dataclass(frozen=True)
class Found:
    """What the search found, and what metrics and expectation propagation are made of; see `list_preparation`.

    n = num_tx streams in the order of the factor, N = 2 n levels in the order of the search, K paths.

    Attributes:
        paths: (N - 2, K, C, T), levels l, odd integers; the last stream has all of them.
        missing: bool (K, C, T), where there is no path.
        rotated: (N, C, T).
        diagonal: (N, C), R_pp of each level.
        coefficients: (N, N, C), exact.
        largest: (N, C), largest entry of each level's row.
        gram: complex64 (n, n, C).
        matched: complex64 (n, C, T).
        precision, mean_gain: (n, C).
        bits: (N, bits_per_dimension, C, T), sent, 0.0 or 1.0.
        prior: a^2.
    """

    paths: Tensor
    missing: Tensor
    rotated: Tensor
    diagonal: Tensor
    coefficients: Tensor
    largest: Tensor
    gram: Tensor
    matched: Tensor
    precision: Tensor
    mean_gain: Tensor
    bits: Tensor
    prior: float


def draw(config: ListConfig, generator: torch.Generator) -> Received:
    """The next batch of a generator: one size, one kind of channel, an SNR for each channel."""

    def choice(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    condition = config.conditions[choice(len(config.conditions))]
    kind = choice(3)
    spread = config.power_spreads_db[choice(len(config.power_spreads_db))] if config.power_spreads_db else 0.0
    num_rx, num_tx = condition.size
    count, num_vectors = max(1, config.batch[0] * STREAMS // num_tx), config.batch[1]
    channel = Channel("kronecker", config.correlation) if kind == 1 else RAYLEIGH
    h = draw_channels(channel, None, count, condition.size, generator)
    low, high = condition.snr_db
    snr_db = low + (high - low) * torch.rand(count, generator=generator)
    noise_var = num_tx / 10 ** (snr_db / 10)
    if kind == 2 and num_tx > 1:
        h = weaken(h, spread)
        noise_var = noise_var / 10 ** (spread / 10)  # the SNR is that of the weak streams
    constellation = CONSTELLATIONS[config.constellation]
    levels = torch.randint(constellation.num_levels, (num_tx, 2, count, num_vectors), generator=generator)
    parts = constellation.half_distance * (2 * levels - (constellation.num_levels - 1)).float()
    x = torch.complex(parts[:, 0], parts[:, 1]).permute(1, 2, 0)
    noise = complex_normal((count, num_vectors, num_rx), generator) * noise_var.sqrt()[:, None, None]
    return Received(h, x @ h.mT + noise, noise_var.double().numpy(), levels)


def weaken(h: Tensor, spread_db: float) -> Tensor:
    """Channels (C, num_rx, num_tx) with the second half of the streams weaker by `spread_db`."""
    gains = torch.ones(h.shape[-1])
    gains[(h.shape[-1] + 1) // 2 :] = 10 ** (-spread_db / 20)
    return h * gains


def find_paths(model: ListModel, received: Received) -> Found:
    """Prepare the channels and search, as the reference does."""
    gain, noise_var = channel_levels(received.h.numpy(), Noise(noise_var=received.noise_var))
    channels = prepare_list(model, received.h.numpy(), gain, noise_var)
    matched, rotated = matched_and_rotated(channels, received.y.numpy())
    survivors = search(model, channels, rotated)
    n = channels.order.shape[0]
    order = torch.from_numpy(np.array(channels.order, np.int64))
    levels = received.levels.numpy()
    sent = np.take_along_axis(levels, order.numpy()[:, None, :, None], axis=0)[::-1].reshape(2 * n, *levels.shape[2:])
    bits = np.moveaxis(model.constellation.level_bits[sent], -1, 1).astype(np.float32)

    def by_level(real: np.ndarray, imaginary: np.ndarray) -> Tensor:
        """(n, ...) of each part to (N, ...): level 2 s + q is of place n - 1 - s."""
        return torch.from_numpy(np.stack([real, imaginary], 1)[::-1].reshape(2 * n, *real.shape[1:]).copy())

    lower = torch.complex(torch.from_numpy(channels.gram.re), torch.from_numpy(channels.gram.im)).movedim(-1, 0)
    strict = lower.tril(-1)
    gram = strict + strict.mH + torch.diag_embed(lower.diagonal(dim1=1, dim2=2))
    coefficients = torch.from_numpy(channels.coefficients)
    # both rows of a place have the same entries, but for the sign of one: it needs no maximum over the two
    return Found(
        paths=torch.from_numpy(2.0 * survivors.paths.astype(np.float32) - (model.constellation.num_levels - 1)),
        missing=torch.from_numpy(survivors.metrics >= NO_PATH),
        rotated=by_level(*rotated),
        diagonal=by_level(channels.diagonal, channels.diagonal),
        coefficients=coefficients,
        largest=coefficients.abs().amax(1),
        gram=gram.movedim(0, -1),
        matched=torch.complex(torch.from_numpy(matched[0]), torch.from_numpy(matched[1])),
        precision=torch.from_numpy(channels.precision),
        mean_gain=torch.from_numpy(channels.mean_gain),
        bits=torch.from_numpy(bits),
        prior=float(np.float32(model.constellation.half_distance) ** 2),
    )
