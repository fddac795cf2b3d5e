# SPDX-License-Identifier: GPL-3.0-or-later
"""MIMO channels, for simulations, benchmarks and tests: i.i.d. Rayleigh, Kronecker-correlated, recorded.

Every channel has mean |h|^2 = 1, so noise_var = num_tx / SNR (see `signal_model`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channel_file import read_packets, read_recorded
from .recording_check import check_recording

__all__ = [
    "ChannelModel",
    "RayleighChannels",
    "RecordedChannels",
    "complex_normal",
    "exponential_correlation",
    "shipped_recording",
]

CHECKED_PACKETS = 2000
"""Of a recording; what is odd is odd in these, too."""


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """CN(0, 1) values. They do not depend on how many are drawn at once."""
    parts = rng.standard_normal((*shape, 2), dtype=np.float32)
    parts *= np.float32(np.sqrt(0.5))
    return parts.view(np.complex64)[..., 0]


def exponential_correlation(num_antennas: int, correlation: float) -> NDArray[np.float64]:
    """Correlation matrix (num_antennas, num_antennas) of a line of antennas: correlation^|i - j|."""
    index = np.arange(num_antennas)
    return float(correlation) ** np.abs(index[:, None] - index)


class ChannelModel(ABC):
    """A source of channels."""

    @abstractmethod
    def draw(self, count: int) -> NDArray[np.complex64]:
        """The next `count` channels, (count, num_subcarriers, num_rx, num_tx).

        The sequence does not depend on how many are drawn at once.
        """


class RayleighChannels(ChannelModel):
    """Rayleigh fading, independent from one channel to the next: H = R_rx^(1/2) W R_tx^(1/2), W i.i.d. CN(0, 1).

    Args:
        num_rx, num_tx, num_subcarriers: size of a channel.
        flat: one H for all subcarriers, instead of independent ones.
        rx_correlation, tx_correlation: of neighbouring antennas, in [0, 1); 0: i.i.d. (see `exponential_correlation`).
        seed: the same seed draws the same channels.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        num_subcarriers: int = 1,
        *,
        flat: bool = False,
        rx_correlation: float = 0.0,
        tx_correlation: float = 0.0,
        seed: int | np.random.SeedSequence = 0,
    ):
        for name, value in (("rx_correlation", rx_correlation), ("tx_correlation", tx_correlation)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}; at least 0 and below 1 expected")
        self._num_subcarriers = num_subcarriers
        self._shape = (1 if flat else num_subcarriers, num_rx, num_tx)
        self._rng = np.random.default_rng(seed)
        self._roots = None
        if rx_correlation or tx_correlation:
            rx_root = np.linalg.cholesky(exponential_correlation(num_rx, rx_correlation))
            tx_root = np.linalg.cholesky(exponential_correlation(num_tx, tx_correlation))
            self._roots = rx_root.astype(np.complex64), tx_root.T.astype(np.complex64)

    def draw(self, count: int) -> NDArray[np.complex64]:
        h = complex_normal(self._rng, (count, *self._shape))
        if self._roots is not None:
            h = self._roots[0] @ h @ self._roots[1]
        return np.repeat(h, self._num_subcarriers, axis=1) if self._shape[0] != self._num_subcarriers else h


class RecordedChannels(ChannelModel):
    """Recorded channels, one packet after the other, and from the first one again after the last.

    Each packet is scaled to mean |h|^2 = 1, because a receiver's automatic gain differs per packet; one of all zeros is
    left out. With one subcarrier, every subcarrier of a packet is used in turn. With several, they are spread over the
    recorded ones at equal distances.

    Args:
        path: NumPy archive (.npz), see `channel_file.read_packets`.
        num_rx, num_tx, num_subcarriers: size of a channel, at most what was recorded; the first antennas are taken.

    Raises:
        ValueError: the file does not hold that; the message names the file and what was expected.

    Warns:
        UserWarning: some of it was not measured, as `recording_check.check_recording` finds it.

    Attributes:
        count: channels after which the first one follows again.
    """

    def __init__(self, path: str | Path, num_rx: int, num_tx: int, num_subcarriers: int = 1):
        recorded = read_packets(path, num_rx, num_tx, num_subcarriers)
        odd = check_recording(read_recorded(path, CHECKED_PACKETS)[:, :, :num_rx, :num_tx]).findings
        if odd:
            more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
            warnings.warn(f"{path}: {odd[0]}{more}; `kaq csi check` shows what, and cuts it out", stacklevel=2)
        if num_subcarriers == 1:
            self._channels = recorded.reshape(-1, 1, num_rx, num_tx)
        else:
            distance = recorded.shape[1] // num_subcarriers
            self._channels = recorded[:, : distance * num_subcarriers : distance]
        self.count = len(self._channels)
        self._next = 0

    def draw(self, count: int) -> NDArray[np.complex64]:
        index = (self._next + np.arange(count)) % self.count
        self._next = (self._next + count) % self.count
        return self._channels[index]


def shipped_recording(name: str) -> str:
    """Path of a recording that ships with the package, such as ``"measured_csi_3x2"``; recordings/README.md lists them.

    Raises:
        ValueError: there is none of that name.
    """
    recordings = {path.stem: str(path) for path in Path(str(resources.files(__package__) / "recordings")).glob("*.npz")}
    if name not in recordings:
        raise ValueError(f"no recording {name!r}; one of {', '.join(sorted(recordings))} expected")
    return recordings[name]
