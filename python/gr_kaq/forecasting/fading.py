# SPDX-License-Identifier: GPL-3.0-or-later
"""What a predictor assumes of a series: scattered waves from all around, and perhaps a line of sight.

    E g(t + lag) g*(t) / E|g|^2 = (1 - line) J0(2 pi doppler lag) + line exp(2j pi shift lag)

The Rice factor is line / (1 - line). What stands still is a line whose shift is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimation.observation import j0

__all__ = ["Fading"]


@dataclass(frozen=True)
class Fading:
    """How a series changes over time.

    Attributes:
        doppler: largest shift of what is scattered, in cycles per unit of time.
        line: share of the power that is in one line, 0 to below 1.
        shift: of that line, in cycles per unit of time.
    """

    doppler: float
    line: float = 0.0
    shift: float = 0.0

    def correlation(self, lags: ArrayLike) -> NDArray[np.complex128]:
        """Of the series, at these lags."""
        lags = np.asarray(lags, np.float64)
        scattered = j0(2 * np.pi * self.doppler * lags)
        return (1 - self.line) * scattered + self.line * np.exp(2j * np.pi * self.shift * lags)

    @property
    def rice_db(self) -> float:
        """The Rice factor in dB; -inf without a line."""
        return 10 * math.log10(self.line / (1 - self.line)) if self.line else -math.inf
