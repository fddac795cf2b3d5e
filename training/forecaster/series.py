# SPDX-License-Identifier: GPL-3.0-or-later
"""Series to train on, together with their statistics.

With these, the error of a linear forecast is known exactly, without anything having to come: the loss has no noise of
targets, and how far it is above the least possible error is known, too. No seed's sinusoids can be learned by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr_kaq.forecasting.ccm import HISTORY, HORIZONS

__all__ = ["Batch", "draw", "expected_error"]

DOPPLERS = (1e-3, 0.45)  # cycles per frame
SNR_DB = (0.0, 35.0)
WEAKEST_TAP_DB = -25.0
ANGLES = 96
AGES = np.arange(1 - HISTORY, 1.0)
AHEAD = np.arange(1.0, HORIZONS + 1)


@dataclass(frozen=True, eq=False)
class Batch:
    """Scenes of S series each.

    Attributes:
        samples: complex64 (B, S, HISTORY), estimates.
        noise: variance of their errors, (B, S).
        powers: mean |g|^2, (B, S).
        covariance: of the estimates over the power, complex64 (B, S, HISTORY, HISTORY).
        across: between them and what comes, over the power, complex64 (B, S, HISTORY, HORIZONS).
        least: the least possible error over the power, (B, S, HORIZONS).
        streams: which stream of its scene a series is of, int64 (S,); it stays on the CPU.
    """

    samples: Tensor
    noise: Tensor
    powers: Tensor
    covariance: Tensor
    across: Tensor
    least: Tensor
    streams: NDArray[np.int64]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def draw(rng: np.random.Generator, scenes: int, num_rx: int = 2, num_tx: int = 2, num_taps: int = 6) -> Batch:
    """Scenes at random: a stream has a Doppler, perhaps a line of sight in one tap, perhaps taps that stand still."""
    shape = (scenes, num_taps, num_tx)
    doppler = np.exp(rng.uniform(np.log(DOPPLERS[0]), np.log(DOPPLERS[1]), (scenes, 1, num_tx)))
    same = rng.random((scenes, 1, 1)) < 0.3  # one speed for all: the homogeneous case
    doppler = np.where(same, doppler[:, :, :1], doppler)
    strongest = rng.integers(num_taps, size=(scenes, 1, num_tx)) == np.arange(num_taps)[:, None]
    line = strongest * (rng.random((scenes, 1, num_tx)) < 0.3) * rng.uniform(0.2, 0.98, (scenes, 1, num_tx))
    shift = doppler * np.cos(2 * np.pi * rng.random((scenes, 1, num_tx)))
    still = (rng.random((scenes, 1, num_tx)) < 0.2) & (rng.random(shape) < 0.4)
    spread = np.where(still, 0.0, doppler)
    taps_db = np.where(strongest, 0, rng.uniform(WEAKEST_TAP_DB, 0, shape))
    noise = np.broadcast_to(10 ** (-rng.uniform(*SNR_DB, (scenes, 1, 1)) / 10), shape)

    def repeated(values: np.ndarray) -> np.ndarray:  # the antennas of a tap have its statistics
        wide = np.broadcast_to(values[:, :, None], (scenes, num_taps, num_rx, num_tx))
        return np.ascontiguousarray(wide).reshape(scenes, -1)

    spread, line, shift, noise = (repeated(np.broadcast_to(x, shape)) for x in (spread, line, shift, noise))
    powers = repeated(10 ** (taps_db / 10))
    scattered = _bessel(spread[..., None] * np.arange(HISTORY + HORIZONS))
    lags = (AGES[:, None] - AGES).astype(int)
    within, ahead = np.abs(lags), np.abs(AGES[:, None] - AHEAD).astype(int)
    diffuse = (1 - line)[..., None, None]
    root = np.linalg.cholesky(scattered[..., within] + 1e-6 * np.eye(HISTORY))
    turns = np.exp(2j * np.pi * shift[..., None, None] * lags)
    covariance = diffuse * scattered[..., within] + line[..., None, None] * turns
    covariance = covariance + (noise / powers)[..., None, None] * np.eye(HISTORY)
    turns = np.exp(2j * np.pi * shift[..., None, None] * (AGES[:, None] - AHEAD))
    across = diffuse * scattered[..., ahead] + line[..., None, None] * turns
    least = 1 - np.sum(across.conj() * np.linalg.solve(covariance, across), axis=-2).real

    size = (*spread.shape, HISTORY)
    fading = np.sqrt(1 - line)[..., None] * (root @ _normal(rng, size)[..., None])[..., 0]
    direct = np.exp(2j * np.pi * (shift[..., None] * AGES + rng.random((*spread.shape, 1))))
    samples = np.sqrt(powers)[..., None] * (fading + np.sqrt(line)[..., None] * direct)
    samples = samples + np.sqrt(noise)[..., None] * _normal(rng, size)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.complex64 if np.iscomplexobj(values) else np.float32))

    return Batch(
        samples=tensor(samples),
        noise=tensor(noise),
        powers=tensor(powers),
        covariance=tensor(covariance),
        across=tensor(across),
        least=tensor(np.maximum(least, 1e-6)),
        streams=np.tile(np.arange(num_tx), num_taps * num_rx),
    )


def expected_error(batch: Batch, weights: Tensor) -> Tensor:
    """Of the forecasts weights @ samples, over the power: mean |forecast - g|^2, (B, S, HORIZONS).

    Args:
        batch: of the series.
        weights: complex (B, S, HORIZONS, HISTORY).
    """
    seen = weights @ batch.covariance
    quadratic = torch.sum(seen * weights.conj(), -1).real
    return quadratic - 2 * torch.sum(weights * batch.across.transpose(-1, -2), -1).real + 1


def _bessel(turns: np.ndarray) -> np.ndarray:
    angles = (np.arange(ANGLES) + 0.5) * np.pi / (2 * ANGLES)
    found = np.zeros(turns.shape)
    for cosine in np.cos(angles):
        found += np.cos(2 * np.pi * cosine * turns)
    return found / ANGLES


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    parts = rng.standard_normal((2, *shape)) * np.sqrt(0.5)
    return parts[0] + 1j * parts[1]
