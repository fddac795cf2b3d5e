# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a transport block is wrong, by MCS and effective SNR: measured curves of this receiver.

    BLER = 1 / (1 + exp((snr_db - threshold_db) / width_db))

`kaq link calibrate` measures them. Those that ship are of the receiver that `calibrated.json` names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files import one_line, parse_json, read_file
from ..frames.modulation_coding import MCS_TABLE

__all__ = ["BlockErrorCurves", "fit_curve", "shipped_curves"]

SHIPPED = "calibrated.json"
MAX_FILE_BYTES = 1 << 20
WIDTHS_DB = (0.02, 5.0)
LIMITS_DB = (-40.0, 60.0)
STEPS = 60
PRIOR = 0.5  # a frame that was right far above, and one that was wrong far below, keep the fit finite
PRIOR_DB = 10.0


@dataclass(frozen=True)
class BlockErrorCurves:
    """One curve for each MCS.

    Args:
        thresholds_db: effective SNR at which half of the blocks are wrong, (MCSs,).
        widths_db: how steep, (MCSs,): at threshold + 2.2 widths 10 % are wrong.

    Raises:
        ValueError: there are not as many as `MCS_TABLE` has entries, or a number is out of range.
    """

    thresholds_db: NDArray[np.float64]
    widths_db: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, (low, high) in (("thresholds_db", LIMITS_DB), ("widths_db", WIDTHS_DB)):
            values = getattr(self, name)
            if values.shape != (len(MCS_TABLE),):
                raise ValueError(f"{name} has shape {values.shape}; {(len(MCS_TABLE),)} expected, one for each MCS")
            if not ((values >= low) & (values <= high)).all():
                raise ValueError(f"{name} is {values}; {low:g} to {high:g} expected")

    def block_error_rate(self, snr_db: ArrayLike, deviation_db: ArrayLike = 0.0) -> NDArray[np.float64]:
        """BLER of each MCS at effective SNRs (...): (..., MCSs).

        Where an SNR is known up to a Gaussian error, it is the mean over that: a curve as much wider as the variances
        of both, pi^2 / 3 width^2 that of the logistic distribution, make it.

        Args:
            snr_db: effective SNRs.
            deviation_db: standard deviations of their errors; they broadcast.
        """
        spread = 3 / np.pi**2 * np.asarray(deviation_db, np.float64)[..., None] ** 2
        position = (np.asarray(snr_db, np.float64)[..., None] - self.thresholds_db) / np.sqrt(
            self.widths_db**2 + spread
        )
        return 1 / (1 + np.exp(np.clip(position, -500, 500)))

    @classmethod
    def load(cls, path: Path) -> BlockErrorCurves:
        """From a file of `kaq link calibrate`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is none.
        """
        try:
            content = parse_json(read_file(path, MAX_FILE_BYTES))
            curves = content["curves"]
            names = [curve["mcs"] for curve in curves]
            values = np.array([[curve["threshold_db"], curve["width_db"]] for curve in curves], np.float64)
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"{path}: no block error curves: {type(error).__name__}: {one_line(error)}") from None
        if names != [str(mcs) for mcs in MCS_TABLE]:
            raise ValueError(f"{path}: curves of {one_line(names)}; those of the MCS table expected")
        try:
            return cls(values[:, 0], values[:, 1])
        except ValueError as error:
            raise ValueError(f"{path}: {one_line(error)}") from None


@lru_cache(maxsize=1)
def shipped_curves() -> BlockErrorCurves:
    """Those that ship."""
    return BlockErrorCurves.load(Path(str(resources.files(__package__) / SHIPPED)))


def fit_curve(snrs_db: Sequence[float], wrong: Sequence[bool]) -> dict[str, Any]:
    """The likeliest curve for frames with these effective SNRs, of which these were wrong.

    Returns:
        `threshold_db`, `width_db`, `frames`, `errors`.
    """
    snrs, failed = np.asarray(snrs_db, np.float64), np.asarray(wrong, np.float64)
    counted = len(snrs), int(failed.sum())
    snrs = np.concatenate([snrs, [snrs.max() + PRIOR_DB, snrs.min() - PRIOR_DB]])
    failed, weights = np.concatenate([failed, [0, 1]]), np.append(np.ones(len(failed)), [PRIOR, PRIOR])
    offset, slope = 0.0, -1.0
    centre = float(np.median(snrs))
    x = np.stack([np.ones_like(snrs), snrs - centre])
    beta = np.array([offset, slope])
    for _ in range(STEPS):  # Newton's method, the logistic regression being convex
        rate = 1 / (1 + np.exp(-np.clip(beta @ x, -30, 30)))
        curvature = (x * (weights * np.maximum(rate * (1 - rate), 1e-9))) @ x.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, x @ (weights * (failed - rate)))
        beta = beta + step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-12))
    width = float(np.clip(-1 / min(beta[1], -1e-3), *WIDTHS_DB))
    threshold = float(np.clip(centre + beta[0] * width, *LIMITS_DB))
    if not math.isfinite(threshold):
        raise ValueError("no curve fits")
    return {"threshold_db": threshold, "width_db": width, "frames": counted[0], "errors": counted[1]}
