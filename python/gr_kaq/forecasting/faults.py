# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a sequence of channels, said and counted. What cannot be used becomes NaN: predictors take it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Faults", "without_faults"]

COHERENT = 0.95  # how alike an antenna's channels are on both sides of a gain step
STEP = 2.0  # of the energy


@dataclass
class Faults:
    """What was found.

    Attributes:
        damaged_frames: with a number that is not finite.
        dead_antennas: without any channel in the newest frame.
        begun_streams: that the oldest frame does not have, and the newest does.
        ended_streams: that the newest frame does not have, and an older one does.
        gain_steps: an antenna's channels that all grew or shrank at once; what was before is dropped.
    """

    damaged_frames: int = 0
    dead_antennas: int = 0
    begun_streams: int = 0
    ended_streams: int = 0
    gain_steps: int = 0

    def __add__(self, other: Faults) -> Faults:
        return Faults(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def __str__(self) -> str:
        found = {name.replace("_", " "): count for name, count in asdict(self).items() if count}
        return ", ".join(f"{count} {name}" for name, count in found.items()) or "no faults"


def without_faults(g: NDArray[np.complexfloating]) -> tuple[NDArray[np.complex128], Faults]:
    """Channels (T, taps, num_rx, num_tx), oldest first, NaN where there is nothing to build on; and what was found.

    A tap of exactly 0 was not estimated.
    """
    values = np.array(g, np.complex128)
    faults = Faults(damaged_frames=int(np.sum(~np.isfinite(values).all(axis=(1, 2, 3)))))
    values[~np.isfinite(values) | (values == 0)] = np.nan
    known = np.isfinite(values)
    antennas, streams = known.any(axis=(1, 3)), known.any(axis=(1, 2))  # (T, num_rx), (T, num_tx)
    faults.dead_antennas = int(np.sum(~antennas[-1]))
    faults.begun_streams = int(np.sum(~streams[0] & streams[-1]))
    faults.ended_streams = int(np.sum(~streams[-1] & streams.any(axis=0)))
    for antenna in range(values.shape[2]):
        steps = _gain_steps(values[:, :, antenna])
        faults.gain_steps += len(steps)
        if len(steps):
            values[: steps[-1], :, antenna] = np.nan
    return values, faults


def _gain_steps(values: NDArray[np.complex128]) -> NDArray[np.int64]:
    """Frames (of (T, taps, num_tx)) at which all grows or shrinks by a factor, and nothing else changes."""
    flat = values.reshape(len(values), -1)
    both = np.isfinite(flat[1:]) & np.isfinite(flat[:-1])
    before, after = np.where(both, flat[:-1], 0), np.where(both, flat[1:], 0)
    energies = np.sum(np.abs(before) ** 2, axis=1), np.sum(np.abs(after) ** 2, axis=1)
    product = np.abs(np.sum(before.conj() * after, axis=1)) ** 2
    least, most = np.minimum(*energies), np.maximum(*energies)
    alike = product > COHERENT * energies[0] * energies[1]
    return 1 + np.flatnonzero(alike & (most > STEP * least) & (both.sum(axis=1) > 1))
