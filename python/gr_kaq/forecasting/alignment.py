# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts recorded frames into one phase and one timing: each has its own, of oscillators and of when it was found."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["aligned"]

STEPS = 3


def aligned(h: NDArray[np.complexfloating], carriers: ArrayLike) -> NDArray[np.complex128]:
    """Each frame turned so that it is as like the one before as a phase and a delay for all pairs of antennas make it.

    That also takes what turns all pairs alike: one oscillator cannot be told from one moving line of sight.

    Args:
        h: (T, F, num_rx, num_tx); a frame with a number that is not finite stays as it is.
        carriers: their numbers, (F,).
    """
    carriers = np.asarray(carriers, np.float64)
    turned = np.array(h, np.complex128)
    before = None
    for frame in turned:
        if not np.isfinite(frame).all():
            continue
        if before is not None:
            products = np.sum(before.conj() * frame, axis=(1, 2))
            frame *= np.exp(-1j * _line(products, carriers))[:, None, None]
        before = frame
    return turned


def _line(products: NDArray[np.complex128], carriers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The phases (F,), on a line over the carriers, that products have."""
    phases = np.zeros(len(carriers))
    if np.any(products):
        slope = np.angle(np.sum(products[1:] * products[:-1].conj())) / np.median(np.diff(carriers))
        phases = slope * carriers
        phases += np.angle(np.sum(products * np.exp(-1j * phases)))
        for _ in range(STEPS):
            left = products * np.exp(-1j * phases)
            weights = np.sqrt(np.abs(left))
            phases += np.polynomial.Polynomial.fit(carriers, np.angle(left), 1, w=weights)(carriers)
    return phases
