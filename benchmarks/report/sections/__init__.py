# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of the report, in the order in which they are measured and read.

Each is a module with

    TITLE                          its heading
    measure(settings) -> dict      plain JSON; long work goes through `points`, so that it can be resumed
    plot(data, folder) -> list     writes PNG files, returns their names
    markdown(data) -> str          the text, which shows every plot
"""

from __future__ import annotations

from types import ModuleType

from . import (
    claims,
    coded,
    detectors,
    low_bits,
    methods,
    near_ml,
    paper,
    published_points,
    robustness,
    training_settings,
)

__all__ = ["SECTIONS"]

SECTIONS: dict[str, ModuleType] = {
    "detectors": detectors,
    "near_ml": near_ml,
    "published_points": published_points,
    "robustness": robustness,
    "coded": coded,
    "methods": methods,
    "low_bits": low_bits,
    "paper": paper,
    "training_settings": training_settings,
    "claims": claims,
}
