# SPDX-License-Identifier: GPL-3.0-or-later
"""How predictors do: errors as ratios of sums over trials, with intervals of gains by resampling the trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .series import Forecast, Predictor
from .simulation import Trial
from .wiener import known_wiener

__all__ = ["KNOWN", "Evaluation"]

KNOWN = "known"
"""The method that knows the true powers and correlations: Wiener prediction at its bound. For simulations."""

RESAMPLES = 1000


@dataclass
class Evaluation:
    """Collects trials.

    Args:
        predictors: by their names; `KNOWN` is added where the trials have statistics.

    Attributes:
        errors, expected: of each method, one for each trial: squared errors, and what the method expected, (H,).
        energies: one for each trial, of the targets, (H,).
    """

    predictors: Mapping[str, Predictor]
    errors: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    expected: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    energies: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Let all predict."""
        for name, predict in self.predictors.items():
            self._add(name, predict(trial.series, trial.horizons), trial)
        if trial.correlation is not None:
            self._add(KNOWN, known_wiener(trial.series, trial.horizons, trial.correlation, trial.powers), trial)
        self.energies.append(np.nansum(np.abs(trial.targets) ** 2, axis=0))

    def _add(self, name: str, forecast: Forecast, trial: Trial) -> None:
        missed = np.isnan(trial.targets)
        for where, values in (
            (self.errors, np.abs(forecast.values - trial.targets) ** 2),
            (self.expected, forecast.error_var),
        ):
            where.setdefault(name, []).append(np.where(missed, 0, values).sum(axis=0))

    def nmse_db(self, name: str) -> NDArray[np.float64]:
        """Of a method, over the horizons, (H,), in dB."""
        return _db(np.sum(self.errors[name], axis=0) / np.sum(self.energies, axis=0))

    def expected_db(self, name: str) -> NDArray[np.float64]:
        """What the method says itself, in dB; equal to `nmse_db` where it is honest."""
        return _db(np.sum(self.expected[name], axis=0) / np.sum(self.energies, axis=0))

    def nmse_interval_db(self, name: str) -> NDArray[np.float64]:
        """95 % interval of `nmse_db`, (2, H)."""
        return self._interval(np.array(self.errors[name]), np.array(self.energies))

    def gain_db(self, name: str, over: str) -> NDArray[np.float64]:
        """By how many dB `name` errs less than `over`, and the 95 % interval of that, (3, H)."""
        better, worse = np.array(self.errors[name]), np.array(self.errors[over])
        return np.concatenate([[_db(worse.sum(axis=0) / better.sum(axis=0))], self._interval(worse, better)])

    @staticmethod
    def _interval(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
        rng = np.random.default_rng(0)
        picks = rng.integers(len(above), size=(RESAMPLES, len(above)))
        return np.percentile(_db(above[picks].sum(axis=1) / below[picks].sum(axis=1)), [2.5, 97.5], axis=0)


def _db(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(ratio), np.float64)
