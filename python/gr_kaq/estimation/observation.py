# SPDX-License-Identifier: GPL-3.0-or-later
"""What the training symbols of a frame say: least squares, and the statistics of noise and channel.

The statistics are those of Rayleigh channels with exponentially distributed delays, on a line of sight or without, and
Jakes Doppler, the same for all pairs of antennas. They follow from the training symbols of a single frame by maximum
likelihood on a grid, for the coefficients of the channel in the eigenvectors of its covariance over the carriers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import native
from ..frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat

__all__ = [
    "DELAY_MODELS",
    "DELAY_SPREADS",
    "DIFFUSE",
    "DOPPLERS",
    "SNR_RANGE_DB",
    "ChannelCovariance",
    "Observation",
    "Observer",
    "channel_covariance",
    "observe",
    "observer",
]

SNR_RANGE_DB = (-20.0, 60.0)
SNR_RANGE = (1e-2, 1e6)
TRAINING = np.array(TRAINING_SYMBOLS)

# What is told apart: delay spreads (those of the tail) in cycles per carrier; Dopplers, whose effect grows with their
# square, and carrier offsets in cycles per symbol.
DELAY_SPREADS = 2.0 ** np.arange(-11, -3.9, 0.5)
DIFFUSE = (1.0, 0.1, 0.01)  # shares of the power that do not come at once, on a line of sight
DELAY_MODELS = tuple((float(tail) * math.sqrt(2 * a - a**2), a) for a in DIFFUSE for tail in DELAY_SPREADS)
DELAY_SCORES = np.repeat([0, 1.5, 1.5], len(DELAY_SPREADS))  # a line of sight is the less likely thing
DOPPLERS = 0.05 * (np.arange(33) / 32) ** 2
OFFSETS = np.linspace(-0.06, 0.06, 121)
OFFSET_SCORES = 0.5 * (OFFSETS / 0.01) ** 2  # the offset is expected to be of the order of 0.01
DOPPLER_MODES = 8
INDEPENDENT_SHARE = 0.25  # of the modes: profiles are not quite exponential (tuned for least error)

# Where a channel is at all, in cycles per carrier around its mean delay: beyond is noise
DELAY_WINDOW = (-1 / 32, 3 / 32)
MIN_NOISE_SAMPLES = 48  # of an antenna


@dataclass(frozen=True)
class Observation:
    """What the training symbols of a frame say.

    Attributes:
        training: LS estimates, complex64 (3, num_rx, num_tx, num_active / comb), at
            `FrameFormat.training_indices`; mean delay and carrier offset taken out.
        delay: the mean delay that was taken out, in samples.
        carrier_offset: the carrier offset that was taken out, in cycles per OFDM symbol, from symbol 0 on.
        noise_var: noise variance of a received carrier, float64 (num_rx,); 0 for an antenna of zeros.
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.
        snr_db: as `gr_kaq.signals.signal_model` defines it, over all antennas that receive anything.
        diffuse: the share of the power whose delays are spread; the rest comes at once, on a line of sight. One of
            1, 0.1 and 0.01.
    """

    training: NDArray[np.complex64]
    delay: float
    carrier_offset: float
    noise_var: NDArray[np.float64]
    delay_spread: float
    doppler: float
    snr_db: float
    diffuse: float = 1.0


def observe(
    frame_format: FrameFormat, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating]
) -> Observation:
    """Least squares and statistics of a frame, see `Observer`."""
    return observer(frame_format)(grid, guards)


def j0(x: ArrayLike) -> NDArray[np.float64]:
    """Bessel function of the first kind and order 0, |x| < 20: the mean of cos(x cos(angle)) over all angles."""
    angles = (np.arange(32) + 0.5) * np.pi / 64
    return np.cos(np.asarray(x, np.float64)[..., None] * np.cos(angles)).mean(axis=-1)


class ChannelCovariance:
    """Covariance of a centred channel of unit power: exponential delays, perhaps a line of sight; Jakes Doppler.

    time:      J0(2 pi doppler lag)
    frequency: 1 - diffuse + diffuse / (1 + j 2 pi tail lag), mean delay taken out as `Observer` does;
               tail = delay_spread / sqrt(2 diffuse - diffuse^2) makes delay_spread the RMS of it all
    """

    def __init__(self, frame_format: FrameFormat):
        carriers = frame_format.active_carriers
        self._comb, self._lags = frame_format.comb, carriers[:, None] - carriers

    def frequency(self, delay_spread: float, diffuse: float) -> NDArray[np.complex128]:
        """(num_active, num_active), for an RMS delay spread in cycles per carrier (samples / fft_size)."""
        turn = 2 * np.pi * delay_spread / math.sqrt(2 * diffuse - diffuse**2)
        mean = np.angle(1 - diffuse + diffuse / (1 + 1j * turn * self._comb)) / self._comb
        return np.exp(-1j * mean * self._lags) * (1 - diffuse + diffuse / (1 + 1j * turn * self._lags))

    @lru_cache(maxsize=256)  # noqa: B019  # there are few formats
    def frequency_modes(self, delay_step: int) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Eigenvalues, ascending, and eigenvectors of `frequency` for one of `DELAY_MODELS`."""
        values, vectors = np.linalg.eigh(self.frequency(*DELAY_MODELS[delay_step]))
        return values, vectors

    @staticmethod
    def time(doppler: float) -> NDArray[np.float64]:
        """(14, 14), for a Doppler in cycles per symbol."""
        symbols = np.arange(NUM_SYMBOLS)
        return j0(2 * np.pi * doppler * (symbols[:, None] - symbols))


class Observer:
    """Observes the frames of one format.

    Inside, values at training places are (3, num_tx, P, num_rx): as matrices for the filters of each symbol and stream.
    """

    def __init__(self, frame_format: FrameFormat):
        self._frame_format = frame_format
        self._covariance = channel_covariance(frame_format)
        places = frame_format.training_indices  # (3, num_tx, P)
        self._carriers = frame_format.active_carriers[places]
        kernel = native.extension()
        self._energies = kernel.antenna_energies
        self._training = kernel.TrainingMap(
            num_symbols=NUM_SYMBOLS,
            num_active=frame_format.num_active,
            comb=frame_format.comb,
            symbols=TRAINING_SYMBOLS,
            indices=places.astype(np.int32),
            carriers=self._carriers.astype(np.int32),
            inverse=1 / np.take_along_axis(frame_format.known_grid[TRAINING], places, axis=-1).astype(np.complex128),
        )
        self._noise_modes = self._make_noise_modes()
        self._delay_modes, delay_energies = self._make_delay_modes()
        self._delay_models = kernel.DelayModels(delay_energies, DELAY_SCORES, len(DELAY_SPREADS))
        self._doppler_filters = lru_cache(maxsize=256)(self._make_doppler_filters)
        lags = TRAINING[[1, 2, 2]] - TRAINING[[0, 0, 1]]
        turns = np.exp(-2j * np.pi * np.outer(lags, OFFSETS))
        self._offsets = kernel.OffsetModels(2 * np.concatenate([turns.real, -turns.imag]), OFFSET_SCORES)

    def __call__(self, grid: NDArray[np.complexfloating], guards: NDArray[np.complexfloating]) -> Observation:
        """Least squares and statistics of a frame.

        Args:
            grid: received, (14, num_rx, num_active), `timing_advance` corrected.
            guards: received guard carriers, (14, num_rx, any number).
        """
        frame_format = self._frame_format
        with np.errstate(over="ignore"):
            grid = np.ascontiguousarray(grid, np.complex64)
        ls, power, delay = self._training.least_squares(grid)  # (3, num_tx, P, num_rx)

        noise_var = self._noise_variance(ls, guards, power)
        weights = np.divide(1, noise_var, where=noise_var > 0, out=np.zeros_like(noise_var))
        alive = max(np.count_nonzero(noise_var), 1)
        snr = (weights @ power / alive - 1 / frame_format.comb) * frame_format.num_tx
        snr = min(max(float(snr), SNR_RANGE[0]), SNR_RANGE[1])
        scaled = ls * np.sqrt(weights * frame_format.num_tx / snr)  # to a channel of unit power

        noise = frame_format.num_tx / frame_format.comb / snr
        delay_step = self._delay_step(scaled, noise, alive)
        doppler, carrier_offset = self._doppler(scaled, noise, delay_step, alive)
        ls *= np.exp(-2j * np.pi * carrier_offset * TRAINING)[:, None, None, None]
        return Observation(
            ls.astype(np.complex64).transpose(0, 3, 1, 2),
            delay * frame_format.fft_size,
            carrier_offset,
            noise_var,
            DELAY_MODELS[delay_step][0] * frame_format.fft_size,
            doppler,
            10 * math.log10(snr),
            DELAY_MODELS[delay_step][1],
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
        return kept.reshape(*self._carriers.shape[:2], count, -1)

    def _noise_variance(
        self, ls: NDArray[np.complex128], guards: NDArray[np.complexfloating], power: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """From the guard carriers and from what no channel explains in the training symbols.

        Guard carriers may hold more than noise (leakage, neighbours) or less (a radio's filters): where the two
        differ by more than chance, the training symbols count.
        """
        guard_count = guards.shape[0] * guards.shape[2]
        noise = guard = self._energies(np.ascontiguousarray(guards), axis=1) / guard_count
        count = ls.shape[0] * ls.shape[1] * self._noise_modes.shape[2]
        if count >= MIN_NOISE_SAMPLES:
            training = self._frame_format.comb * self._energies(self._noise_modes @ ls, axis=3) / count
            deviation = np.sqrt(1 / count + 1 / guard_count)
            with np.errstate(all="ignore"):
                differ = ~(np.abs(np.log(guard / training)) < 3.5 * deviation)
            together = (guard * guard_count + training * count) / (guard_count + count)
            noise = np.where(differ, training, together)
        return np.maximum(noise, self._frame_format.num_tx * power / SNR_RANGE[1])

    def _make_delay_modes(self) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """Modes of a middling delay spread, (3, num_tx, P, P); their energies for all models, (models, P)."""
        covariances = [self._covariance.frequency(*model) for model in DELAY_MODELS]
        middle = covariances[len(DELAY_SPREADS) // 2]
        modes, energies = [], []
        for places in self._frame_format.training_indices[:2].reshape(-1, self._carriers.shape[-1]):
            square = np.ix_(places, places)
            _, vectors = np.linalg.eigh(middle[square])
            modes.append(vectors.conj().T)
            energies.append([np.sum((modes[-1] @ c[square] * modes[-1].conj()).real, axis=1) for c in covariances])
        shaped = np.stack(modes).reshape(2, *self._carriers.shape[1:], -1)
        return shaped[[0, 1, 0]], np.mean(energies, axis=0)

    def _delay_step(self, scaled: NDArray[np.complex128], noise: float, alive: int) -> int:
        """Which of `DELAY_MODELS` an LMMSE filter had best assume.

        The most likely share that is diffuse; then the spread with the least expected error over the posterior.
        """
        symbols, num_tx, _, _ = scaled.shape
        weight = INDEPENDENT_SHARE * alive * num_tx
        return int(self._delay_models.choose(self._delay_modes @ scaled, symbols * num_tx * alive, noise, weight))

    def _doppler(
        self, scaled: NDArray[np.complex128], noise: float, delay_step: int, alive: int
    ) -> tuple[float, float]:
        """The most likely Doppler, and carrier offset, in cycles per symbol."""
        snr_step = round(-10 * math.log10(noise) / 3)
        analysis, diagonals, pairs, constant = self._doppler_filters(delay_step, snr_step)
        doppler_step, offset_step = self._offsets.choose_doppler(
            analysis @ scaled, diagonals, pairs, constant, alive * scaled.shape[1]
        )
        return float(DOPPLERS[doppler_step]), float(OFFSETS[offset_step])

    def _make_doppler_filters(
        self, delay_step: int, snr_step: int
    ) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """LMMSE estimates of the strongest modes' coefficients, and their likelihood over `DOPPLERS`.

        Returns:
            Filters, (3, num_tx, modes, P). Of the inverse covariances over the training symbols: diagonals,
            (dopplers, modes 3), and pairs of symbols, (3, dopplers, modes). Sums of log-determinants, (dopplers,).
        """
        noise = 10 ** (-0.3 * snr_step)
        values, vectors = self._covariance.frequency_modes(delay_step)
        keep = values > 1e-5 * values[-1]
        factor = vectors[:, keep] * np.sqrt(values[keep])
        filters = []
        for places in self._frame_format.training_indices.reshape(-1, self._carriers.shape[-1]):
            f = factor[places]
            f_h = f.conj().T
            filters.append(np.linalg.solve(f_h @ f + noise * np.eye(f.shape[1]), f_h)[-DOPPLER_MODES:])
        analysis = np.stack(filters).reshape(*self._carriers.shape[:2], -1, self._carriers.shape[-1])
        gains = analysis @ factor[self._frame_format.training_indices]  # (3, num_tx, modes, all modes)
        signal = np.einsum("sjkm,tjkm->kst", gains, gains.conj()).real / self._frame_format.num_tx
        noises = noise * np.mean(np.sum(np.abs(analysis) ** 2, axis=3), axis=1).T  # (modes, 3)
        over_time = np.stack([self._covariance.time(d)[np.ix_(TRAINING, TRAINING)] for d in DOPPLERS])
        covariance = over_time[:, None] * signal + noises[:, :, None] * np.eye(3)
        inverses = np.linalg.inv(covariance)
        constant = np.sum(np.linalg.slogdet(covariance)[1], axis=1)
        diagonals = np.diagonal(inverses, axis1=2, axis2=3).reshape(len(DOPPLERS), -1)
        pairs = np.moveaxis(inverses[:, :, [0, 0, 1], [1, 2, 2]], 2, 0)
        return analysis, np.ascontiguousarray(diagonals), np.ascontiguousarray(pairs), constant


@lru_cache(maxsize=16)
def channel_covariance(frame_format: FrameFormat) -> ChannelCovariance:
    """The one that all estimators of this format share."""
    return ChannelCovariance(frame_format)


@lru_cache(maxsize=16)
def observer(frame_format: FrameFormat) -> Observer:
    """The one of this format; the first takes up to half a second."""
    return Observer(frame_format)
