# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase and delay of one channel estimate against another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["align"]

ROUNDS = 2  # the first finds where phases wrap


def align(products: NDArray[np.complexfloating], carriers: NDArray[np.int64]) -> tuple[float, float]:
    """Phase in radians and delay in cycles per carrier that make the sum of the products greatest, or nearly:

        Re sum over carriers f of products(f) exp(-1j (phase - 2 pi delay f))

    Args:
        products: of an estimate with the conjugate of the other, perhaps weighted, any shape.
        carriers: where each was taken, the same shape. Delays that turn the outer ones by much more than half a turn
            are not found.
    """
    phase, delay = float(np.angle(products.sum())), 0.0
    for _ in range(ROUNDS):
        turned = products * np.exp(-1j * (phase - 2 * np.pi * delay * carriers))
        weight, angle = np.abs(turned), np.angle(turned)
        mass, first, second = weight.sum(), (weight * carriers).sum(), (weight * carriers**2).sum()
        determinant = mass * second - first**2
        if not determinant > 0:
            break
        level, slope = (weight * angle).sum(), (weight * angle * carriers).sum()
        phase += float((second * level - first * slope) / determinant)
        delay -= float((mass * slope - first * level) / determinant / (2 * np.pi))
    return phase, delay
