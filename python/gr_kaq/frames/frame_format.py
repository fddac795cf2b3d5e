# SPDX-License-Identifier: GPL-3.0-or-later
"""The MIMO-OFDM frame: the one definition that transmitter, receiver and training share.

    preamble | 14 OFDM symbols, or 28 or 56, each behind its cyclic prefix
               the first, the one in the middle (7) and the last train the channel,
               the other 11, 25 or 53 carry data and four pilots per 52 carriers

Preamble: ten equal periods of fft_size / 4 samples (every fourth carrier), as Schmidl and Cox detect them ("Robust
frequency and timing synchronization for OFDM", IEEE Trans. Commun. 45(12), 1997), another sequence on each stream.

Training: the streams interleave on the carriers, each alone on every `comb`-th one, with `comb` times the power. The
comb of a stream moves by half its spacing in the symbol in the middle.

Pilots: on each data symbol all streams send known values on the same carriers, which move from symbol to symbol.

Known values are QPSK from SHAKE-256 of their name, so that they do not depend on anybody's random generator.
Carriers are numbered from -fft_size / 2; a grid holds the active ones only, in ascending order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..signals.constellation import Constellation, constellation_named

__all__ = [
    "DATA_SYMBOLS",
    "EVERYWHERE",
    "FFT_SIZES",
    "MAX_STREAMS",
    "NUM_SYMBOLS",
    "PARTS",
    "SYMBOL_COUNTS",
    "TRAINING_SYMBOLS",
    "FrameFormat",
    "known_octets",
]

FFT_SIZES = (64, 256, 512, 1024, 2048)
MAX_STREAMS = 8
SYMBOL_COUNTS = (14, 28, 56)
EVERYWHERE, PARTS = "all", ("preamble", "training", "data")
PREAMBLE_PERIODS = 10
PILOT_SPACING = 13
DENSE_TRAINING = 256  # carriers, up to which a single stream trains on all of them
CRC_BYTES = 4
TAIL_BITS = 6  # of the convolutional code with constraint length 7


@dataclass(frozen=True)
class FrameFormat:
    """Everything that both ends of a link have to agree on.

    The modulated frame has mean power 52/64 per stream: E|x|^2 = 1 on an active carrier, and the Fourier transforms
    are unitary, so that the noise variance of a sample is that of a carrier.

    Shapes with 14 or 11 in them are those of 14 OFDM symbols, 11 of which carry data; longer frames have more.

    Args:
        num_tx: streams, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: 64, 256, 512, 1024 or 2048 carriers, of which 13 in 16 are active; the rest are guards, and carrier 0.
        constellation_name: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        num_symbols: OFDM symbols: 14, or 28 or 56 where channels change slowly. Three of them train.

    Raises:
        ValueError: an argument is out of range.
    """

    num_tx: int = 2
    fft_size: int = 64
    constellation_name: str = "16qam"
    num_symbols: int = SYMBOL_COUNTS[0]

    def __post_init__(self) -> None:
        if self.num_tx not in range(1, MAX_STREAMS + 1):
            raise ValueError(f"num_tx is {self.num_tx}; 1 to {MAX_STREAMS} expected")
        if self.fft_size not in FFT_SIZES:
            raise ValueError(f"fft_size is {self.fft_size}; one of {', '.join(map(str, FFT_SIZES))} expected")
        if self.num_symbols not in SYMBOL_COUNTS:
            raise ValueError(f"num_symbols is {self.num_symbols}; one of {', '.join(map(str, SYMBOL_COUNTS))} expected")
        if self.num_active % self.comb:
            raise ValueError(f"num_tx is {self.num_tx}; at most 4 expected with {self.fft_size} carriers")
        constellation_named(self.constellation_name)

    # Sizes

    @property
    def constellation(self) -> Constellation:
        """What every stream carries."""
        return constellation_named(self.constellation_name)

    @property
    def cp_length(self) -> int:
        """Samples of a cyclic prefix."""
        return self.fft_size // 4

    @property
    def timing_advance(self) -> int:
        """How many samples before its end a receiver leaves the cyclic prefix, so that a late start does no harm."""
        return self.cp_length // 4

    @property
    def delay_window(self) -> int:
        """Samples in which a receiver expects all paths: `fft_size / comb` later, training looks alike again."""
        return min(self.cp_length - self.timing_advance, self.fft_size // self.comb)

    @property
    def symbol_length(self) -> int:
        """Samples of an OFDM symbol and its cyclic prefix."""
        return self.fft_size + self.cp_length

    @property
    def preamble_period(self) -> int:
        """Samples after which the preamble repeats itself."""
        return self.fft_size // 4

    @property
    def preamble_length(self) -> int:
        """Samples of the preamble."""
        return PREAMBLE_PERIODS * self.preamble_period

    @property
    def frame_length(self) -> int:
        """Samples of a frame."""
        return self.preamble_length + self.num_symbols * self.symbol_length

    @property
    def training_symbols(self) -> tuple[int, int, int]:
        """The OFDM symbols that train the channel."""
        return 0, self.num_symbols // 2, self.num_symbols - 1

    @cached_property
    def data_symbols(self) -> tuple[int, ...]:
        """The others."""
        return tuple(symbol for symbol in range(self.num_symbols) if symbol not in self.training_symbols)

    def samples_of(self, part: str) -> NDArray[np.bool_]:
        """Which samples of a frame, (frame_length,), are of one of `PARTS`; cyclic prefixes go with their symbols."""
        symbols = {"preamble": (), "training": self.training_symbols, "data": self.data_symbols}[part]
        of_symbols = np.repeat(np.isin(np.arange(self.num_symbols), symbols), self.symbol_length)
        return np.concatenate([np.full(self.preamble_length, part == "preamble"), of_symbols])

    @property
    def num_active(self) -> int:
        """Active carriers."""
        return self.fft_size * 13 // 16

    @property
    def num_pilots(self) -> int:
        """Pilots of a data symbol."""
        return self.num_active // PILOT_SPACING

    @property
    def num_data(self) -> int:
        """Data carriers of a data symbol."""
        return self.num_active - self.num_pilots

    @property
    def data_per_stream(self) -> int:
        """Data symbols that a stream carries in a frame."""
        return len(self.data_symbols) * self.num_data

    @property
    def comb(self) -> int:
        """Carriers from one training value of a stream to its next: room for all streams, and for delays."""
        return max(1 << (self.num_tx - 1).bit_length(), self.fft_size // DENSE_TRAINING)

    @property
    def coded_bits(self) -> int:
        """Bits that all data symbols of a frame carry."""
        return self.data_per_stream * self.num_tx * self.constellation.bits_per_symbol

    @property
    def payload_bytes(self) -> int:
        """Bytes of a frame for its user: without CRC, at code rate 1/2."""
        return (self.coded_bits // 2 - TAIL_BITS) // 8 - CRC_BYTES

    # Carriers

    @cached_property
    def active_carriers(self) -> NDArray[np.int64]:
        """Numbers of the active carriers, (num_active,), ascending, without 0."""
        half = self.num_active // 2
        return np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])

    @cached_property
    def guard_carriers(self) -> NDArray[np.int64]:
        """Numbers of the carriers beyond the active ones: noise only. (Carrier 0 may hold a radio's offset.)"""
        half = self.num_active // 2
        return np.concatenate([np.arange(-self.fft_size // 2, -half), np.arange(half + 1, self.fft_size // 2)])

    @cached_property
    def training_indices(self) -> NDArray[np.int64]:
        """Where a stream trains: (3, num_tx, num_active / comb), places in the grid, ascending."""
        shift = np.array([0, self.comb // 2, 0])[:, None, None]
        stream = np.arange(self.num_tx)[:, None]
        return (stream + shift) % self.comb + np.arange(0, self.num_active, self.comb)

    @cached_property
    def pilot_indices(self) -> NDArray[np.int64]:
        """Where the pilots are: (11, num_pilots), places in the grid, ascending; for each of `data_symbols`."""
        first = (6 + 5 * np.arange(len(self.data_symbols))) % PILOT_SPACING
        return first[:, None] + np.arange(0, self.num_active, PILOT_SPACING)

    @cached_property
    def data_indices(self) -> NDArray[np.int64]:
        """Where the data is: (11, num_data), places in the grid, ascending; for each of `data_symbols`."""
        places = np.arange(self.num_active)
        return np.stack([np.setdiff1d(places, pilots) for pilots in self.pilot_indices])

    @cached_property
    def known_grid(self) -> NDArray[np.complex64]:
        """Training and pilots of every stream, zeros for the data: (14, num_tx, num_active)."""
        grid = np.zeros((self.num_symbols, self.num_tx, self.num_active), np.complex64)
        values = _qpsk("known grid", grid.shape)
        for symbol, places in zip(self.training_symbols, self.training_indices, strict=True):
            for stream in range(self.num_tx):
                grid[symbol, stream, places[stream]] = self.comb**0.5 * values[symbol, stream, places[stream]]
        for symbol, places in zip(self.data_symbols, self.pilot_indices, strict=True):
            grid[symbol][:, places] = values[symbol][:, places]
        return grid

    # From bits to samples, and back

    @cached_property
    def interleaver(self) -> NDArray[np.int64]:
        """Coded bit `interleaver[i]` is the i-th one on the grid, (coded_bits,).

        The order on the grid is [data symbol][data carrier][stream][bit].
        """
        return np.argsort(np.frombuffer(known_octets("interleaver", 8 * self.coded_bits), "<u8"), kind="stable")

    def map_bits(self, bits: NDArray[np.uint8]) -> NDArray[np.complex64]:
        """Data symbols (11, num_data, num_tx) of the coded bits, (coded_bits,)."""
        width = self.constellation.bits_per_symbol
        indices = bits[self.interleaver].reshape(-1, width) @ (1 << np.arange(width)[::-1]).astype(np.uint8)
        return self.constellation.points[indices].reshape(len(self.data_symbols), self.num_data, self.num_tx)

    def collect_llrs(self, llrs: NDArray[np.float32]) -> NDArray[np.float32]:
        """LLRs of the coded bits, (coded_bits,), from those on the grid, (11, num_data, num_tx, bits_per_symbol)."""
        collected = np.empty(self.coded_bits, np.float32)
        collected[self.interleaver] = llrs.reshape(-1)
        return collected

    def fill_grid(self, data: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
        """The whole grid (14, num_tx, num_active) of a frame with these data symbols, (11, num_data, num_tx)."""
        grid = self.known_grid.copy()
        for symbol, places, values in zip(self.data_symbols, self.data_indices, data, strict=True):
            grid[symbol][:, places] = values.T
        return grid

    def modulate(self, data: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
        """Samples (num_tx, frame_length) of a frame with these data symbols, (11, num_data, num_tx)."""
        grid = self.fill_grid(data)
        spectrum = np.zeros((self.num_symbols, self.num_tx, self.fft_size), np.complex128)
        spectrum[..., self.active_carriers % self.fft_size] = grid
        symbols = np.fft.ifft(spectrum, norm="ortho")
        symbols = np.concatenate([symbols[..., -self.cp_length :], symbols], axis=-1)
        body = symbols.swapaxes(0, 1).reshape(self.num_tx, -1)
        return np.concatenate([self.preamble, body], axis=-1).astype(np.complex64)

    @cached_property
    def known_samples(self) -> NDArray[np.complex64]:
        """Samples of a frame without data, (num_tx, frame_length)."""
        return self.modulate(np.zeros((len(self.data_symbols), self.num_data, self.num_tx), np.complex64))

    @cached_property
    def preamble(self) -> NDArray[np.complex64]:
        """Samples of the preamble, (num_tx, preamble_length), with the mean power of a data symbol."""
        carriers = self.active_carriers[self.active_carriers % 4 == 0]
        spectrum = np.zeros((self.num_tx, self.fft_size), np.complex128)
        scale = (self.num_active / len(carriers)) ** 0.5
        spectrum[:, carriers % self.fft_size] = scale * _qpsk("preamble", (self.num_tx, len(carriers)))
        period = np.fft.ifft(spectrum, norm="ortho")[:, : self.preamble_period]
        return np.tile(period, PREAMBLE_PERIODS).astype(np.complex64)

    def demodulate(self, samples: NDArray[np.complexfloating], start: int = 0) -> NDArray[np.complex64]:
        """The received grid (14, num_rx, num_active) of a frame whose first sample (of its preamble) is `start`.

        The windows of the Fourier transform begin `timing_advance` samples early; the slope of the phase that follows
        from it is taken away.

        Args:
            samples: (num_rx, at least start + frame_length).
            start: first sample of the frame, at least 0.
        """
        begin = start + self.preamble_length
        body = samples[:, begin : begin + self.num_symbols * self.symbol_length]
        windows = body.reshape(len(samples), self.num_symbols, self.symbol_length)
        first = self.cp_length - self.timing_advance
        grid, _ = self.transform(windows[..., first : first + self.fft_size])
        return np.ascontiguousarray(grid.swapaxes(0, 1), np.complex64)

    def transform(self, windows: NDArray[np.complexfloating]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Active carriers (..., num_active), as `demodulate` has them, and guards, of windows (..., fft_size)."""
        spectrum = np.fft.fft(windows.astype(np.complex128), norm="ortho")  # NumPy 2 keeps single precision
        grid = spectrum[..., self.active_carriers % self.fft_size] * self.advance_correction
        return grid, spectrum[..., self.guard_carriers % self.fft_size]

    @cached_property
    def advance_correction(self) -> NDArray[np.complex64]:
        """What takes the slope of `timing_advance` away from the active carriers, (num_active,)."""
        turns = self.active_carriers * self.timing_advance / self.fft_size
        return np.exp(2j * np.pi * turns).astype(np.complex64)


NUM_SYMBOLS = SYMBOL_COUNTS[0]
TRAINING_SYMBOLS, DATA_SYMBOLS = FrameFormat().training_symbols, FrameFormat().data_symbols
"""Those of the usual frames, which all else than the receiver takes for granted."""


def known_octets(name: str, count: int) -> bytes:
    """Octets that the name determines, for everybody the same: SHAKE-256 of it."""
    return hashlib.shake_256(f"gr-kaq {name}".encode()).digest(count)


def _qpsk(name: str, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """QPSK values of unit power that the name determines."""
    bits = np.unpackbits(np.frombuffer(known_octets(name, -(-int(np.prod(shape)) // 4)), np.uint8))
    values = constellation_named("qpsk").modulate(bits)
    return values[: int(np.prod(shape))].reshape(shape)
