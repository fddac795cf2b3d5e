# SPDX-License-Identifier: GPL-3.0-or-later
"""What is divided into bands, and the noise within one: over carriers, delays, directions or symbols.

Power and density. The power of the noise is its mean over the whole axis, while it is on, relative to the received
signal: 0 dB is as much as all streams together, per antenna. All of it lies in one band. Its density there, the
power that it would have if the whole axis were like this, is greater by the axis' length over the band's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..channels.flat import complex_normal
from ..frames.frame_format import DATA_SYMBOLS, EVERYWHERE, NUM_SYMBOLS, PARTS, TRAINING_SYMBOLS, FrameFormat
from .probed_link import Link, ReceivedFrame

__all__ = ["AXES", "Axis", "Carriers", "Delay", "Space", "Symbols", "make_axis", "noise_samples"]

PREAMBLE = 2  # OFDM symbols with their cyclic prefixes fit into the preamble
TRAINING, DATA = np.array(TRAINING_SYMBOLS), np.array(DATA_SYMBOLS)


class Axis(ABC):
    """Bands and the noise in them.

    Attributes:
        unit: of positions.
        edges: lowest and highest position of each band, (bands, 2).
        synchronizes: whether the synchronizer sees the noise; otherwise it has done its work before.
    """

    unit: ClassVar[str]

    def __init__(self, link: Link, edges: NDArray[np.float64], synchronizes: bool = False):
        self.link, self.edges, self.synchronizes = link, edges, synchronizes

    @property
    def positions(self) -> NDArray[np.float64]:
        """The middles of the bands."""
        return self.edges.mean(axis=1)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Which share of the axis each band is."""
        lengths = np.diff(self.edges, axis=1)[:, 0]
        return lengths / lengths.sum()

    @abstractmethod
    def noise(self, frame: ReceivedFrame, band: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """Noise of density 1 in a band, on the active carriers of preamble and symbols, (16, num_rx, num_active).

        1 is num_tx for each antenna's carrier: what all streams together have.
        """

    def _white(self, rng: np.random.Generator) -> NDArray[np.complex64]:
        frame, link = self.link.frame_format, self.link
        noise = complex_normal(rng, (PREAMBLE + NUM_SYMBOLS, link.num_rx, frame.num_active))
        return noise * np.float32(math.sqrt(frame.num_tx))


class Carriers(Axis):
    """Adjacent active carriers, on the whole frame or on a part of it.

    Args:
        link: that is probed.
        num_bands: 1 to num_active.
        on: ``"all"``, or one of `PARTS`.
    """

    unit = "carriers"

    def __init__(self, link: Link, num_bands: int, on: str = EVERYWHERE):
        frame = link.frame_format
        _check(num_bands, frame.num_active, "active carriers")
        if on not in (EVERYWHERE, *PARTS):
            raise ValueError(f"on is {on!r}; one of {', '.join((EVERYWHERE, *PARTS))} expected")
        self._groups = np.array_split(np.arange(frame.num_active), num_bands)
        # without the gap at carrier 0
        edges = np.array([[group[0], group[-1] + 1] for group in self._groups]) - frame.num_active / 2
        super().__init__(link, edges, synchronizes=on != "data")
        masks = {"preamble": np.arange(PREAMBLE), "training": PREAMBLE + TRAINING, "data": PREAMBLE + DATA}
        self._on = np.arange(PREAMBLE + NUM_SYMBOLS) if on == EVERYWHERE else masks[on]

    def noise(self, frame: ReceivedFrame, band: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """See `Axis`."""
        noise = np.zeros_like(white := self._white(rng))
        places = np.ix_(self._on, np.arange(self.link.num_rx), self._groups[band])
        noise[places] = white[places]
        return noise


class Delay(Axis):
    """Delays of paths that are not there, on the training symbols only, each with other gains: the estimator's channel.

    At each antenna and for each stream there is a channel that adds to the true one, whose power lies within a band of
    delays, evenly. The axis is as long as delays can be told apart: fft_size / comb samples.
    """

    unit = "samples"

    def __init__(self, link: Link, num_bands: int):
        frame = link.frame_format
        length = frame.fft_size / frame.comb
        _check(num_bands, round(2 * length), "half samples of delay")
        edges = np.linspace(-length / 2, length / 2, num_bands + 1)
        super().__init__(link, np.stack([edges[:-1], edges[1:]], axis=1))
        self.factors = [self._factor(low, high) for low, high in self.edges]

    def _factor(self, low: float, high: float) -> NDArray[np.complex64]:
        """F (num_active, m) with F F^H the covariance of a channel of unit density within a band."""
        frame = self.link.frame_format
        carriers = frame.active_carriers
        lags = (carriers[:, None] - carriers) / frame.fft_size
        share = (high - low) * frame.comb / frame.fft_size
        covariance = share * np.sinc((high - low) * lags) * np.exp(-1j * np.pi * (high + low) * lags)
        values, vectors = np.linalg.eigh(covariance)
        keep = values > 1e-6 * values[-1]
        return (vectors[:, keep] * np.sqrt(values[keep])).astype(np.complex64)

    def noise(self, frame: ReceivedFrame, band: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """See `Axis`."""
        form, factor = self.link.frame_format, self.factors[band]
        gains = complex_normal(rng, (len(TRAINING), self.link.num_rx, form.num_tx, factor.shape[1]))
        noise = np.zeros((PREAMBLE + NUM_SYMBOLS, self.link.num_rx, form.num_active), np.complex64)
        noise[PREAMBLE + TRAINING] = np.einsum("srtm,km,stk->srk", gains, factor, form.known_grid[TRAINING])
        return noise


class Space(Axis):
    """Directions: along the left singular vectors of each data carrier's channel, strongest first: the detector's."""

    unit = "singular vectors"

    def __init__(self, link: Link, num_bands: int | None = None):
        if num_bands not in (None, link.num_rx):
            raise ValueError(f"{num_bands} bands; {link.num_rx} expected: as many directions as receive antennas")
        middles = np.arange(1.0, link.num_rx + 1)
        super().__init__(link, np.stack([middles - 0.5, middles + 0.5], axis=1))

    def noise(self, frame: ReceivedFrame, band: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """See `Axis`."""
        form = self.link.frame_format
        vectors = np.linalg.svd(frame.channel)[0][..., band]  # (11, num_data, num_rx)
        level = complex_normal(rng, (*vectors.shape[:2], 1)) * np.float32(math.sqrt(form.num_tx))
        noise = np.zeros((PREAMBLE + NUM_SYMBOLS, self.link.num_rx, form.num_active), np.complex64)
        for symbol, places, values in zip(DATA, form.data_indices, level * vectors, strict=True):
            noise[PREAMBLE + symbol][:, places] = values.T
        return noise


class Symbols(Axis):
    """Bursts as long as one or more OFDM symbols, on all active carriers."""

    unit = "OFDM symbols"

    def __init__(self, link: Link, num_bands: int):
        _check(num_bands, NUM_SYMBOLS, "OFDM symbols")
        self._groups = np.array_split(np.arange(NUM_SYMBOLS), num_bands)
        edges = np.array([[group[0] - 0.5, group[-1] + 0.5] for group in self._groups])
        super().__init__(link, edges, synchronizes=True)

    def noise(self, frame: ReceivedFrame, band: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """See `Axis`."""
        noise = np.zeros_like(white := self._white(rng))
        noise[PREAMBLE + self._groups[band]] = white[PREAMBLE + self._groups[band]]
        return noise


AXES = ("carriers", "delay", "space", "symbols")


def make_axis(link: Link, name: str, num_bands: int | None = None, on: str = EVERYWHERE) -> Axis:
    """The axis of `AXES` with this name.

    Args:
        link: that is probed.
        name: of the axis.
        num_bands: in how many bands it is divided; None: as many as is usual.
        on: where the noise is, see `Carriers`.

    Raises:
        ValueError: there is no such axis, or it cannot have so many bands, or be probed there.
    """
    if name == "carriers":
        return Carriers(link, 13 if num_bands is None else num_bands, on)
    if on != EVERYWHERE:
        raise ValueError(f"on is {on!r}; {EVERYWHERE!r} expected: only the axis carriers has parts of a frame")
    if name == "delay":
        return Delay(link, 32 if num_bands is None else num_bands)
    if name == "space":
        return Space(link, num_bands)
    if name == "symbols":
        return Symbols(link, NUM_SYMBOLS if num_bands is None else num_bands)
    raise ValueError(f"unknown axis {name!r}; one of {', '.join(AXES)} expected")


def noise_samples(frame_format: FrameFormat, noise: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Noise on carriers, (16, num_rx, num_active), as samples of a frame, (num_rx, frame_length).

    Each part is a symbol with its cyclic prefix, so that it stays on its carriers whoever looks from within it.
    """
    size, prefix = frame_format.fft_size, frame_format.cp_length
    spectrum = np.zeros((*noise.shape[:2], size), np.complex64)
    spectrum[..., frame_format.active_carriers % size] = noise
    symbols = np.fft.ifft(spectrum, norm="ortho")
    symbols = np.concatenate([symbols[..., -prefix:], symbols], axis=-1)
    return symbols.swapaxes(0, 1).reshape(noise.shape[1], -1).astype(np.complex64)


def _check(num_bands: int, most: int, of: str) -> None:
    if not 1 <= num_bands <= most:
        raise ValueError(f"{num_bands} bands; 1 to {most} expected: there are {most} {of}")
