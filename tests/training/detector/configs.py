# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration that trains in seconds."""

from __future__ import annotations

from training.detector.config import Accepts, Config, Evaluation
from training.optimization import Stage


def small_config(**changes) -> Config:
    """An ADMM-Net at 4x4 and 8x8; any key can be changed."""
    keys = {
        "name": "small",
        "network": "admm",
        "layers": 3,
        "constellation": "16qam",
        "activation_bits": 8,
        "matrix_bits": 8,
        "sizes": ((4, 4), (8, 8)),
        "accepts": Accepts(64, 16),
        "snr_db": (5.0, 25.0),
        "full_precision": Stage(30, 0.03),
        "quantized": Stage(30, 0.01),
        "evaluation": Evaluation((15.0,), 10, 10_000),
        "batch": (32, 2),
    }
    return Config(**{**keys, **changes})
