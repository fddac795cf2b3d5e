# SPDX-License-Identifier: GPL-3.0-or-later
"""Interference for a second radio to send, as a GNU Radio block."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..channels.interference import Interference, Interferer
from .base import KaqBlock, check_integer, ports
from .counters import Counters, counter
from .interference_pmt import INTERFERER_ENTRIES, settings_after

__all__ = ["band_noise_source"]

ENTRIES = tuple(entry for entry in INTERFERER_ENTRIES if entry != "direction")


@dataclass
class NoiseCounters(Counters):
    """What a `band_noise_source` counts."""

    rejected_messages: int = counter("messages", "Messages on port `interference` that were refused.")


class band_noise_source(KaqBlock[NoiseCounters]):
    """Band noise or a tone, always or in bursts: what a second radio sends to disturb a receiver under test.

    Send it where you may: into cables and attenuators, or in a shielded room.

    Outputs: one complex port, of samples.

    Messages:
        interference (in): a dict with some of band (f64vector), power_db, kind, period and duty, as PMTs; the others
            stay as they are. What is malformed changes nothing, and is counted.

    Args:
        sample_rate: in Hz.
        band: its lowest and highest frequency in Hz, relative to the radio's.
        power_db: its power while it is on, in dB; 0 is full scale, E|x|^2 = 1. Noise has peaks: at -12 dB full scale is
            5.6 times the standard deviation of its real part.
        kind, period, duty: see `gr_kaq.channels.interference.Interferer`.
        seed: the same seed gives the same samples.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        sample_rate: float,
        band: tuple[float, float],
        power_db: float = -12.0,
        *,
        kind: str = "noise",
        period: float = 0.0,
        duty: float = 1.0,
        seed: int = 0,
    ):
        if not 0 < sample_rate < np.inf:
            raise ValueError(f"sample_rate is {sample_rate}; above 0 and finite expected")
        interferer = Interferer(band, power_db, kind, 0.0, period, duty)
        self._interference = Interference(interferer, 1, sample_rate, check_integer("seed", seed, 0, 2**63))
        self._interferer = interferer
        self._lock = threading.Lock()  # setters are called from other threads
        super().__init__("KAQ band noise source", [], ports(np.complex64, 1, 1))
        self.message_port_register_in(pmt.intern("interference"))
        self.set_msg_handler(pmt.intern("interference"), self.handle_interference)

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Draw the next samples."""
        with self._lock:
            output_items[0][:] = self._interference.draw(len(output_items[0]))[0]
        return len(output_items[0])

    def handle_interference(self, message: Any) -> None:
        """A message on port `interference`."""
        if self.refused("interference", "what was set", lambda: self._take(message)):
            self.counters.rejected_messages += 1

    def _take(self, message: Any) -> None:
        settings = settings_after(asdict(self._interferer), message, ENTRIES)
        if not settings:
            raise ValueError("it is empty")
        self._set(**settings)

    def set_band(self, band: tuple[float, float]) -> None:
        """Set its lowest and highest frequency in Hz, from the next sample on."""
        self._set(**asdict(self._interferer) | {"band": band})

    def set_power_db(self, power_db: float) -> None:
        """Set its power in dB, from the next sample on."""
        self._set(**asdict(self._interferer) | {"power_db": power_db})

    def _set(self, **settings: Any) -> None:
        interferer = Interferer(**settings)
        with self._lock:
            self._interference.set_interferer(interferer)
            self._interferer = interferer
