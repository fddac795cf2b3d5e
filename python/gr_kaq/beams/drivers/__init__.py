# SPDX-License-Identifier: GPL-3.0-or-later
"""Real arrays behind one interface: `set_beam(beam)`, which raises OSError where the array cannot be reached."""

from __future__ import annotations

from typing import Protocol

from ..planar_array import Beam, PlanarArray

__all__ = ["BeamDriver"]


class BeamDriver(Protocol):
    """An array that can be told its beam.

    Attributes:
        array: which beams it has.
    """

    array: PlanarArray

    def set_beam(self, beam: Beam) -> None:
        """Use this beam, and return when the array has been told.

        Raises:
            OSError: it cannot be reached; it may keep the beam before.
        """
