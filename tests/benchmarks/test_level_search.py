# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for the SNR at a BER, and distances between detectors, on cases with a known answer."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from benchmarks.report import level_search, references
from benchmarks.report.level_search import BatchedErrors, bracket
from benchmarks.report.simulate import iid
from tests.pages import programs


@pytest.mark.parametrize("step", [-24, -13, -1, 0, 1, 3, 4, 5, 50, 79])
def test_bracket_finds_the_step(step):
    seen = []

    def above(i):
        seen.append(i)
        return i <= step

    assert bracket(above, -24, 80) == step
    assert len(seen) < 16
    assert min(seen) >= -24 and max(seen) <= 80


def test_bracket_gives_up():
    assert bracket(lambda i: True, -24, 80) is None
    assert bracket(lambda i: False, -24, 80) is None


def curve(level_db, rng, batches=200, bits=10_000, common=None):
    """Errors 0.5 dB apart on a straight line of log10(BER), 0.2 decades per dB, that is 1e-3 at level_db."""
    low = 0.5 * np.floor(2 * level_db)
    rates = [1e-3 * 10 ** (-0.2 * (snr - level_db)) for snr in (low, low + 0.5)]
    bad = rng.gamma(2, 0.5, batches) if common is None else common
    return BatchedErrors((low, low + 0.5), np.array([rng.poisson(bits * rate * bad) for rate in rates]), bits)


def test_level_and_distance_cover_the_truth():
    """Batches differ, and alike for both detectors: pairing narrows the interval of their distance."""
    covered = [0, 0]
    widths = [[], []]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        bad = rng.gamma(2, 0.5, 200)
        best, own = (curve(db, rng, common=bad) for db in (20.2, 21.4))
        for i, (found, truth) in enumerate(
            ((level_search.level_snr(own, 1e-3), 21.4), (level_search.gap(own, best, 1e-3), 1.2))
        ):
            covered[i] += found.low <= truth <= found.high
            widths[i].append(found.high - found.low)
    assert min(covered) >= 51
    assert np.mean(widths[1]) < 0.8 * np.mean(widths[0])


def test_distance_compares_the_batches_of_both():
    rng = np.random.default_rng(1)
    whole = curve(20.2, rng)
    part = BatchedErrors(whole.snr_db, whole.errors[:, :30], whole.bits_per_batch)
    found = level_search.gap(part, whole, 1e-3)
    assert found.value == found.low == found.high == 0


def job(**changes):
    keys = {"channel": iid(2, 2), "constellation": "qpsk", "detector": "lmmse", "level": 1e-2, "start_db": 16.0}
    return {**keys, "batches": 10, "bits_per_batch": 4000, "seed": 1, **changes}


def test_errors_lie_on_both_sides_of_the_level():
    result = level_search.errors_at_level(job())
    assert json.loads(json.dumps(result)) == result
    counts = BatchedErrors.read(result)
    low, high = counts.errors.sum(axis=1) / counts.bits_per_batch / 10
    assert low >= 1e-2 > high
    assert level_search.error_counts(counts) == [*counts.errors.sum(axis=1)]


def test_the_start_does_not_matter():
    near, far = (level_search.errors_at_level(job(start_db=start)) for start in (16.0, 24.0))
    assert near == far


def test_a_level_that_is_not_reached():
    assert level_search.errors_at_level(job(start_db=-40.0))["snr_db"] is None


def test_lmmse_is_behind_exact_max_log():
    """2x2 QPSK: both are known; the distance at BER 1e-2 is 5.3 dB."""
    own, best = (
        BatchedErrors.read(level_search.errors_at_level(job(detector=name, bits_per_batch=20_000)))
        for name in ("lmmse", "exact-max-log")
    )
    found = level_search.gap(own, best, 1e-2)
    assert found.low < 5.3 < found.high and found.high - found.low < 0.5
    if references.missing("exact-ml") is None:
        same = BatchedErrors.read(level_search.errors_at_level(job(detector="exact-ml", bits_per_batch=20_000)))
        assert (same.errors == best.errors).all()


def test_the_programs_of_the_page_on_detectors(capsys):
    """With fewer streams and bits than on the page, whose figure takes a quarter of an hour."""
    if references.missing("exact-ml") is not None:
        pytest.skip("no IT++")
    choice, distance = programs("docs/guide/detectors.md")
    for long, short in (("iid(16, 16)", "iid(2, 2)"), ('"batches": 40', '"batches": 4'), ("100_000", "10_000")):
        assert distance.count(long) == 1
        distance = distance.replace(long, short)
    for program in (choice, distance):
        exec(program, {})
    assert re.fullmatch(r"[-+]0\.\d\d \[[-+]\d\.\d\d, [-+]\d\.\d\d\]\n", capsys.readouterr().out)
