# SPDX-License-Identifier: GPL-3.0-or-later
"""Published error rates: the file, and counting in the units in which they were published."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.report import published, simulate
from benchmarks.report.simulate import iid
from benchmarks.report.statistics import Rate


def test_every_point_has_a_source_and_a_unit():
    points = published.published()
    assert len(points) > 60
    assert {"GEPNet", "OAMPNet", "RE-MIMO", "GNN"} <= {point.detector for point in points}
    for point in points:
        assert point.source in published.SOURCES
        assert point.unit in ("symbol", "pam")
        assert 0 < point.rate < 1
        assert point.ber is None or 0 < point.ber < point.rate
    for size in {point.size for point in points}:
        assert len({point.unit for point in points if point.size == size}) == 1


def test_rates_fall_with_the_snr():
    points = published.published()
    for size, detector in {(point.size, point.detector) for point in points}:
        curve = [(p.snr_db, p.rate) for p in points if (p.size, p.detector) == (size, detector)]
        assert curve == sorted(curve) and [rate for _, rate in curve] == sorted((r for _, r in curve), reverse=True)


def test_units():
    """Two 16-QAM symbols: bits 0 and 2 are the in-phase part of a symbol, 1 and 3 the other."""
    wrong = np.array([[1, 0, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 1]], bool)
    assert simulate._in_units(wrong, "bit", 4).sum() == 5
    assert simulate._in_units(wrong, "pam", 4).sum() == 4
    assert simulate._in_units(wrong, "symbol", 4).sum() == 3


def rates(size, snr_db, unit, max_bits=400_000):
    job = {"channel": iid(*size), "csi": {}, "constellation": "16qam", "snr_db": snr_db, "num_vectors": 4, "unit": unit}
    limits = {"detectors": ["lmmse"], "min_errors": 10**9, "max_bits": max_bits, "peer_max_bits": 0, "seed": 1}
    return Rate.read(simulate.bit_errors({**job, **limits})["rates"]["lmmse"])


def test_units_on_the_same_vectors():
    bit, pam, symbol = (rates((8, 4), 14.0, unit) for unit in ("bit", "pam", "symbol"))
    assert bit.trials == 2 * pam.trials == 4 * symbol.trials
    assert symbol.errors <= pam.errors <= bit.errors <= 2 * pam.errors


@pytest.mark.parametrize(("size", "snr_db"), [("64x16", 10.0), ("8x4", 14.0)])
def test_our_lmmse_is_their_mmse(size, snr_db):
    """So the definitions of the SNR agree."""
    (point,) = (p for p in published.published() if (p.size, p.snr_db, p.detector) == (size, snr_db, "MMSE"))
    own = rates(tuple(map(int, size.split("x"))), snr_db, point.unit)
    assert own.value == pytest.approx(point.rate, rel=0.1)
