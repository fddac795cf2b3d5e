# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver tells every section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["ROOT", "Settings"]

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How, and how thoroughly, to measure.

    Args:
        quick: tiny budgets that show that everything runs; the numbers mean little.
        rounds: how often every contestant is measured; None: as the section finds right.
        seed: of channels, samples and the order of contestants.
    """

    quick: bool = False
    rounds: int | None = None
    seed: int = 1

    def pick(self, full: T, quick: T) -> T:
        """One of the two budgets."""
        return quick if self.quick else full

    def num_rounds(self, full: int) -> int:
        """Rounds of a section that takes `full` of them."""
        return self.rounds or self.pick(full, 2)

    @property
    def slot_s(self) -> float:
        """Seconds that a contestant is measured for in one round, if a single call is not longer."""
        return self.pick(0.02, 0.0005)
