# SPDX-License-Identifier: GPL-3.0-or-later
"""The power of a channel at each delay, from its covariance at the training carriers, and the modes that it leaves.

    R = sum over delays d of powers[d] a_d a_d^H,   a_d(f) = exp(-2j pi f d)

The powers are the most likely ones: what is received at the training carriers is Gaussian, with the covariance A R A^H
+ noise. Each step of `fit` raises the likelihood (Sun, Babu and Palomar, "Majorization-minimization algorithms in
signal processing, communications, and machine learning", IEEE Trans. Signal Process. 65(3), 2017), so no profile has to
be assumed: an exponential one costs up to 4 dB of error on channels whose delays come in clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..frames.frame_format import FrameFormat
from .observation import DELAY_MODELS, DELAY_WINDOW

__all__ = ["DelayModes", "ProfileFit", "profile_fit"]

STEPS = 32  # from delay to delay over the window, at least: a quarter of a sample of 64 carriers each
LEAST_START = 1e-5  # of all power, at each delay: what is 0 stays 0
LEAST_POWER = 1e-6  # of the mean, or of the noise, so that a delay may come back
TOLERANCE = 0.05  # of the noise: eigenvalues below do not matter


@dataclass(frozen=True)
class DelayModes:
    """A channel of one covariance over the carriers, in K modes that the training symbols see one by one, or nearly:

        h = frequency g,  g ~ CN(0, I);    analysis y = g + e,  e ~ CN(0, diag(noise))

    Attributes:
        frequency: complex128 (num_active, K).
        seen: the same at the training carriers, complex64 (3, num_tx, P, K).
        analysis: of LS estimates y of a stream in a training symbol, complex64 (3, num_tx, K, P).
        noise: where that of a received carrier is 1, (K,).
    """

    frequency: NDArray[np.complex128]
    seen: NDArray[np.complex64]
    analysis: NDArray[np.complex64]
    noise: NDArray[np.float64]

    @cached_property
    def energies(self) -> NDArray[np.float64]:
        """What each mode adds to |h|^2 of a carrier, (K,)."""
        return np.mean(np.abs(self.frequency) ** 2, axis=0)


class ProfileFit:
    """Fits power delay profiles of one frame format.

    Powers are in units of the noise variance of a received carrier.

    Args:
        frame_format: of the frames.

    Attributes:
        delays: in cycles per carrier, (33,) up to 256 carriers.
        sets: which set of carriers each stream trains on in each training symbol, (3, num_tx).
    """

    def __init__(self, frame_format: FrameFormat):
        places = frame_format.training_indices  # (3, num_tx, P)
        # streams train on the same carriers, one after the other
        self._distinct, of = np.unique(places.reshape(-1, places.shape[-1]), axis=0, return_inverse=True)
        self.sets = of.reshape(places.shape[:2])
        samples = round((DELAY_WINDOW[1] - DELAY_WINDOW[0]) * frame_format.fft_size)
        self.delays = np.linspace(*DELAY_WINDOW, 1 + max(STEPS, samples))
        self._waves = np.exp(-2j * np.pi * np.outer(frame_format.active_carriers, self.delays))
        self._at_sets = self._waves[self._distinct]  # (sets, P, delays)
        self._gram = (self._waves.conj().T @ self._waves).real  # carriers lie symmetrically around 0
        self._fft_size, self._comb = frame_format.fft_size, frame_format.comb
        self._noise = 1 / frame_format.comb

    def start(self, delay_model: int, covariance: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Where to begin a fit: with one of `DELAY_MODELS`, and the covariance's power."""
        power = np.einsum("spp->", covariance).real / covariance[..., 0].size - self._noise
        return max(power, self._noise) * self._exponential[delay_model]

    @cached_property
    def _exponential(self) -> NDArray[np.float64]:
        """Powers of each of `DELAY_MODELS`, sum 1, (models, delays)."""
        step = self.delays[1] - self.delays[0]
        places = (np.arange(4096) + 0.5) / 4096 * (len(self.delays) - 1) * step  # of what is diffuse
        profiles = []
        for spread, share in DELAY_MODELS:
            tail = spread / math.sqrt(2 * share - share**2)
            first = np.angle(1 - share + share / (1 + 2j * np.pi * tail * self._comb)) / (2 * np.pi * self._comb)
            decay = np.exp(-places / tail)
            powers = np.full(len(self.delays), LEAST_START)
            at = np.rint((np.concatenate([[0.0], places]) + first - self.delays[0]) / step).astype(int)
            weights = np.concatenate([[1 - share], share * decay / decay.sum()])
            inside = (at >= 0) & (at < len(self.delays))
            np.add.at(powers, at[inside], weights[inside])
            profiles.append(powers)
        return np.array(profiles)

    def fit(self, covariance: NDArray[np.complex128], start: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
        """Powers (delays,), from these on.

        Args:
            covariance: of LS estimates with noise 1 on a carrier, mean over those of each set, (sets, P, P).
            start: (delays,), none 0.
            steps: each takes a tenth of a millisecond.
        """
        powers, waves = start, self._at_sets
        noise = self._noise * np.eye(waves.shape[1])
        for _ in range(steps):
            model = (waves * powers) @ waves.conj().swapaxes(1, 2) + noise
            filters = np.linalg.solve(model, waves)
            shown = np.sum((filters.conj() * (covariance @ filters)).real, axis=(0, 1))
            expected = np.sum((waves.conj() * filters).real, axis=(0, 1))
            powers = powers * np.sqrt(np.maximum(shown, 0) / expected)  # below 0 by rounding
            powers = np.maximum(powers, LEAST_POWER * max(powers.mean(), self._noise))
        return powers

    def modes(self, powers: NDArray[np.float64]) -> DelayModes:
        """What a channel with these powers consists of."""
        # the eigenvectors of R, times the roots of their eigenvalues, are S U with S S^H = R and U those of S^H S
        amplitudes = np.sqrt(powers)
        values, vectors = np.linalg.eigh(amplitudes[:, None] * self._gram * amplitudes)
        keep = values > min(TOLERANCE, values[-1] / 2)
        keep[: -self._distinct.shape[-1]] = False  # no more than training carriers
        frequency = (self._waves * amplitudes) @ vectors[:, keep]
        grams = [seen.conj().T @ seen for seen in frequency[self._distinct]]
        energies, turn = np.linalg.eigh(np.mean([grams[i] for i in self.sets.reshape(-1)], axis=0))
        frequency = frequency @ turn
        seen = frequency[self._distinct]  # (sets, P, K)
        seen_h = seen.conj().swapaxes(1, 2)
        analysis = np.linalg.solve(seen_h @ seen, seen_h)
        return DelayModes(
            frequency,
            seen.astype(np.complex64)[self.sets],
            analysis.astype(np.complex64)[self.sets],
            self._noise / energies,
        )


@lru_cache(maxsize=16)
def profile_fit(frame_format: FrameFormat) -> ProfileFit:
    """The one of this format."""
    return ProfileFit(frame_format)
