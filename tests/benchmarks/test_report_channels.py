# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's hard channels: powers, singular values, and which streams' bits count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.report import delay_lines, perturbations, simulate
from benchmarks.report.channels import AlikeStreams, UnequalPowers, alike_streams, unequal_powers
from benchmarks.report.delay_lines import ClusteredDelayLine, delay_line
from benchmarks.report.peers import PeersUnavailableError
from benchmarks.report.settings import ROOT
from benchmarks.report.statistics import Rate
from gr_kaq.channels.flat import RecordedChannels

SEED = np.random.SeedSequence(1)


def test_weak_streams_are_weak():
    h = UnequalPowers(4, 4, 20.0, 2, SEED).draw(20_000)[:, 0]
    power = np.mean(np.abs(h) ** 2, axis=(0, 1))
    assert power.mean() == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(power[2:] / power[0], 0.01, rtol=0.05)
    with pytest.raises(ValueError, match="4 weak streams of 4"):
        UnequalPowers(4, 4, 20.0, 4, SEED)


def test_alike_streams_differ_by_a_small_part():
    h = AlikeStreams(4, 3, 20.0, SEED).draw(20_000)[:, 0]
    power = np.mean(np.abs(h) ** 2, axis=(0, 1))
    np.testing.assert_allclose(power, 1, rtol=0.03)
    difference = np.mean(np.abs(h[..., 2] - h[..., 1]) ** 2)
    assert difference == pytest.approx(0.01, rel=0.05)
    with pytest.raises(ValueError, match="1 streams"):
        AlikeStreams(4, 1, 20.0, SEED)


def job(**changes):
    keys = {"csi": {}, "constellation": "16qam", "num_vectors": 2, "detectors": ["lmmse"], "seed": 1}
    limits = {"min_errors": 10**9, "max_bits": 40_000, "peer_max_bits": 0}
    return {**keys, **limits, "snr_db": 25.0, "channel": unequal_powers(4, 4, 20.0), **changes}


def rate(**changes):
    return Rate.read(simulate.bit_errors(job(**changes))["rates"]["lmmse"])


def test_bits_of_some_streams_count():
    whole, strong, weak = rate(), rate(streams=[0, 2], max_bits=20_000), rate(streams=[2, 4], max_bits=20_000)
    assert whole.errors == strong.errors + weak.errors
    assert whole.trials == strong.trials + weak.trials
    assert weak.value > 10 * strong.value


def test_levels_are_those_of_the_weak_streams():
    keys = {"channel": unequal_powers(4, 4, 20.0), "csi": {}, "constellation": "16qam", "seed": 1}
    found = simulate.level_snrs(
        {**keys, "levels": [0.02], "max_bits": 100_000, "streams": [2, 4], "highest_snr_db": 74}
    )
    snr_db = found["snr_db"]["0.02"]
    assert rate(snr_db=snr_db, streams=[2, 4], max_bits=200_000).value == pytest.approx(0.02, rel=0.25)


def test_alike_streams_are_harder():
    iid, alike = (rate(channel=channel) for channel in (simulate.iid(4, 4), alike_streams(4, 4, 20.0)))
    assert alike.value > 2 * iid.value


def test_line_of_sight_channels_are_nearly_singular():
    h = RecordedChannels(ROOT / "training" / "data" / "cdl_d_4x4.npz", 4, 4, 4).draw(256)
    values = np.median(np.linalg.svd(h, compute_uv=False), axis=(0, 1))
    assert values[3] / values[0] < 0.04


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Small blocks of delay lines, cached in a folder of the test's own."""
    monkeypatch.setattr(delay_lines, "CHANNELS_PER_BLOCK", 200)
    monkeypatch.setattr(delay_lines, "CACHE", tmp_path / "cache")
    delay_lines._block.cache_clear()
    yield tmp_path / "cache"
    delay_lines._block.cache_clear()


def drawn(profile, count=400, seed=SEED):
    return simulate.make_channels(delay_line(profile, 50.0, 4, 4), seed).draw(count)


@pytest.mark.parametrize(("profile", "weakest_db"), [("C", -20), ("D", -30)])
def test_delay_lines_are_normalised_and_nearly_singular(few, profile, weakest_db):
    pytest.importorskip("sionna.phy")
    h = drawn(profile)
    assert h.shape == (400, 1, 4, 4) and h.dtype == np.complex64
    assert np.mean(np.abs(h[:200]) ** 2) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(np.mean(np.abs(h) ** 2, axis=(0, 1)), 1, atol=0.2)
    values = np.median(np.linalg.svd(h, compute_uv=False), axis=(0, 1))
    assert 20 * np.log10(values[3] / values[0]) < weakest_db


def test_delay_lines_have_a_line_of_sight_or_none(few):
    """13.3 dB stronger than any other path, and broadside: the same for all antennas of a realisation."""
    pytest.importorskip("sionna.phy")
    share = [np.mean(np.abs(drawn(profile).mean(axis=(2, 3))) ** 2) for profile in "DC"]
    assert share[0] > 0.9
    assert share[1] < 0.4


def test_delay_lines_do_not_depend_on_how_many_are_drawn_at_once(few):
    pytest.importorskip("sionna.phy")
    whole = drawn("D", 500)
    model = ClusteredDelayLine(4, 4, "D", 50.0, SEED)
    np.testing.assert_array_equal(np.concatenate([model.draw(n) for n in (150, 50, 1, 299)]), whole)
    for path in few.iterdir():
        path.unlink()
    delay_lines._block.cache_clear()
    np.testing.assert_array_equal(drawn("D", 500), whole)
    assert len(list(few.iterdir())) == 3
    assert np.abs(drawn("D", 200, np.random.SeedSequence(2)) - whole[:200]).max() > 0.1
    realisations = whole[:, 0].reshape(500, -1)
    assert len(np.unique(realisations, axis=0)) == 500


def test_delay_lines_are_read_from_the_cache(few, monkeypatch):
    pytest.importorskip("sionna.phy")
    h = drawn("D", 10)
    delay_lines._block.cache_clear()

    def missing(name):
        raise PeersUnavailableError("pip install sionna")

    monkeypatch.setattr(delay_lines, "sionna_module", missing)
    np.testing.assert_array_equal(drawn("D", 10), h)
    with pytest.raises(PeersUnavailableError, match="pip install sionna"):
        drawn("C", 10)


def test_every_row_can_be_drawn():
    rows = perturbations.rows()
    assert len({row.name for row in rows}) == len(rows)
    assert {"CDL-D 4x4", "CDL-D 8x4", "8x8, 2 weak by 40 dB", "4x4, 2 streams alike"} <= {row.name for row in rows}
    for row in rows:
        assert row.grid is None or row.grid in {other.name for other in rows}
        h = simulate.make_channels(row.channel, np.random.SeedSequence(1)).draw(300)
        assert np.mean(np.abs(h) ** 2) == pytest.approx(1, rel=0.15)
