# SPDX-License-Identifier: GPL-3.0-or-later
"""The common phase of each data symbol, from its pilots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["track_phase"]


def track_phase(expected: NDArray[np.complexfloating], received: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """By how much the oscillator that all antennas share has turned each symbol, in radians, (symbols,).

        received = exp(j phase) expected + noise

    The maximum-likelihood phases, shrunk by what of their variance is due to the noise: where there is no phase noise,
    the estimates would otherwise bring some in.

    Args:
        expected: the channel's estimate times what was sent at the pilots, (symbols, anything).
        received: what was received there, of the same shape and equal noise variance everywhere.
    """
    correlation = np.sum(np.conj(expected) * received, axis=1, dtype=np.complex128)
    energy = np.sum(expected.real**2 + expected.imag**2, axis=1, dtype=np.float64)
    total = np.sum(received.real**2 + received.imag**2, axis=1, dtype=np.float64)
    if not np.all(energy > 0):
        return np.zeros(len(energy))
    phase = np.angle(correlation)
    # what is left of the received energy when the phase is right, half of it in the phase's direction
    residual = np.maximum(total - 2 * np.abs(correlation) + energy, 0) / expected.shape[1]
    noise = residual.mean() / (2 * energy)
    spread = max(float(np.mean(phase**2 - 1.5 * noise)), 0.0)
    return phase * (spread / (spread + noise))
