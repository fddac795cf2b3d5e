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

__all__ = ["CarrierForecast", "carrier_modes", "forecast_carriers"]

MODES = 8


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
    modes: NDArray[np.complex128] | None = None,
) -> CarrierForecast:
    """Forecast a channel from estimates of it in one phase and timing.

    Args:
        times: of the estimates, (T,), ascending.
        h: estimates, finite, (T, num_subcarriers, num_rx, num_tx).
        error_var: of an entry of them, above 0.
        horizons: after the newest, (H,).
        predict: one of `predictors.PREDICTORS`.
        modes: `carrier_modes` of channels like these; None: of these.

    Raises:
        ValueError: as `Series`.
    """
    rows = np.moveaxis(np.asarray(h, np.complex128), 1, -1)  # (T, num_rx, num_tx, num_subcarriers)
    modes = carrier_modes(h) if modes is None else modes
    seen = rows @ modes.conj().T  # (T, num_rx, num_tx, K)
    # an estimate's errors lie where the channel does: its modes share them
    noise = error_var * rows.shape[-1] / len(modes)
    series = Series(times, seen.reshape(len(seen), -1).T, noise)
    forecast = predict(series, np.asarray(horizons, np.float64))
    coming = forecast.values.T.reshape(-1, *seen.shape[1:]) @ modes
    pairs = rows.shape[1] * rows.shape[2]
    return CarrierForecast(
        np.ascontiguousarray(np.moveaxis(coming, -1, 1), np.complex64),
        forecast.error_var.sum(axis=0) / (pairs * rows.shape[-1]),
    )


def carrier_modes(h: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
    """Orthonormal vectors (K, F) that channels (T, F, num_rx, num_tx) consist of, the strongest last."""
    rows = np.moveaxis(np.asarray(h, np.complex128), 1, -1).reshape(-1, h.shape[1])
    if len(rows) < rows.shape[1]:
        return np.asarray(np.linalg.svd(rows, full_matrices=False)[2][:MODES][::-1])
    return np.asarray(np.linalg.eigh(rows.conj().T @ rows)[1][:, -MODES:].conj().T)
