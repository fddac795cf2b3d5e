# SPDX-License-Identifier: GPL-3.0-or-later
"""What the training symbols of a frame say: least squares, and the statistics of noise and channel.

The statistics are those of Rayleigh channels with exponentially distributed delays, on a line of sight or without, and
Jakes Doppler, the same for all pairs of antennas. They follow from the training symbols of a single frame by maximum
likelihood on a grid, for the coefficients of the channel in the eigenvectors of its covariance over the carriers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import native
from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat

__all__ = [
    "DELAY_MODELS",
    "DELAY_SPREADS",
    "DIFFUSE",
    "DOPPLERS",
    "SNR_RANGE_DB",
    "SNR_STEP_DB",
    "Arrival",
    "ChannelCovariance",
    "Interference",
    "Observation",
    "Observer",
    "channel_covariance",
    "observe",
    "observer",
]

SNR_RANGE_DB = (-20.0, 60.0)

# What is told apart: delay spreads (those of the tail) in cycles per carrier; Dopplers, whose effect grows with their
# square, and carrier offsets in cycles per symbol.
DELAY_SPREADS = 2.0 ** np.arange(-11, -3.9, 0.5)
DIFFUSE = (1.0, 0.1, 0.01)  # shares of the power that do not come at once, on a line of sight
DELAY_MODELS = tuple((float(tail) * math.sqrt(2 * a - a**2), a) for a in DIFFUSE for tail in DELAY_SPREADS)
DELAY_SCORES = np.repeat([0, 1.5, 1.5], len(DELAY_SPREADS))  # a line of sight is the less likely thing
DOPPLERS = 0.05 * (np.arange(33) / 32) ** 2
MAX_OFFSET, USUAL_OFFSET = 0.06, 0.01
OFFSET_STEPS = 120  # of a frame of 14 symbols; longer ones tell more apart
DOPPLER_MODES = 8
SNR_STEP_DB = 3  # between two filters

EXACT_CARRIERS = 416  # up to which eigenvectors of the covariance over carriers are exact
LEAST_ENERGY = 1e-10  # of the strongest eigenvector: less is rounding

# Where a channel is at all, in cycles per carrier around its mean delay: beyond is noise
DELAY_WINDOW = (-1 / 32, 3 / 32)


class Arrival(NamedTuple):
    """When a frame came, as its tag `frame` says.

    Attributes:
        sample: its first one, counted from any time on.
        carrier_offset: what the synchronizer took away, in cycles per sample.
    """

    sample: int
    carrier_offset: float


class Interference(NamedTuple):
    """What is on the air beside a frame and white noise.

    Attributes:
        first, last: the carriers that hold it are between these, numbered as `FrameFormat` does. What little leaks
            from them into others does not count.
        power_db: its power over that of the signal, means over antennas and active carriers, in dB.
    """

    first: int
    last: int
    power_db: float

    def __str__(self) -> str:
        where = f"carrier {self.first}" if self.first == self.last else f"carriers {self.first} to {self.last}"
        return f"on {where}, {abs(self.power_db):.0f} dB {'below' if self.power_db < 0 else 'over'} the signal"


@dataclass(frozen=True)
class Observation:
    """What the training symbols of a frame say.

    Attributes:
        training: LS estimates, complex64 (3, num_rx, num_tx, num_active / comb), at
            `FrameFormat.training_indices`; mean delay and carrier offset taken out. On carriers with interference, what
            their neighbours say.
        delay: the mean delay that was taken out, in samples.
        carrier_offset: the carrier offset that was taken out, in cycles per OFDM symbol, from symbol 0 on.
        noise_var: noise variance of a received carrier, float64 (num_rx,); 0 for an antenna of zeros. Interference on
            single carriers does not count.
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.
        snr_db: as `gr_kaq.signals.signal_model` defines it, over all antennas that receive anything; after whitening.
        diffuse: the share of the power whose delays are spread; the rest comes at once, on a line of sight. One of
            1, 0.1 and 0.01.
        arrival: when the frame came; None: nobody knows.
        whitening: what makes the noise white, complex64 (num_active, num_rx, num_rx), lower triangular: afterwards it
            has the variance `noise_var.mean()` (of the antennas that receive anything). None: antennas differ in their
            noise variance only.
        interference: None where `whitening` is.
    """

    training: NDArray[np.complex64]
    delay: float
    carrier_offset: float
    noise_var: NDArray[np.float64]
    delay_spread: float
    doppler: float
    snr_db: float
    diffuse: float = 1.0
    arrival: Arrival | None = None
    whitening: NDArray[np.complex64] | None = None
    interference: Interference | None = None


def observe(
    frame_format: FrameFormat, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating]
) -> Observation:
    """Least squares and statistics of a frame, see `Observer`."""
    return observer(frame_format)(grid, guards)


def j0(x: ArrayLike) -> NDArray[np.float64]:
    """Bessel function of the first kind and order 0: the mean of cos(x cos(angle)) over all angles."""
    x = np.asarray(x, np.float64)
    count = max(32, math.ceil(np.max(np.abs(x), initial=0) + 12))  # enough for |x| < 20, and beyond
    angles = (np.arange(count) + 0.5) * np.pi / (2 * count)
    return np.cos(x[..., None] * np.cos(angles)).mean(axis=-1)


class ChannelCovariance:
    """Covariance of a centred channel of unit power: exponential delays, perhaps a line of sight; Jakes Doppler.

    time:      J0(2 pi doppler lag)
    frequency: 1 - diffuse + diffuse / (1 + j 2 pi tail lag), mean delay taken out as `Observer` does;
               tail = delay_spread / sqrt(2 diffuse - diffuse^2) makes delay_spread the RMS of it all
    """

    def __init__(self, frame_format: FrameFormat):
        carriers, self._num_symbols = frame_format.active_carriers, frame_format.num_symbols
        self._comb, self._lags = frame_format.comb, carriers[:, None] - carriers

    def frequency(self, delay_spread: float, diffuse: float) -> NDArray[np.complex128]:
        """(num_active, num_active), for an RMS delay spread in cycles per carrier (samples / fft_size)."""
        turn = 2 * np.pi * delay_spread / math.sqrt(2 * diffuse - diffuse**2)
        mean = np.angle(1 - diffuse + diffuse / (1 + 1j * turn * self._comb)) / self._comb
        return np.exp(-1j * mean * self._lags) * (1 - diffuse + diffuse / (1 + 1j * turn * self._lags))

    @lru_cache(maxsize=256)  # noqa: B019  # there are few formats
    def frequency_modes(self, delay_step: int) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Eigenvalues, ascending, and eigenvectors of `frequency` for one of `DELAY_MODELS`; but for the smallest.

        Those of wide frames come from some of the carriers (Nystroem): within `DELAY_WINDOW`, they say the rest.
        """
        covariance = self.frequency(*DELAY_MODELS[delay_step])
        step = -(-len(covariance) // EXACT_CARRIERS)
        values, vectors = np.linalg.eigh(covariance[::step, ::step])
        keep = values > LEAST_ENERGY * values[-1]
        values, vectors = values[keep] * step, covariance[:, ::step] @ (vectors[:, keep] / (values[keep] * step**0.5))
        return values, vectors

    def time(self, doppler: float) -> NDArray[np.float64]:
        """(14, 14), for a Doppler in cycles per symbol."""
        symbols = np.arange(self._num_symbols)
        return j0(2 * np.pi * doppler * (symbols[:, None] - symbols))


class Observer:
    """Observes the frames of one format. What depends on the format only is made here; `lib/frames/frame_observer.cc`
    does the rest.

    Attributes:
        native: the `FrameObserver` of the kernel.
    """

    def __init__(self, frame_format: FrameFormat):
        self._frame_format = frame_format
        self._covariance = channel_covariance(frame_format)
        places = frame_format.training_indices  # (3, num_tx, P)
        self._carriers = frame_format.active_carriers[places]
        delay_modes, delay_energies = self._make_delay_modes()
        training = np.array(frame_format.training_symbols)
        offsets = np.linspace(-MAX_OFFSET, MAX_OFFSET, 1 + OFFSET_STEPS * frame_format.num_symbols // SYMBOL_COUNTS[0])
        turns = np.exp(-2j * np.pi * np.outer(training[[1, 2, 2]] - training[[0, 0, 1]], offsets))
        self.native = native.extension().FrameObserver(
            num_symbols=frame_format.num_symbols,
            num_active=frame_format.num_active,
            comb=frame_format.comb,
            symbols=frame_format.training_symbols,
            indices=places.astype(np.int32),
            carriers=self._carriers.astype(np.int32),
            inverse=1 / np.take_along_axis(frame_format.known_grid[training], places, axis=-1).astype(np.complex128),
            noise_modes=self._make_noise_modes(),
            delay_modes=delay_modes,
            delay_energies=delay_energies,
            delay_scores=DELAY_SCORES,
            per_share=len(DELAY_SPREADS),
            offset_turns=2 * np.concatenate([turns.real, -turns.imag]),
            offset_scores=0.5 * (offsets / USUAL_OFFSET) ** 2,
            offsets=offsets,
            make_filter=partial(_make_doppler_filter, frame_format),
        )

    def __call__(
        self, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating], track: Any = None
    ) -> Observation:
        """Least squares and statistics of a frame.

        Args:
            grid: received, (14, num_rx, num_active), `timing_advance` corrected.
            guards: received guard carriers, (14, num_rx, any number).
            track: from `track`, what is known of the noise from the frames before. It is brought up to date. None: the
                noise is white, and antennas differ in its variance only.
        """
        with np.errstate(over="ignore"):
            grid = np.ascontiguousarray(grid, np.complex64)
        values = guards.astype(np.complex128).swapaxes(0, 1).reshape(guards.shape[1], -1)
        return self.observe(grid, values @ values.conj().T, values.shape[1], track)

    def track(self) -> Any:
        """For `observe`: nothing is known of the noise yet."""
        return native.extension().NoiseTrack(self.native)

    def observe(
        self,
        grid: NDArray[np.complex64],
        guards: NDArray[np.complex128],
        guard_count: int,
        track: Any = None,
    ) -> Observation:
        """The same, given the sum of g g^H, (num_rx, num_rx), over so many guard carriers g."""
        training, delay, carrier_offset, noise_var, delay_model, doppler, snr, whitening, interference = (
            self.native.observe(grid, guards, guard_count, track)
        )
        delay_spread, diffuse = DELAY_MODELS[delay_model]
        if interference is not None:
            first, last, power = interference
            carriers = self._frame_format.active_carriers
            interference = Interference(int(carriers[first]), int(carriers[last]), 10 * math.log10(max(power, 1e-10)))
        return Observation(
            training.transpose(0, 3, 1, 2),
            delay * self._frame_format.fft_size,
            carrier_offset,
            noise_var,
            delay_spread * self._frame_format.fft_size,
            float(DOPPLERS[doppler]),
            10 * math.log10(snr),
            diffuse,
            whitening=whitening,
            interference=interference,
        )

    def _make_noise_modes(self) -> NDArray[np.complex128]:
        """(3, num_tx, modes, P): what a channel within `DELAY_WINDOW` does not contain at the training carriers."""
        low, high = DELAY_WINDOW
        modes = []
        for places in self._carriers.reshape(-1, self._carriers.shape[-1]):
            lags = places[:, None] - places
            covariance = np.sinc((high - low) * lags) * np.exp(-1j * np.pi * (high + low) * lags)
            values, vectors = np.linalg.eigh(covariance)
            modes.append((values, vectors))
        count = min(np.count_nonzero(values < 1e-6 * values[-1]) for values, _ in modes)
        kept = np.stack([vectors[:, :count].conj().T for _, vectors in modes])
        return kept.reshape(*self._carriers.shape[:2], *kept.shape[1:])

    def _make_delay_modes(self) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """Modes of a middling delay spread, (3, num_tx, P, P); their energies for all models, (models, P)."""
        sets = self._frame_format.training_indices[:2].reshape(-1, self._carriers.shape[-1])
        middle = self._covariance.frequency(*DELAY_MODELS[len(DELAY_SPREADS) // 2])
        modes = [np.linalg.eigh(middle[np.ix_(places, places)])[1].conj().T for places in sets]
        energies = []
        for model in DELAY_MODELS:
            covariance = self._covariance.frequency(*model)
            of_sets = [(of @ covariance[np.ix_(p, p)] * of.conj()).real for of, p in zip(modes, sets, strict=True)]
            energies.append(np.mean(np.sum(of_sets, axis=2), axis=0))
        shaped = np.stack(modes).reshape(2, *self._carriers.shape[1:], -1)
        return shaped[[0, 1, 0]], np.array(energies)


def _make_doppler_filter(frame_format: FrameFormat, delay_model: int, snr_step: int) -> Any:
    """LMMSE estimates of the strongest modes' coefficients, and their likelihood over `DOPPLERS`.

    Filters, (3, num_tx, modes, P). Of the inverse covariances over the training symbols: diagonals,
    (dopplers, modes, 3), and pairs of symbols, (3, dopplers, modes). Sums of log-determinants, (dopplers,).
    """
    covariance_of, places_of = channel_covariance(frame_format), frame_format.training_indices
    noise = 10 ** (-0.1 * SNR_STEP_DB * snr_step)
    values, vectors = covariance_of.frequency_modes(delay_model)
    keep = values > 1e-5 * values[-1]
    factor = vectors[:, keep] * np.sqrt(values[keep])
    filters = []
    for places in places_of.reshape(-1, places_of.shape[-1]):
        f = factor[places]
        f_h = f.conj().T
        filters.append(np.linalg.solve(f_h @ f + noise * np.eye(f.shape[1]), f_h)[-DOPPLER_MODES:])
    analysis = np.stack(filters).reshape(*places_of.shape[:2], -1, places_of.shape[-1])
    gains = analysis @ factor[places_of]  # (3, num_tx, modes, all modes)
    signal = np.einsum("sjkm,tjkm->kst", gains, gains.conj()).real / frame_format.num_tx
    noises = noise * np.mean(np.sum(np.abs(analysis) ** 2, axis=3), axis=1).T  # (modes, 3)
    trained = np.ix_(frame_format.training_symbols, frame_format.training_symbols)
    over_time = np.stack([covariance_of.time(d)[trained] for d in DOPPLERS])
    covariance = over_time[:, None] * signal + noises[:, :, None] * np.eye(3)
    inverses = np.linalg.inv(covariance)
    return native.extension().DopplerFilter(
        analysis=analysis,
        diagonals=np.ascontiguousarray(np.diagonal(inverses, axis1=2, axis2=3)),
        pairs=np.ascontiguousarray(np.moveaxis(inverses[:, :, [0, 0, 1], [1, 2, 2]], 2, 0)),
        constant=np.sum(np.linalg.slogdet(covariance)[1], axis=1),
    )


@lru_cache(maxsize=16)
def channel_covariance(frame_format: FrameFormat) -> ChannelCovariance:
    """The one that all estimators of this format share."""
    return ChannelCovariance(frame_format)


@lru_cache(maxsize=16)
def observer(frame_format: FrameFormat) -> Observer:
    """The one of this format; the first takes up to half a second."""
    return Observer(frame_format)
