# SPDX-License-Identifier: GPL-3.0-or-later
"""Bit error rates with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BitErrorRate"]


@dataclass(frozen=True)
class BitErrorRate:
    """A count of bit errors.

    Args:
        errors: bits in error.
        bits: bits compared.
    """

    errors: int = 0
    bits: int = 0

    @property
    def rate(self) -> float:
        """errors / bits; NaN before the first bit."""
        return self.errors / self.bits if self.bits else float("nan")

    def confidence_interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the rate (Wilson 1927), for independent errors."""
        if not self.bits:
            return 0.0, 1.0
        z = 1.959964
        centre = (self.errors + z * z / 2) / (self.bits + z * z)
        p = self.errors / self.bits
        spread = z * np.sqrt(p * (1 - p) * self.bits + z * z / 4) / (self.bits + z * z)
        return max(0.0, float(centre - spread)), min(1.0, float(centre + spread))

    def __add__(self, other: BitErrorRate) -> BitErrorRate:
        return BitErrorRate(self.errors + other.errors, self.bits + other.bits)

    def __str__(self) -> str:
        low, high = self.confidence_interval()
        return f"{self.rate:.2e} [{low:.1e}, {high:.1e}] ({self.errors} errors)"
