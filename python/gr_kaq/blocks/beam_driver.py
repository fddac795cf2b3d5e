# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a real array its beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..beams import drivers
from ..beams.planar_array import Beam
from .base import KaqBlock
from .beam_pmt import BEAM, parse_beam
from .counters import Counters, counter

__all__ = ["beam_driver"]


@dataclass
class DriverCounters(Counters):
    """What a `beam_driver` counts."""

    beams: int = counter("messages", "Beams that the array was told.")
    rejected_messages: int = counter("messages", "Messages on port `beam` that are no beam of the array.")
    failures: int = counter("messages", "Beams that the array could not be told, as it did not answer.")


class beam_driver(KaqBlock[DriverCounters]):
    """Hands the beams of a `beam_search` to an array; give the search ``confirmed=False`` and the time that this takes.

    Messages:
        beam (in): dict with `first`, `second`, `first_width`, `second_width`.

    Args:
        driver: such as a `gr_kaq.beams.drivers.phaser.Phaser`. An array that does not answer is counted, and asked
            again with the next beam.
    """

    def __init__(self, driver: drivers.BeamDriver):
        self._driver = driver
        super().__init__("KAQ beam driver", [], [])
        self.message_port_register_in(BEAM)
        self.set_msg_handler(BEAM, self.handle_beam)

    def handle_beam(self, message: Any) -> None:
        """A message on port `beam`."""
        if self.refused("beam", "the one in force", lambda: self._tell(parse_beam(message, self._driver.array))):
            self.counters.rejected_messages += 1

    def _tell(self, beam: Beam) -> None:
        try:
            self._driver.set_beam(beam)
            self.counters.beams += 1
        except OSError as error:
            self.counters.failures += 1
            self.warn_once("array", f"the array was not told its beam: {error}", str(error))
