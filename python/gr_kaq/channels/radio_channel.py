# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies between the samples of a transmitter and those of a receiver: fading, oscillators, interference, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..signals.signal_model import from_db
from .flat import complex_normal
from .interference import Interference, Interferer
from .profiles import delay_line

__all__ = ["RadioChannel"]

MAX_CLOCK_OFFSET_PPM = 200.0
MAX_TIMING_OFFSET = 65536.0
MAX_PAIRS, MAX_LAGS = 1024, 512  # what bounds the memory

# Interpolation of the samples: sinc in a Kaiser window, from a table. The error is below -58 dB up to 13/32 of the
# sample rate, the edge of the frame's carriers.
HALF_WIDTH, KAISER_BETA, STEPS = 12, 6.0, 4096
KERNEL_SIZE = 2 * HALF_WIDTH * STEPS + 1
KERNEL = np.sinc(np.linspace(-HALF_WIDTH, HALF_WIDTH, KERNEL_SIZE)) * np.kaiser(KERNEL_SIZE, KAISER_BETA)
KERNEL = KERNEL.astype(np.float32)

# Interpolation of the filters, linear from one node to the next. After t turns of the fastest tap the error is
# (2 pi t)^2 / 8: -60 dB for MAX_TURN, -46 dB for MAX_DOPPLER and the shortest distance.
NODE_DISTANCES = (256, 128, 64, 32)
MAX_TURN, MAX_DRIFT, MAX_DOPPLER = 0.014, 0.02, 1e-3

GROUP = 64  # nodes whose filters are made at once
GROUP_DRIFT = math.ceil(GROUP * MAX_DRIFT)  # samples
SLIP = 1024
MAX_PIECE = 1024  # samples in one product, so that it stays in the cache


class RadioChannel:
    """Samples of num_tx transmit antennas become those of num_rx receive antennas; streaming, in single precision.

        y_i[n] = a_i (exp(j phi[n]) sum over j, p of g_p,ij(n) x_j(n (1 + clock_offset) - d_p - delay) + w_i[n])

    g_p, d_p: the taps of a `DelayLine`, d_p in samples; a_i: gain of an antenna; phi: carrier offset and phase
    noise; w ~ CN(0, noise_var), noise_var = num_tx / SNR: the project's SNR for E|x|^2 = 1 on the carriers (see
    `signal_model`). To w an `Interferer` may add itself, whose frequencies are those of the receiver's oscillator. One
    oscillator and one clock serve all antennas of a radio. The delay is `latency` plus the timing offset. Fading, phase
    noise, noise and interference have random generators of their own: the same seed with snr_db=inf gives the same y
    without noise.

    x(t) is interpolated by a windowed sinc, with an error below -58 dB up to 13/32 of the sample rate; fractional
    delays distort what lies beyond.

    With a clock offset, each sample in still gives one sample out: a buffer of 1024 samples evens them out. When it is
    used up, after 1024e6 / |clock_offset_ppm| samples (26 s at 20 ppm and 2 Msample/s), the channel slips by as many
    samples, as a radio does that overflows: they are lost or come twice, and what is on the air then is damaged.

    Args:
        num_rx, num_tx: antennas of receiver and transmitter; at most 1024 pairs.
        sample_rate: in Hz.
        profile, delay_spread, doppler: see `profiles.delay_line`; delay_spread in seconds, so that the last tap comes
            at most 488 samples late; doppler in Hz, at most sample_rate / 1000.
        snr_db: nominal SNR in dB; inf: no noise.
        carrier_offset: by how much the received carrier lies above the receiver's, in Hz; at most half of sample_rate.
        clock_offset_ppm: by how much longer than the transmitter's the receiver's sample period is, in parts per
            million; -200 to 200.
        phase_noise: linewidth of the oscillator in Hz, the full width at half maximum of its Lorentzian spectrum: the
            phase is a Wiener process whose variance grows by 2 pi linewidth in a second.
        timing_offset: further delay in samples, may be fractional; 0 to 65536.
        antenna_gains_db: of each receive antenna, in dB, for signal and noise; -inf: a dead one, all zeros. None: 0 dB.
        interferer: who interferes; None: nobody.
        seed: the same seed gives the same output, however the stream is cut (but for rounding).

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        *,
        sample_rate: float,
        profile: str = "flat",
        delay_spread: float = 0.0,
        doppler: float = 0.0,
        snr_db: float = math.inf,
        carrier_offset: float = 0.0,
        clock_offset_ppm: float = 0.0,
        phase_noise: float = 0.0,
        timing_offset: float = 0.0,
        antenna_gains_db: Sequence[float] | None = None,
        interferer: Interferer | None = None,
        seed: int | np.random.SeedSequence = 0,
    ):
        if num_rx < 1 or num_tx < 1 or num_rx * num_tx > MAX_PAIRS:
            raise ValueError(
                f"num_rx is {num_rx} and num_tx {num_tx}; at least 1, product at most {MAX_PAIRS} expected"
            )
        if not 0 < sample_rate < math.inf:
            raise ValueError(f"sample_rate is {sample_rate}; above 0 and finite expected")
        if not 0 <= doppler <= MAX_DOPPLER * sample_rate:
            raise ValueError(f"doppler is {doppler}; 0 to {MAX_DOPPLER * sample_rate:g}, sample_rate / 1000, expected")
        if not abs(clock_offset_ppm) <= MAX_CLOCK_OFFSET_PPM:
            raise ValueError(
                f"clock_offset_ppm is {clock_offset_ppm}; at most {MAX_CLOCK_OFFSET_PPM:g} either way expected"
            )
        if not 0 <= phase_noise <= sample_rate:
            raise ValueError(f"phase_noise is {phase_noise}; 0 to {sample_rate:g}, sample_rate, expected")
        if not 0 <= timing_offset <= MAX_TIMING_OFFSET:
            raise ValueError(f"timing_offset is {timing_offset}; 0 to {MAX_TIMING_OFFSET:g} expected")
        gains_db = np.zeros(num_rx) if antenna_gains_db is None else np.asarray(antenna_gains_db, np.float64)
        if gains_db.shape != (num_rx,) or not (gains_db <= 100).all():
            raise ValueError(
                f"antenna_gains_db is {antenna_gains_db}; one gain for each of the {num_rx} receive antennas expected, "
                "at most 100 dB"
            )
        sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        fading_seed, phase_seed, noise_seed, self._interference_seed = sequence.spawn(4)
        self._fading = delay_line(
            num_rx, num_tx, profile=profile, delay_spread=delay_spread, doppler=doppler, seed=fading_seed
        )
        self._phase_rng = np.random.Generator(np.random.SFC64(phase_seed))
        self._noise_rng = np.random.Generator(np.random.SFC64(noise_seed))

        self._size = (num_rx, num_tx)
        self._sample_rate = float(sample_rate)
        self._antenna_gains = np.sqrt(from_db(gains_db)).astype(np.float32)[:, None]
        self.set_snr_db(snr_db)
        self.set_carrier_offset(carrier_offset)
        self._interference: Interference | None = None
        self.set_interferer(interferer)
        self._turns = 0.0  # of the oscillators, at the next sample
        self._phase_deviation = math.sqrt(phase_noise / (2 * math.pi * sample_rate))  # turns per sample

        self._clock_offset = clock_offset_ppm * 1e-6
        self._delay = self.latency + float(timing_offset)
        turn, drift = doppler / sample_rate, abs(self._clock_offset)
        self._varies = turn > 0 or drift > 0
        self._node_distance = next(
            (n for n in NODE_DISTANCES if n * turn <= MAX_TURN and n * drift <= MAX_DRIFT), NODE_DISTANCES[-1]
        )
        self._ramp = (np.arange(self._node_distance) / self._node_distance).astype(np.float32)
        self._tap_delays = self._fading.delays * sample_rate
        last = self._tap_delays.max() + GROUP * self._node_distance * drift
        self._num_lags = 2 * HALF_WIDTH + math.ceil(last)
        if self._num_lags > MAX_LAGS:
            raise ValueError(
                f"delay_spread is {delay_spread}: the last tap comes {self._tap_delays.max():.0f} samples late; "
                f"at most {MAX_LAGS - 2 * HALF_WIDTH} expected"
            )
        self._group = -1
        self._make_filters(0)

        # Sample n of the input is at self._origin + n
        self._next = 0
        self._history = math.ceil(self._delay) + SLIP + self._num_lags + 2 * self._node_distance
        self._origin = self._history
        self._input = np.zeros((num_tx, 4 * (self._history + MAX_PIECE)), np.complex64)

    @property
    def latency(self) -> int:
        """Samples from input to output, for a path without delay: at first, where the clocks differ."""
        return HALF_WIDTH + (SLIP + GROUP_DRIFT if self._clock_offset > 0 else 0)

    @property
    def noise_var(self) -> float:
        """Noise variance of a sample of an antenna whose gain is 0 dB."""
        return self._noise_var

    def set_snr_db(self, snr_db: float) -> None:
        """Set the nominal SNR in dB, at least -100, from the next sample on; inf: no noise."""
        if not snr_db >= -100:
            raise ValueError(f"snr_db is {snr_db}; at least -100 expected")
        self._noise_var = float(self._size[1] / from_db(snr_db))

    def set_carrier_offset(self, carrier_offset: float) -> None:
        """Set the carrier offset in Hz, at most half the sample rate, from the next sample on; the phase goes on."""
        if not abs(carrier_offset) <= self._sample_rate / 2:
            raise ValueError(
                f"carrier_offset is {carrier_offset}; at most {self._sample_rate / 2:g}, half of sample_rate, expected"
            )
        self._turns_per_sample = carrier_offset / self._sample_rate

    def set_interferer(self, interferer: Interferer | None) -> None:
        """Set who interferes from the next sample on; None: nobody.

        Raises:
            ValueError: see `Interference`; the one before stays.
        """
        if interferer is None:
            self._interference = None
        elif self._interference is None:
            self._interference = Interference(interferer, self._size[0], self._sample_rate, self._interference_seed)
        else:
            self._interference.set_interferer(interferer)

    def process(
        self, x: NDArray[np.complexfloating], interfered: NDArray[np.bool_] | None = None
    ) -> NDArray[np.complex64]:
        """The received samples (num_rx, n) of the next transmitted ones, (num_tx, n).

        Args:
            x: the transmitted ones.
            interfered: which of the received samples have the interference, (n,); None: all.

        Raises:
            ValueError: x has another shape.
        """
        num_rx, num_tx = self._size
        group = GROUP * self._node_distance
        if x.ndim != 2 or len(x) != num_tx:
            raise ValueError(f"x has the shape {x.shape}; ({num_tx}, n) expected")
        y = np.empty((num_rx, x.shape[1]), np.complex64)
        start = 0
        with np.errstate(all="ignore"):  # x may hold NaN
            while start < x.shape[1]:
                stop = min(x.shape[1], start + MAX_PIECE, start + group - self._next % group)
                self._append(x[:, start:stop])
                piece = self._fade(stop - start)
                self._rotate(piece)
                if self._noise_var:
                    noise = complex_normal(self._noise_rng, (stop - start, num_rx))
                    noise *= np.float32(math.sqrt(self._noise_var))
                    piece += noise.T
                if self._interference:
                    interference = self._interference.draw(stop - start)
                    piece += interference if interfered is None else interference * interfered[start:stop]
                np.multiply(piece, self._antenna_gains, out=y[:, start:stop])
                self._next += stop - start
                start = stop
        return y

    def _append(self, x: NDArray[np.complexfloating]) -> None:
        end = self._origin + self._next
        if end + x.shape[1] + self._node_distance > self._input.shape[1]:
            self._input[:, : self._history] = self._input[:, end - self._history : end]
            self._origin, end = self._history - self._next, self._history
        self._input[:, end : end + x.shape[1]] = x

    def _fade(self, count: int) -> NDArray[np.complex64]:
        """The next `count` samples, which are of one group of nodes, through the filters: (num_rx, count)."""
        num_rx, distance = self._size[0], self._node_distance
        self._make_filters(self._next // (GROUP * distance))
        nodes = np.arange(self._next // distance, (self._next + count - 1) // distance + 1)
        filters = self._filters[nodes % GROUP] if self._varies else self._filters

        windows = np.lib.stride_tricks.sliding_window_view(self._input, distance, axis=1).swapaxes(0, 1)
        first = self._origin + nodes * distance - self._first_lag
        delayed = windows[first[:, None] - np.arange(self._num_lags)]  # (nodes, lags, num_tx, distance)
        y = filters @ delayed.reshape(len(nodes), -1, distance)
        if self._varies:
            y = y[:, :num_rx] + self._ramp * y[:, num_rx:]
        skip = self._next % distance
        return y.swapaxes(0, 1).reshape(num_rx, -1)[:, skip : skip + count]

    def _make_filters(self, group: int) -> None:
        """Make the filters of a group, (GROUP, 2 num_rx, lags * num_tx): at each node, and the way to the next one.

        The clocks slip at the start of a group, so that all its filters have the same lags.
        """
        if group == self._group or (self._group >= 0 and not self._varies):
            return
        self._group = group
        nodes = np.arange(GROUP + 1 if self._varies else 1)
        first_sample = group * GROUP * self._node_distance
        step = self._node_distance / self._sample_rate
        gains = self._fading.gains_in_steps(first_sample / self._sample_rate, step, len(nodes)).view(np.float32)

        drift = math.fmod(first_sample * self._clock_offset, SLIP) + nodes * self._node_distance * self._clock_offset
        delays = self._delay - drift
        whole = math.floor(np.min(delays))
        self._first_lag = whole - HALF_WIDTH + 1
        lags = self._first_lag + np.arange(self._num_lags)
        if not self._clock_offset:
            delays = delays[:1]
        steps = np.rint((delays[:, None, None] + self._tap_delays) * STEPS).astype(np.int64)
        kernel = KERNEL.take((lags[:, None] + HALF_WIDTH) * STEPS - steps, mode="clip")  # its ends are 0
        filters = kernel @ gains.reshape(*gains.shape[:2], -1)  # (nodes, lags, pairs)
        filters = filters.view(np.complex64).reshape(len(nodes), self._num_lags, *self._size).swapaxes(1, 2)
        filters = filters.reshape(len(nodes), self._size[0], -1)
        self._filters = np.concatenate([filters[:-1], np.diff(filters, axis=0)], axis=1) if self._varies else filters

    def _rotate(self, y: NDArray[np.complex64]) -> None:
        """Turn by the offset of the carrier and by phase noise, all antennas alike."""
        if not (self._turns_per_sample or self._phase_deviation or self._turns):
            return
        steps = np.full(y.shape[1] + 1, self._turns_per_sample)
        steps[0] = self._turns
        if self._phase_deviation:
            steps[1:] += self._phase_deviation * self._phase_rng.standard_normal(y.shape[1])
        turns = np.cumsum(steps)
        turns -= np.rint(turns)
        self._turns = float(turns[-1])
        angles = (2 * np.pi * turns[:-1]).astype(np.float32)
        rotation = np.empty(y.shape[1], np.complex64)
        rotation.real, rotation.imag = np.cos(angles), np.sin(angles)
        y *= rotation
