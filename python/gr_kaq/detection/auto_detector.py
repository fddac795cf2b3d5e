# SPDX-License-Identifier: GPL-3.0-or-later
"""A detector that takes another one for each size."""

from __future__ import annotations

from collections.abc import Callable

from ..signals.constellation import Constellation
from .choice import RULES, choose
from .detector import Detector
from .plan import Plan

__all__ = ["AUTO_DETECTORS", "AutoDetector"]

AUTO_DETECTORS = tuple(RULES)
"""Their names: ``"auto"`` for the lowest error rate, ``"auto-fast"`` for speed first."""


class AutoDetector(Detector):
    """Chooses a detector by the size, see `choice`; its plans are those of the detector chosen.

    Args:
        name: one of `AUTO_DETECTORS`.
        constellation: what every stream carries.
        load: gives the detector of a name; called when a size needs it for the first time.
    """

    def __init__(self, name: str, constellation: Constellation, load: Callable[[str], Detector]):
        self.name, self.constellation = name, constellation
        self._load = load
        self._loaded: dict[str, Detector] = {}

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.at_size(num_rx, num_tx).check_size(num_rx, num_tx)

    def at_size(self, num_rx: int, num_tx: int) -> Detector:
        choice = choose(self.name, self.constellation.name, num_rx, num_tx)
        if choice.detector not in self._loaded:
            self._loaded[choice.detector] = self._load(choice.detector)
        return self._loaded[choice.detector]

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        num_channels, num_rx, num_tx = shape
        return self.at_size(num_rx, num_tx).plan(num_channels, num_rx, num_tx, num_threads=num_threads)
