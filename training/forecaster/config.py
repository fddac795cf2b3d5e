# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a forecaster's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..config import Configuration, at_least, one_of

__all__ = ["Config"]


@dataclass(frozen=True)
class Config(Configuration):
    """How a forecaster is trained.

    Attributes:
        name: of the exported network.
        steps: of training, of which the last quarter is of the quantized network.
        bits: of the quantized network's operands, 2 to 8; only 8 can be exported.
        size: [num_rx, num_tx] of the scenes.
        seed: of everything random.
    """

    kind: ClassVar[str] = "forecaster"

    steps: int = 4000
    bits: int = 8
    size: tuple[int, int] = (2, 2)
    seed: int = 1

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        one_of("bits", self.bits, range(2, 9))
        at_least("size", min(self.size), 1)
        at_least("seed", self.seed, 0)
