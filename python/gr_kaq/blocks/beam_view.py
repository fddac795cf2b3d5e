# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what a beam search probes, live."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt

from ..beams.planar_array import Beam, PlanarArray
from .base import KaqBlock, dict_of
from .beam_pmt import BEAM, parse_beam
from .counters import Counters, counter

__all__ = ["beam_view"]

PILOTS, SNR = pmt.intern("pilots"), pmt.intern("snr")


@dataclass
class ViewCounters(Counters):
    """What a `beam_view` counts."""

    beams: int = counter("messages", "Beams of the array, probed or in force.")
    rejected_messages: int = counter("messages", "Messages on ports `pilots` and `beam` that are no beam of the array.")


class beam_view(KaqBlock[ViewCounters]):
    """A heat map of the beams that a `beam_search` has probed: the SNR that was last seen in each, wide ones included.

    Messages:
        pilots (in): dicts from the port of a `beam_search`: a beam, and `snr` in dB, left out if no frame came.
        beam (in): dicts from the port of a `beam_search`: the beam in force.

    Args:
        size: elements of the array on each axis.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, size: Sequence[int]):
        self._array = PlanarArray(size[0], size[1])
        self.snr_db = np.full(self._array.shape, np.nan)
        """Last seen in each narrow beam, (num_first, num_second); NaN: never probed, -inf: no frame came."""
        self._widget: Any = None
        super().__init__("KAQ beam view", [], [])
        for port, handler in ((PILOTS, self.handle_pilot), (BEAM, self.handle_beam)):
            self.message_port_register_in(port)
            self.set_msg_handler(port, handler)

    def widget(self) -> Any:
        """The view, a QWidget: to be asked for once there is a QApplication, in its thread.

        Raises:
            ImportError: PyQt5 is missing.
        """
        if self._widget is None:
            from .beam_map import BeamMap  # noqa: PLC0415 - Qt is optional

            self._widget = BeamMap(self.snr_db)
        return self._widget

    def handle_pilot(self, message: Any) -> None:
        """A message on port `pilots`."""
        self._take("pilot", "the map", lambda: self._keep(message))

    def handle_beam(self, message: Any) -> None:
        """A message on port `beam`."""
        self._take("beam", "the one shown", lambda: self._mark(parse_beam(message, self._array)))

    def _take(self, kind: str, in_use: str, take: Callable[[], None]) -> None:
        if self.refused(kind, in_use, take):
            self.counters.rejected_messages += 1
        else:
            self.counters.beams += 1

    def _keep(self, message: Any) -> None:
        beam = parse_beam(message, self._array)
        snr = pmt.dict_ref(dict_of(message), SNR, pmt.PMT_NIL)
        snr_db = pmt.to_double(snr) if snr is not None and pmt.is_real(snr) else -math.inf
        if math.isnan(snr_db):
            raise ValueError("`snr` is NaN")
        self.snr_db[np.ix_(*self._array.covered(beam))] = snr_db
        self._changed()

    def _mark(self, beam: Beam) -> None:
        if self._widget is not None:
            self._widget.beam = beam
        self._changed()

    def _changed(self) -> None:
        if self._widget is not None:
            self._widget.changed.emit()
