# SPDX-License-Identifier: GPL-3.0-or-later
"""The BER of the shipped detectors through a flowgraph: the figures that this project was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from link_comparison import Link, measure


@pytest.mark.parametrize(
    ("name", "snr_db", "limit"),
    [
        ("admm5-16qam", 20.0, 1.5e-2),
        ("admm5-16qam", 25.0, 2e-3),
    ],
)
def test_ber_through_the_flowgraph(name, snr_db, limit):
    """16x16, 16-QAM, i.i.d. Rayleigh, 400 bit errors and more; LMMSE has 5.9e-2 at 20 dB and 2.4e-2 at 25 dB."""
    link = Link(16, 16, "16qam", 64)
    lmmse, int8 = measure(link, snr_db, ["lmmse", name], target_errors=2000, max_bits=50_000_000)
    assert int8.bit_errors.errors >= 400
    assert int8.bit_errors.rate <= limit
    assert lmmse.bit_errors.rate == pytest.approx(5.86e-2 if snr_db == 20 else 2.43e-2, rel=0.05)
