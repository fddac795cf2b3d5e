# SPDX-License-Identifier: GPL-3.0-or-later
"""Clustered delay lines (CDL) of 3GPP TR 38.901, section 7.7.1, drawn by Sionna; a job's `channel` may name them.

Uplink at 3.5 GHz, both ends a horizontal line of vertically polarized elements half a wavelength apart: omnidirectional
ones at the terminal, those of TR 38.901 at the base station, each facing the other. A CDL has fixed delays, powers and
angles; its rays' phases, and how rays are paired, are drawn anew for every channel, and so is the subcarrier.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.flat import ChannelModel

from .peers import sionna_module
from .settings import ROOT

__all__ = ["ClusteredDelayLine", "delay_line"]

CARRIER_FREQUENCY = 3.5e9
SUBCARRIER_DISTANCE = 30e3
NUM_SUBCARRIERS = 612
"""As 20 MHz have."""
CHANNELS_PER_BLOCK = 2500
"""Drawn, and normalised, together."""
CACHE = ROOT / "out" / "delay-lines"
"""Sionna takes up to 1 ms for a channel, and every detector of a case sees the same ones. May be deleted."""


def delay_line(profile: str, delay_spread_ns: float, num_rx: int, num_tx: int) -> dict[str, Any]:
    """CDL-A to CDL-E by the letter; see `simulate`."""
    size = {"num_rx": num_rx, "num_tx": num_tx}
    return {"kind": "cdl", **size, "profile": profile, "delay_spread_ns": delay_spread_ns}


class ClusteredDelayLine(ChannelModel):
    """Independent channels of one subcarrier, each a realisation of its own. A block of them has mean |h|^2 = 1.

    Args:
        num_rx, num_tx: antennas of the base station and of the terminal.
        profile: "A" to "E"; D and E have a line of sight.
        delay_spread_ns: root mean square.
        seed: the same seed draws the same channels.

    Raises:
        PeersUnavailableError: Sionna is not installed; raised by `draw`, unless it finds the channels in `CACHE`.
    """

    def __init__(self, num_rx: int, num_tx: int, profile: str, delay_spread_ns: float, seed: np.random.SeedSequence):
        self._what = profile, float(delay_spread_ns), num_rx, num_tx
        self._seed = seed
        self._next = 0

    def draw(self, count: int) -> NDArray[np.complex64]:
        start, end = self._next, self._next + count
        self._next = end
        first, last = start // CHANNELS_PER_BLOCK, (end - 1) // CHANNELS_PER_BLOCK
        h = np.concatenate([_block(*self._what, self._block_seed(i)) for i in range(first, last + 1)])
        return h[start - first * CHANNELS_PER_BLOCK :][:count, None]

    def _block_seed(self, index: int) -> int:
        sequence = np.random.SeedSequence(self._seed.entropy, spawn_key=(*self._seed.spawn_key, index))
        return int(sequence.generate_state(1, np.uint64)[0])


@lru_cache(maxsize=128)
def _block(profile: str, delay_spread_ns: float, num_rx: int, num_tx: int, seed: int) -> NDArray[np.complex64]:
    """CHANNELS_PER_BLOCK channels (count, num_rx, num_tx)."""
    path = CACHE / f"cdl-{profile}-{delay_spread_ns:g}ns-{num_rx}x{num_tx}-{seed:016x}.npy"
    if path.exists():
        return np.load(path)
    h = _drawn(profile, delay_spread_ns, num_rx, num_tx, seed)
    _save(path, h)
    return h


def _drawn(profile: str, delay_spread_ns: float, num_rx: int, num_tx: int, seed: int) -> NDArray[np.complex64]:
    models = sionna_module("channel.tr38901")
    torch_seed, carrier_seed = np.random.SeedSequence(seed).spawn(2)
    sionna_module("config").config.seed = int(torch_seed.generate_state(1)[0])
    terminal, base = [
        models.PanelArray(
            num_rows_per_panel=1,
            num_cols_per_panel=count,
            polarization="single",
            polarization_type="V",
            antenna_pattern=pattern,
            carrier_frequency=CARRIER_FREQUENCY,
            device="cpu",
        )
        for count, pattern in ((num_tx, "omni"), (num_rx, "38.901"))
    ]
    spread = 1e-9 * delay_spread_ns
    model = models.CDL(profile, spread, CARRIER_FREQUENCY, terminal, base, "uplink", device="cpu")
    gains, delays = model(CHANNELS_PER_BLOCK, 1, 1.0)  # at one time
    carrier = np.random.default_rng(carrier_seed).integers(NUM_SUBCARRIERS, size=CHANNELS_PER_BLOCK)
    frequency = SUBCARRIER_DISTANCE * (carrier - NUM_SUBCARRIERS // 2)
    phases = np.exp(-2j * np.pi * frequency[:, None] * delays.numpy()[:, 0, 0])  # (channel, path)
    h = np.einsum("crtp,cp->crt", gains.numpy()[:, 0, :, 0, :, :, 0], phases)
    return (h / np.sqrt(np.mean(np.abs(h) ** 2))).astype(np.complex64)


def _save(path: Path, h: NDArray[np.complex64]) -> None:
    """Whole or not at all: several processes may draw the same block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.npy")
    np.save(temporary, h)
    os.replace(temporary, path)
