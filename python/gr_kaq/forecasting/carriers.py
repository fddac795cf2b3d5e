# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts of the channel on its carriers, as a detector takes it.

The series are not taps here, but the eigenvectors of what was estimated: few, and nothing of the channel is beside
them, where taps leak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .series import Predictor, Series

__all__ = ["MODES", "CarrierForecast", "CarrierMemory", "forecast_carriers", "modes_of"]

MODES = 8
REMEMBERED = 0.9  # of an energy, each time that others are seen


@dataclass(frozen=True, eq=False)
class CarrierForecast:
    """What a channel will be.

    Attributes:
        h: complex64 (H, num_subcarriers, num_rx, num_tx).
        error_var: mean squared error of an entry that is expected, (H,). Times num_tx it is what a detector has to add
            to its noise variance.
    """

    h: NDArray[np.complex64]
    error_var: NDArray[np.float64]


def forecast_carriers(
    times: ArrayLike,
    h: NDArray[np.complexfloating],
    error_var: float,
    horizons: ArrayLike,
    predict: Predictor,
) -> CarrierForecast:
    """Forecast a channel from estimates of it in one phase and timing.

    Args:
        times: of the estimates, (T,), ascending.
        h: estimates, finite, (T, num_subcarriers, num_rx, num_tx).
        error_var: of an entry of them, above 0.
        horizons: after the newest, (H,).
        predict: one of `predictors.PREDICTORS`.

    Raises:
        ValueError: as `Series`.
    """
    memory = CarrierMemory(h)
    series = Series(times, modes_of(h, memory.modes), memory.noise(error_var))
    forecast = predict(series, np.asarray(horizons, np.float64))
    shape = (-1, len(memory.modes), *h.shape[2:])
    return CarrierForecast(
        np.einsum("hkij,kf->hfij", forecast.values.T.reshape(shape), memory.modes).astype(np.complex64),
        forecast.error_var.sum(axis=0) / h[0].size,
    )


def modes_of(h: NDArray[np.complexfloating], modes: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """What channels (T, F, num_rx, num_tx) have of modes (K, F): series (K num_rx num_tx, T)."""
    seen = np.tensordot(modes.conj(), h, axes=(1, 1))
    return np.moveaxis(seen, 1, -1).reshape(-1, len(h))


class CarrierMemory:
    """Where channels are among the carriers, and how strong; what was seen once fades slowly from memory.

    Channels that have hardly changed yet show only some of what they will be.

    Args:
        h: the first ones, (T, F, num_rx, num_tx).

    Attributes:
        modes: orthonormal vectors (K, F) that the channels consist of, the strongest last.
        energies: mean energies (K num_rx num_tx) of what they have of these, as `modes_of` has it.
    """

    def __init__(self, h: NDArray[np.complexfloating]):
        self._rows = np.zeros((0, h.shape[1]), np.complex128)
        self.modes = np.zeros((0, h.shape[1]), np.complex128)
        self.energies = np.zeros(0)
        self._beside = 0.0  # mean energy of a channel beside the modes
        self._weight = 0.0
        self.add(h)

    def add(self, h: NDArray[np.complexfloating]) -> None:
        """Take those that came next, (T, F, num_rx, num_tx)."""
        rows = np.concatenate([REMEMBERED**0.5 * self._rows, np.moveaxis(h, 1, -1).reshape(-1, h.shape[1])])
        if len(rows) < rows.shape[1]:
            _, amplitudes, vectors = np.linalg.svd(rows, full_matrices=False)
            amplitudes, vectors = amplitudes[::-1], vectors[::-1]
        else:
            squares, columns = np.linalg.eigh(rows.conj().T @ rows)
            amplitudes, vectors = np.sqrt(np.maximum(squares, 0)), columns.conj().T
        self._rows = amplitudes[-2 * MODES :, None] * vectors[-2 * MODES :]
        before, self.modes = self.modes, vectors[-MODES:]
        shares = np.abs(self.modes.conj() @ before.T) ** 2  # of the modes before in these
        remembered = shares @ self.energies.reshape(len(before), h[0, 0].size)
        found = np.mean(np.abs(modes_of(h, self.modes)) ** 2, axis=1)
        weight = REMEMBERED * self._weight
        beside = (np.sum(np.abs(h) ** 2) / len(h) - found.sum()) / h[0, 0].size
        self.energies = (weight * remembered.ravel() + found) / (weight + 1)
        self._beside = (weight * self._beside + beside) / (weight + 1)
        self._weight = weight + 1

    def noise(self, error_var: float) -> float:
        """Error variance of what is seen of a mode, from that of an entry of h.

        Errors may be white, or where the channel is: then its modes share what is not seen beside them.
        """
        num_modes, num_carriers = self.modes.shape
        return max(error_var, (error_var * num_carriers - self._beside) / num_modes)
