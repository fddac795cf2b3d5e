# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration and a comparison that train in seconds."""

from __future__ import annotations

import yaml

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


def small_comparison(tmp_path, **changes):
    """The path of a file of three methods and two seeds; any key can be changed."""
    base = {"kind": "detector", **small_config(sizes=((4, 4),)).to_dict()}
    base |= {"full_precision": {"iterations": 20, "learning_rate": 0.03}, "batch": [16, 2]}
    base |= {"quantized": {"iterations": 10, "learning_rate": 0.01}}
    base |= {"evaluation": {"snr_db": [12.0, 16.0], "min_errors": 50, "max_bits": 50_000}}
    document = {
        "kind": "comparison",
        "base": base,
        "seeds": [1, 2],
        "bits": [4],
        "methods": {
            "ptq": {"quantizer": {"step": "fixed", "law": "static", "start": "mse"}, "quantized.iterations": 0},
            "kaq": {},
            "no_mmd": {"only_bits": [2], "mmd.epsilon": 0},
        },
        **changes,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
