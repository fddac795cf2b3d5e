# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames cut into windows of one pair of antennas each, as networks see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr_kaq.estimation.learned import grids, network_input

from .frames import Frame, interpolators
from .genie import genie_lmmse

__all__ = ["Windows", "windows"]


@dataclass(frozen=True)
class Windows:
    """Windows of P pairs of antennas, as the network sees them.

    Attributes:
        ls: complex64 (P, 52, 3).
        lmmse, truth: complex64 (P, 52, 14).
        target: what to learn, see `windows`, complex64 (P, 52, 14).
        statistics: estimated SNR of a pair (linear), delay spread and Doppler, see `gr_kaq.estimation.learned`: (P, 3).
        weight: one over the mean squared error of the frame's LMMSE estimate, (P,).
    """

    ls: Tensor
    lmmse: Tensor
    truth: Tensor
    target: Tensor
    statistics: Tensor
    weight: Tensor


def windows(frames: Iterator[Frame], per_frame: int, seed: int) -> Windows:
    """Up to `per_frame` random windows of each frame.

    The target is the genie's estimate. Its mean over all that fits the inputs is that of the truth, so it makes the
    same network, but it is free of what nobody can know, which is most of an estimate's error. Where there is band
    noise, of which that genie does not know, the target is the truth.
    """
    rng = np.random.default_rng(seed)
    columns: list[list[NDArray[np.generic]]] = [[] for _ in range(6)]
    for frame in frames:
        frame_format = frame.conditions.frame_format
        linear, wiener = interpolators(frame_format)
        seen = frame.observation
        given = network_input(frame_format, seen, linear.at_training_symbols(seen), wiener(seen))
        lmmse, truth = _complex(given.lmmse), _complex(grids(frame.channel, given.scale))
        error = max(float(np.mean(np.abs(lmmse - truth) ** 2)), 1e-4)
        values = (
            _complex(given.ls),
            lmmse,
            truth,
            truth if frame.conditions.band_noise else _complex(grids(genie_lmmse(frame), given.scale)),
            np.tile(given.statistics, (len(truth), 1)),
            np.full(len(truth), 1 / error, np.float32),
        )
        kept = rng.permutation(len(truth))[:per_frame]
        for column, value in zip(columns, values, strict=True):
            column.append(value[kept])
    return Windows(*(torch.from_numpy(np.concatenate(column)) for column in columns))


def _complex(grids: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Real parts, then imaginary parts, as complex numbers."""
    real, imaginary = np.split(grids, 2)
    return real + 1j * imaginary
