# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a list detector that trains in seconds."""

from __future__ import annotations

from training.detector.config import Accepts
from training.detector.list_detector.config import Condition, ListConfig, ListEvaluation, Place
from training.optimization import Stage


def small_config(**changes) -> ListConfig:
    """A list of 8 at 2x2 and 4x3; any key can be changed."""
    keys = {
        "name": "small",
        "network": "list",
        "constellation": "16qam",
        "survivors": 8,
        "layers": 1,
        "matrix_bits": 8,
        "conditions": (Condition((2, 2), (12.0, 20.0)), Condition((4, 3), (8.0, 16.0))),
        "accepts": Accepts(64, 16),
        "full_precision": Stage(60, 0.05),
        "quantized": Stage(4, 0.01),
        "evaluation": ListEvaluation((Place((2, 2), (16.0,)), Place((4, 3), (14.0,), 0.5, 10.0)), 20, 20_000),
        "batch": (16, 2),
    }
    return ListConfig(**{**keys, **changes})
