# SPDX-License-Identifier: GPL-3.0-or-later
"""What guesses are worth, learned from what came of those before.

    truth = mean of truths + slope (guess - mean of guesses) + rest

The slope is that of least squares, and 1 as long as nothing is known. So a guess that has turned out to say nothing is
not believed, and what is left of it is the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Regression"]

MEMORY = 2000  # guesses
PRIOR = 4.0  # pairs with a slope of 1, a unit of variance each, that are taken for seen


class Regression:
    """Predicts several numbers, each from a guess of its own.

    Args:
        count: how many numbers.
    """

    def __init__(self, count: int):
        self._pairs = 0
        self._guess, self._truth = np.zeros(count), np.zeros(count)
        self._guess_variance, self._truth_variance, self._covariance = np.zeros((3, count))

    def observe(self, guesses: ArrayLike, truths: ArrayLike) -> None:
        """Learn what came of guesses, (count,)."""
        self._pairs += 1
        gain = 1 / min(self._pairs, MEMORY)
        guess, truth = np.asarray(guesses) - self._guess, np.asarray(truths) - self._truth
        self._guess += gain * guess
        self._truth += gain * truth
        for moment, product in (
            (self._guess_variance, guess**2),
            (self._truth_variance, truth**2),
            (self._covariance, guess * truth),
        ):
            moment += gain * ((1 - gain) * product - moment)

    def slope(self) -> NDArray[np.float64]:
        """How far a guess is believed, 0 to 1, (count,)."""
        prior = PRIOR / max(self._pairs, 1)
        return np.clip((self._covariance + prior) / (self._guess_variance + prior), 0, 1)

    def predict(self, guesses: ArrayLike) -> NDArray[np.float64]:
        """What comes of these guesses, (count,)."""
        predicted: NDArray[np.float64] = self._truth + self.slope() * (np.asarray(guesses) - self._guess)
        return predicted

    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of the rest, (count,)."""
        slope = self.slope()
        rest = self._truth_variance - 2 * slope * self._covariance + slope**2 * self._guess_variance
        deviation: NDArray[np.float64] = np.sqrt(np.maximum(rest, 0))
        return deviation
