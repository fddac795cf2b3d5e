# SPDX-License-Identifier: GPL-3.0-or-later
"""Which detectors the report is about. A name that `gr_kaq.list_detectors()` does not have is left out."""

from __future__ import annotations

import gr_kaq

from .exact import EXACT_MAP, EXACT_MAX_LOG, EXACT_ML

GENERAL_16QAM = ("list16-16qam", "list8-16qam", "admm5-16qam", "admm5-16qam-w2")
"""Detectors for every size: the first that is installed is `ours` in comparisons."""
GENERAL = {
    "qpsk": ("list8-qpsk", "admm5-qpsk"),
    "16qam": GENERAL_16QAM,
    "64qam": ("list16-64qam", "list8-64qam", "admm5-64qam"),
}
CODED = {
    "16qam": ("list16-16qam", "list8-16qam", "admm5-16qam"),
    "64qam": ("list16-64qam", "list8-64qam", "admm5-64qam"),
}
TALL_16QAM = "pgd8-16qam"
"""For twice as many antennas as streams."""
MEASURED_16QAM = "measured-3x2-16qam"
"""Trained on the recording that ships."""

LMMSE = "lmmse"
LISTS = {name: (f"list8-{name}", f"list16-{name}") for name in GENERAL}
"""List detectors with 8 and 16 paths; like all names here, left out where they are not installed."""
NEAR_ML = {name: (*LISTS[name], f"admm5-{name}", LMMSE) for name in GENERAL}
"""What the near-ML section compares with exact maximum likelihood, by constellation."""
ROBUST_16QAM = GENERAL_16QAM
"""What every row of the robustness table has, beside LMMSE."""
SIONNA_LMMSE = "sionna-lmmse"
EP, PIC, KBEST = "sionna-ep10", "sionna-mmse-pic3", "sionna-kbest64"
KBEST_REVERSED = "sionna-kbest64-reversed"
PEERS = {
    SIONNA_LMMSE: "Sionna LMMSE",
    EP: "Sionna EP x10",
    PIC: "Sionna MMSE-PIC x3",
    KBEST: "Sionna K-best 64",
    KBEST_REVERSED: "Sionna K-best 64, strongest first",
}
"""Sionna's detectors by their names in `peers`, and what they are called here."""
EXACT = {EXACT_ML: "exact ML", EXACT_MAP: "exact MAP", EXACT_MAX_LOG: "exact max-log MAP"}
"""The detectors of `exact`, and what they are called here."""


def installed(*names: str) -> list[str]:
    """Those of the names that this installation has, in their order."""
    present = set(gr_kaq.list_detectors())
    return [name for name in names if name in present]


def label(name: str) -> str:
    """What a plot or table calls a detector."""
    if name == LMMSE:
        return "LMMSE"
    known = PEERS | EXACT
    if name in known:
        return known[name]
    return f"{name.removesuffix('-fp')}, full precision" if name.endswith("-fp") else name
