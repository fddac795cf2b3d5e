# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels by the names that command lines have for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channel_file import read_packets
from .flat import ChannelModel, RayleighChannels, RecordedChannels, shipped_recording

__all__ = ["KRONECKER_CORRELATION", "channels_named"]

KRONECKER_CORRELATION = 0.5


def channels_named(
    name: str, correlation: float | None
) -> tuple[Callable[[int, int, int], ChannelModel], str, tuple[int, int] | None]:
    """Channels by their name on a command line.

    Args:
        name: iid, kronecker, a recording that ships with gr-kaq, or the path of one (.npz).
        correlation: of neighbouring antennas at both ends, for kronecker; None: `KRONECKER_CORRELATION`.

    Returns:
        What makes them from num_rx, num_tx and a seed; what to call them; and the size that was recorded.

    Raises:
        ValueError: there are no such channels.
    """
    if correlation is not None and name != "kronecker":
        raise ValueError("--correlation belongs to --channel kronecker")
    if name == "iid":
        return lambda num_rx, num_tx, seed: RayleighChannels(num_rx, num_tx, seed=seed), "i.i.d. Rayleigh", None
    if name == "kronecker":
        value = KRONECKER_CORRELATION if correlation is None else correlation
        return (
            lambda num_rx, num_tx, seed: RayleighChannels(
                num_rx, num_tx, rx_correlation=value, tx_correlation=value, seed=seed
            ),
            f"Kronecker, correlation {value:g}",
            None,
        )
    try:
        path = name if name.endswith(".npz") else shipped_recording(name)
    except ValueError as error:
        raise ValueError(f"{error}, or iid, kronecker, or the path of a recording (.npz)") from None
    packets = read_packets(path, None, None)
    return (
        lambda num_rx, num_tx, seed: _RandomRecorded(path, num_rx, num_tx, seed),
        Path(path).name,
        (packets.shape[2], packets.shape[3]),
    )


class _RandomRecorded(ChannelModel):
    """Recorded channels in random order: the first ones, which are all that a short run sees, are of a few packets."""

    def __init__(self, path: str, num_rx: int, num_tx: int, seed: int):
        recorded = RecordedChannels(path, num_rx, num_tx)
        self._channels = recorded.draw(recorded.count)
        self._rng = np.random.default_rng(seed)

    def draw(self, count: int) -> NDArray[np.complex64]:
        return self._channels[self._rng.integers(len(self._channels), size=count)]
