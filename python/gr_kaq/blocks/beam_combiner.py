# SPDX-License-Identifier: GPL-3.0-or-later
"""A digital array: the channels of radios, weighted and summed to one beam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..beams.planar_array import Beam, PlanarArray
from .base import MAX_ANTENNAS, KaqBlock, ports
from .beam_pmt import BEAM, beam_to_pmt, parse_beam
from .counters import Counters, counter

__all__ = ["beam_combiner"]


@dataclass
class CombinerCounters(Counters):
    """What a `beam_combiner` counts."""

    rejected_messages: int = counter("messages", "Messages on port `beam` that are no beam of the array.")


class beam_combiner(KaqBlock[CombinerCounters]):
    """Makes one beam of the elements of an array, such as the channels of synchronized USRPs.

        z = w^H y / sqrt(A)     y: (N,)  w: A phases and zeros, see `gr_kaq.beams.planar_array.PlanarArray`

    The noise's variance stays. A beam changes between two items, and a tag says at which.

    Inputs: one complex port for each element; element (m, n) is port m num_second + n.

    Outputs: one complex port.

    Tags, on the output: `beam` (dict) where a beam comes into force. Tags of input 0 are passed on.

    Messages:
        beam (in): dict with `first`, `second`, and if wanted `first_width` and `second_width`. What is malformed
            changes nothing, and is counted.

    Args:
        size: elements on each axis, 256 at most in all.
        spacing, phase_bits: see `PlanarArray`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, size: Sequence[int], *, spacing: float = 0.5, phase_bits: int | None = None):
        self._array = PlanarArray(size[0], size[1], spacing=spacing, phase_bits=phase_bits)
        if self._array.num_beams > MAX_ANTENNAS:
            raise ValueError(f"the array is {size[0]}x{size[1]}; at most {MAX_ANTENNAS} elements expected")
        self._set(Beam(0, 0))
        super().__init__("KAQ beam combiner", ports(np.complex64, 1, self._array.num_beams), ports(np.complex64, 1, 1))
        self.message_port_register_in(BEAM)
        self.set_msg_handler(BEAM, self.handle_beam)

    def begin(self) -> None:
        """Called when the flowgraph starts: items are counted from 0."""
        self._is_new = True

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Sum up the next items."""
        count = len(output_items[0])
        for tag in self.get_tags_in_window(0, 0, count):
            if tag.key is None or not pmt.eq(tag.key, BEAM):
                self.forward(tag)
        if self._is_new:
            self.add_item_tag(0, self.nitems_written(0), BEAM, beam_to_pmt(self._beam))
            self._is_new = False
        with np.errstate(all="ignore"):  # samples may be NaN
            output_items[0][:] = self._weights @ np.stack(input_items)
        return count

    def handle_beam(self, message: Any) -> None:
        """A message on port `beam`."""
        if self.refused("beam", "the one in force", lambda: self._set(parse_beam(message, self._array))):
            self.counters.rejected_messages += 1

    def _set(self, beam: Beam) -> None:
        weights = self._array.weights(np.array([beam]))[0]
        self._beam, self._weights, self._is_new = beam, weights * np.float32(math.sqrt(self._array.num_beams)), True
