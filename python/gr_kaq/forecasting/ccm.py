# SPDX-License-Identifier: GPL-3.0-or-later
"""The clustering network (CCM). It takes autocorrelations of series, which no phase and no scale changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import one_line, read_file
from .predictors import clustered_wiener
from .series import Forecast, Series

__all__ = ["FEATURES", "HISTORY", "HORIZONS", "LAGS", "ClusteringNetwork", "features"]

HISTORY, HORIZONS, LAGS = 32, 20, 16
FEATURES = 2 * LAGS + 1
NOISE_RANGE = (1e-4, 10.0)
REGULAR = 0.05  # of a step
MAX_FILE_BYTES = 16 << 20


def features(samples: NDArray[np.complexfloating], noise_var: NDArray[np.floating]) -> NDArray[np.float32]:
    """Of series (..., HISTORY) with these error variances (...): (..., FEATURES).

    Real and imaginary parts of the autocorrelation at lags 1 to LAGS, over what a lag of 0 shows; and the noise over
    that, as a logarithm.
    """
    spectrum = np.fft.fft(samples, 2 * HISTORY, axis=-1)
    correlation = np.fft.ifft(np.abs(spectrum) ** 2, axis=-1)[..., : LAGS + 1]
    energy = np.maximum(correlation[..., :1].real, 1e-30)
    counts = HISTORY / (HISTORY - np.arange(1, LAGS + 1))
    found = correlation[..., 1:] / energy * counts
    noise = np.clip(HISTORY * noise_var[..., None] / energy, *NOISE_RANGE)
    return np.concatenate([found.real, found.imag, np.log10(noise)], axis=-1).astype(np.float32)


class ClusteringNetwork:
    """A `Predictor` that finds clusters and filters by a network in an ONNX file (`training.forecaster`).

    The file is trusted: one of one's own. Where estimates are missing or fewer than HISTORY, times are not regular, or
    a horizon is no multiple of the step up to HORIZONS, `clustered_wiener` forecasts instead.

    Args:
        path: of the file.

    Raises:
        ImportError: ONNX Runtime is missing.
        ValueError: the file cannot be read, or ONNX Runtime cannot load it.
    """

    def __init__(self, path: str | Path):
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  # optional

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            content = read_file(path, MAX_FILE_BYTES)
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's have no common base
            raise ValueError(f"{path}: {one_line(error)}; a forecaster in ONNX expected") from None

    def filters(self, series: Series) -> tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.float32]]:
        """For the newest: filters (S, HORIZONS, HISTORY), error over power (S, HORIZONS), memberships (S, K)."""
        taken = features(series.values[:, -HISTORY:], series.noise_var)
        flat, log_errors, memberships = self._session.run(None, {"features": taken})
        parts = flat.reshape(len(taken), 2, HORIZONS, HISTORY)
        return parts[:, 0] + 1j * parts[:, 1], np.exp(log_errors), memberships

    def __call__(self, series: Series, horizons: NDArray[np.float64]) -> Forecast:
        """Forecast."""
        places = self._places(series, horizons)
        if places is None:
            return clustered_wiener(series, horizons)
        filters, errors, _ = self.filters(series)
        values = (filters[:, places] @ series.values[:, -HISTORY:, None])[..., 0]
        return Forecast(values.astype(np.complex128), series.powers[:, None] * errors[:, places].astype(np.float64))

    @staticmethod
    def _places(series: Series, horizons: NDArray[np.float64]) -> NDArray[np.int64] | None:
        if len(series.times) < HISTORY or not series.known[:, -HISTORY:].all():
            return None
        steps = np.diff(series.times[-HISTORY:])
        step = np.median(steps)
        places = np.rint(horizons / step).astype(np.int64)
        regular = np.abs(steps - step).max() < REGULAR * step and np.all(
            np.abs(horizons - places * step) < REGULAR * step
        )
        return places - 1 if regular and places.min() >= 1 and places.max() <= HORIZONS else None
