# SPDX-License-Identifier: GPL-3.0-or-later
"""Error rates of learned detectors that others published; published.csv holds them, with the source of every row."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SOURCES", "PublishedRate", "published"]

SOURCES = {
    "gepnet": "result files of the repository GNN-based-MIMO-Detection/GNN-based-MIMO-Detection; Kosasih et al., "
    '"Graph neural network aided MIMO detectors", IEEE JSAC 40(9), 2022',
    "re-mimo": 'result files of the repository krpratik/RE-MIMO; Pratik, Rao, Welling, "RE-MIMO: recurrent and '
    'permutation equivariant neural MIMO detection", IEEE Trans. Signal Process. 69, 2021',
}
FILE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class PublishedRate:
    """One point.

    Args:
        size: such as ``"8x8"``, num_rx x num_tx.
        detector: as its authors call it.
        snr_db: num_tx / noise_var, as everywhere here.
        unit: what the rate counts, ``"symbol"`` or ``"pam"``.
        rate: errors per unit.
        bit_errors_per_error: bit error rate over `rate`, as LMMSE has it in both works, or 1/2 for a PAM symbol of two
            bits; None where the rate is not converted.
        source: a key of `SOURCES`.
    """

    size: str
    detector: str
    snr_db: float
    unit: str
    rate: float
    bit_errors_per_error: float | None
    source: str

    @property
    def ber(self) -> float | None:
        """Bit error rate, converted. Detectors differ in the ratio, by up to a factor of two at 8x8."""
        return None if self.bit_errors_per_error is None else self.rate * self.bit_errors_per_error


def published() -> list[PublishedRate]:
    """All points, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [
        PublishedRate(
            row["size"],
            row["detector"],
            float(row["snr_db"]),
            row["unit"],
            float(row["rate"]),
            float(row["bit_errors_per_error"]) if row["bit_errors_per_error"] else None,
            row["source"],
        )
        for row in rows
    ]
