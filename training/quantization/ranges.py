# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of the channels of an operand: what recipes calibrate, and what says whether they can matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import ConfigError
from .quantizers import limits

__all__ = ["Spread", "calibration_rows", "percentile_ranges", "spread", "symmetric_ranges"]

PERCENTILES = (0.999, 0.9999, 0.99999)
"""Candidates of RepQ-ViT; of few rows, the last two are the extremes."""

SHARES = torch.linspace(0.3, 1, 29)
"""Of the largest magnitude, what adaptive clipping tries."""

MIN_ROWS = 256
MAX_ROWS = 8192
LEAST_RANGE = 1e-3
"""Of the mean range: a channel that hardly moves has a scale all the same."""


@dataclass(frozen=True)
class Spread:
    """How different the channels of an operand are: extremes of the largest magnitudes over their median."""

    max_over_median: float
    median_over_min: float


def calibration_rows(name: str, seen: Tensor) -> Tensor:
    """Rows (n, channels) of an operand (..., channels), at most `MAX_ROWS` of them.

    Raises:
        ConfigError: there are too few, or some are not finite.
    """
    rows = seen.reshape(-1, seen.shape[-1])
    if len(rows) < MIN_ROWS:
        raise ConfigError(f"{name}: {len(rows)} vectors to calibrate on; at least {MIN_ROWS} expected")
    if not bool(rows.isfinite().all()):
        raise ConfigError(f"{name}: what is to be calibrated on holds values that are not finite")
    return rows[:: -(-len(rows) // MAX_ROWS)]


def spread(rows: Tensor) -> Spread:
    """Of rows (n, channels)."""
    largest = rows.abs().amax(0)
    median = float(largest.median())
    return Spread(float(largest.max()) / median, median / max(float(largest.min()), 1e-12))


def percentile_ranges(rows: Tensor, bits: int, candidates: tuple[float, ...] = PERCENTILES) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each channel, (channels,) each: of the candidates, what gives the least error."""
    best = torch.full(rows.shape[1:], torch.inf, device=rows.device)
    low, high = torch.zeros_like(best), torch.zeros_like(best)
    sorted_rows = rows.sort(0).values
    for share in candidates:
        cut = round((1 - share) * (len(rows) - 1))
        lowest, highest = sorted_rows[cut], sorted_rows[len(rows) - 1 - cut]
        middle, step = _steps(lowest, highest, bits)
        error = _error(rows - middle, step, bits)
        better = error < best
        best = torch.where(better, error, best)
        low, high = torch.where(better, lowest, low), torch.where(better, highest, high)
    return low, high


def symmetric_ranges(rows: Tensor, bits: int, unsigned: bool) -> Tensor:
    """Largest magnitude to represent of each channel, (channels,): what gives the least squared error.

    The error of the output is that times the weights' power of the channel, so it is least at the same place.
    """
    whole = rows.abs().amax(0).clamp_min(1e-12)
    shares = SHARES.to(rows.device)
    top = limits(bits, unsigned)[1]
    errors = torch.stack([_error(rows, share * whole / top, bits, unsigned) for share in shares])
    return shares[errors.argmin(0)] * whole


def _steps(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Middle and step of ranges."""
    return (low + high) / 2, ((high - low) / 2 / limits(bits, False)[1]).clamp_min(1e-12)


def _error(rows: Tensor, step: Tensor, bits: int, unsigned: bool = False) -> Tensor:
    quantized = torch.round(rows / step).clamp(*limits(bits, unsigned)) * step
    return (quantized - rows).square().mean(0)
