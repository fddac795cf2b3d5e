# SPDX-License-Identifier: GPL-3.0-or-later
"""The clustering network (CCM). It takes what no phase and no scale of a series changes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import one_line, read_file
from .fading import Fading
from .predictors import clustered_wiener
from .series import Forecast, Series

__all__ = ["FADINGS", "FEATURES", "HISTORY", "HORIZONS", "LAGS", "LEAST_LIKELY", "ClusteringNetwork", "features"]

HISTORY, HORIZONS, LAGS = 32, 20, 16
SCATTERED = (0.0, *np.geomspace(1e-3, 0.02, 12), *np.linspace(0.0255, 0.46, 120))
LINE_DOPPLERS, LINE, SHIFT_STEP = (0.03, 0.1, 0.25, 0.45), 0.9, 1 / 64
FADINGS = tuple(
    [Fading(float(doppler)) for doppler in SCATTERED]
    + [
        Fading(doppler, LINE, float(shift))
        for doppler in LINE_DOPPLERS
        for shift in SHIFT_STEP * np.arange(-(doppler // SHIFT_STEP), doppler // SHIFT_STEP + 1)
    ]
)
"""What a series may be like, at one estimate per unit of time."""
FEATURES = len(FADINGS) + 2 * LAGS + 1
LEAST_LIKELY = -60.0
NOISE_RANGE = (1e-4, 10.0)
REGULAR = 0.05  # of a step
MAX_FILE_BYTES = 64 << 20


@cache
def _modes() -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
    """Eigenvalues (C, HISTORY) and eigenvectors (HISTORY, C HISTORY) of the correlation of each of `FADINGS`."""
    ages = np.arange(HISTORY)
    correlations = np.stack([fading.correlation(ages[:, None] - ages) for fading in FADINGS])
    values, vectors = np.linalg.eigh(correlations)
    return np.maximum(values, 0).astype(np.float32), vectors.transpose(1, 0, 2).reshape(HISTORY, -1).astype(
        np.complex64
    )


def features(samples: NDArray[np.complexfloating], noise_var: NDArray[np.floating]) -> NDArray[np.float32]:
    """Of series (..., HISTORY) with these error variances (...): (..., FEATURES).

    How likely each of `FADINGS` is, as a logarithm, against the most likely one; real and imaginary parts of the
    autocorrelation at lags 1 to LAGS, over what a lag of 0 shows; and the noise over that, as a logarithm.
    """
    spectrum = np.fft.fft(samples, 2 * HISTORY, axis=-1)
    correlation = np.fft.ifft(np.abs(spectrum) ** 2, axis=-1)[..., : LAGS + 1]
    energy = np.maximum(correlation[..., :1].real, 1e-30)
    counts = HISTORY / (HISTORY - np.arange(1, LAGS + 1))
    found = correlation[..., 1:] / energy * counts
    noise = np.clip(HISTORY * noise_var[..., None] / energy, *NOISE_RANGE)

    values, vectors = _modes()
    unit = (samples / np.sqrt(energy / HISTORY)).astype(np.complex64)
    turned = unit.conj().reshape(-1, HISTORY) @ vectors
    power = np.maximum(1 - noise, noise / HISTORY)
    variances = power[..., None] * values + noise[..., None]  # (..., C, HISTORY)
    squares = np.square(turned.real) + np.square(turned.imag)
    likely = -np.sum(squares.reshape(variances.shape) / variances + np.log(variances), axis=-1)
    likely = np.maximum(likely - likely.max(axis=-1, keepdims=True), LEAST_LIKELY)
    return np.concatenate([likely, found.real, found.imag, np.log10(noise)], axis=-1).astype(np.float32)


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
