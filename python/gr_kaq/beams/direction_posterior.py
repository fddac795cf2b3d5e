# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pilots so far say about the direction of a plane wave, and about its SNR."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from .planar_array import PlanarArray
from .statistics import PilotStatistics

__all__ = ["SNRS", "VARIANCE", "DirectionPosterior", "mean_amplitude", "pattern"]

OVERSAMPLING = 2  # directions per beam on each axis; even, so that none lies halfway between two beams
SNRS = 10 ** np.array([0.0, 0.5, 1.0, 1.5, 2.0])  # of a narrow beam at alignment
HIGH = 3  # index of 15 dB
NOISE_AMPLITUDE = math.sqrt(math.pi) / 2  # mean of |n|, n ~ CN(0, 1)
VARIANCE = 0.4  # of an amplitude |sqrt(u) c + n|: 0.21 without signal, 0.5 with a strong one
EXPONENTS = (0.5, 0.75, 1.0)


class DirectionPosterior:
    """Probabilities of a grid of directions and SNRs, given the rewards of pilots in narrow and wide beams.

    A pilot's amplitude is z = |sqrt(u) c + n|, with u = snr g: g, the gain of its beam towards the direction, is a
    product of two patterns. Its mean is close to m(u) = sqrt(u + pi / 4), its variance about the same for all u. So

        log P = sum of z m(u) - m(u)^2 / 2, over the variance; coherent: log I0(2 sqrt(snr) |sum of a^* r|) - sum of u

    An amplitude has no heavy tail, as a power has: one lucky pilot does not outweigh the others. In this sum, m(u) is
    a weighted sum of powers of g, and each power of g a product of patterns: two small matrix products for each.

    All directions are equally likely at first, and the SNRs, 0 to 20 dB, by 1 / sqrt(snr): a user with a high SNR is
    soon seen anyway, one with a low SNR is not if too little is expected. Rewards above 20 dB are scaled down to 20 dB:
    the model is no better than that. Fading and the quantization of phases are left out.

    Args:
        array: whose beams.
        coherent: rewards are complex amplitudes that share a phase.
    """

    def __init__(self, array: PlanarArray, *, coherent: bool = False):
        self._array, self._coherent = array, coherent
        self._pilots = PilotStatistics(array, coherent=coherent)
        self._known: NDArray[np.floating] | None = None

    def add(self, beams: NDArray[np.integer], rewards: NDArray) -> None:
        """Take the rewards (n,) of beams (n, 4)."""
        self._pilots.add(beams, rewards if self._coherent else np.sqrt(np.maximum(rewards + 1, 0)))
        self._known = None

    def of_high_snr(self) -> float:
        """Probability of 15 dB and more."""
        return float(self._joint()[HIGH:].sum())

    def of_beams(self) -> NDArray[np.floating]:
        """Probability, (num_first, num_second), that a narrow beam is the closest one to the direction."""
        first, second = self._array.shape
        return self._joint().sum(0).reshape(first, OVERSAMPLING, second, OVERSAMPLING).sum((1, 3))

    def expected_gains(self) -> NDArray[np.floating]:
        """Of the narrow beams, (num_first, num_second)."""
        first, second = (np.abs(pattern(count, 1, OVERSAMPLING)) ** 2 for count in self._array.shape)
        return first @ self._joint().sum(0) @ second.T

    def _joint(self) -> NDArray[np.floating]:
        """Probabilities, (5, 2 num_first, 2 num_second)."""
        if self._known is None:
            self._known = self._from_pilots()
        return self._known

    def _from_pilots(self) -> NDArray[np.floating]:
        shape = tuple(count * OVERSAMPLING for count in self._array.shape)
        product: NDArray = np.zeros((1 if self._coherent else len(EXPONENTS), *shape))
        energy: NDArray = np.zeros(shape)
        strongest = 1e-12
        for widths, (counts, sums) in self._pilots.by_width():
            first, second = (
                pattern(count, width, OVERSAMPLING) for count, width in zip(self._array.shape, widths, strict=True)
            )
            first_power, second_power = np.abs(first) ** 2, np.abs(second) ** 2
            if self._coherent:
                product = product + first.conj().T @ sums @ second.conj()
            else:
                product += [first_power.T**e @ sums @ second_power**e for e in EXPONENTS]
            energy += first_power.T @ counts @ second_power
            strongest = max(strongest, float(np.max(np.abs(sums) / np.maximum(counts, 1))))
        product *= min(1.0, math.sqrt(SNRS[-1]) / strongest)
        snrs = SNRS[:, None, None]
        if self._coherent:
            logs = _log_i0(2 * np.sqrt(snrs) * np.abs(product)) - snrs * energy
        else:
            logs = (np.tensordot(_amplitude_weights(), product, 1) - 0.5 * snrs * energy) / VARIANCE
        logs -= 0.5 * np.log(snrs)
        joint = np.exp(logs - logs.max())
        return joint / joint.sum()


def _log_i0(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logarithm of the Bessel function I0; Olivares et al., J. Phys.: Conf. Ser. 1043 (2018) 012003."""
    squares = x * x
    ratio = (1 + 0.24273 * squares) / (1 + 0.43023 * squares)
    return x + np.log1p(np.exp(-2 * x)) - math.log(2) - 0.25 * np.log1p(squares / 4) + np.log(ratio)


@functools.cache
def _amplitude_weights() -> NDArray[np.floating]:
    """Of the powers of g in m(snr g) - m(0), (SNRs, exponents); least squares over gains down to -50 dB."""
    gains = np.logspace(-5, 0, 300)
    means = mean_amplitude(SNRS[:, None] * gains) - NOISE_AMPLITUDE
    basis = np.stack([gains**exponent for exponent in EXPONENTS], 1)
    return np.linalg.lstsq(basis, means.T, rcond=None)[0].T


def mean_amplitude(snr: NDArray[np.floating]) -> NDArray[np.floating]:
    """m(u) of `DirectionPosterior`: of a pilot with this SNR, within 5 % of Rice's mean."""
    return np.sqrt(snr + NOISE_AMPLITUDE**2)


@functools.lru_cache(maxsize=64)
def pattern(count: int, width: int, oversampling: int) -> NDArray[np.complexfloating]:
    """Amplitudes of an axis, (beams, oversampling beams directions); its share of `PlanarArray`'s 1 / sqrt(A N)."""
    on = max(count // width, 1)
    offsets = (np.arange(oversampling) + 0.5) / oversampling - 0.5
    directions = (np.arange(count)[:, None] + offsets).ravel()
    turns = (directions[None, :] - np.arange(count)[:, None]) / count
    return np.exp(2j * np.pi * turns[..., None] * np.arange(on)).sum(-1) / np.sqrt(on * count)
