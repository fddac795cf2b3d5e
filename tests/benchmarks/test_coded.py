# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error rates: the code, what the LLRs are worth, and the interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.report import coded
from gr_kaq import load_detector
from gr_kaq.signals.constellation import constellation_named

IID = coded.CODED_LINKS["iid-16x16-16qam"]


@pytest.fixture()
def sionna(monkeypatch):
    """Sionna's code; a draw is one frame of 16 code words, so that a test takes seconds."""
    pytest.importorskip("torch").set_num_threads(1)
    pytest.importorskip("sionna.phy")
    monkeypatch.setattr(coded, "BLOCKS_PER_DRAW", 64)


@pytest.mark.parametrize("link", coded.CODED_LINKS.values(), ids=lambda link: link.name)
def test_a_code_word_fills_its_channels(link):
    """As many symbols as coded bits need, on channels of mean power 1."""
    constellation = constellation_named(link.constellation)
    symbols = link.num_subcarriers * link.num_vectors
    assert symbols * constellation.bits_per_symbol == coded.CODED_BITS
    h = link.channels(np.random.SeedSequence(1)).draw(coded.BLOCKS_PER_DRAW // link.num_tx)
    assert h.shape[1:] == (link.num_subcarriers, link.num_rx, link.num_tx)
    assert np.mean(np.abs(h) ** 2) == pytest.approx(1, rel=1e-2)


def test_exact_posteriors_are_for_few_candidates():
    assert coded.CODED_LINKS["iid-4x4-16qam"].enumerable and coded.CODED_LINKS["umi-16x4-16qam"].enumerable
    assert not coded.CODED_LINKS["iid-4x4-64qam"].enumerable


def test_exact_posteriors_lose_fewer_blocks(sionna):
    """2x2 16-QAM: the sum of all likelihoods, then the largest alone, then LMMSE."""
    detectors = [coded.load(name, "16qam") for name in ("exact-map", "exact-max-log", "lmmse")]
    rows = coded.measure(
        detectors, coded.CODED_LINKS["iid-2x2-16qam"], 10.5, min_block_errors=10**6, max_blocks=256, seed=1
    )
    errors = [row["block_errors"] for row in rows]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_the_code_corrects_errors(sionna):
    code = coded.LdpcCode(4)
    rng = np.random.default_rng(1)
    information = rng.integers(0, 2, (8, coded.INFORMATION_BITS), dtype=np.uint8)
    sent = code.encode(information)
    assert sent.shape == (8, coded.CODED_BITS)
    # BPSK at 2 dB below what would make every 20th bit wrong
    received = 2.0 * sent - 1 + 0.7 * rng.standard_normal(sent.shape)
    assert np.mean((received > 0) != sent) > 0.05
    np.testing.assert_array_equal(code.decode((2 / 0.7**2 * received).astype(np.float32)), information)


@pytest.mark.parametrize("name", ["iid-16x16-64qam", "umi-64x16-16qam", "umi-16x4-64qam"])
def test_all_blocks_arrive_at_high_snr(sionna, name):
    """Bits come back where they were put, for every constellation and channel."""
    link = coded.CODED_LINKS[name]
    detector = load_detector("lmmse", constellation=link.constellation)
    (row,) = coded.measure([detector], link, 35.0, min_block_errors=1, max_blocks=64, seed=1)
    assert row["blocks"] == 64 and row["block_errors"] == 0
    assert row.keys() >= {"detector", "channel", "constellation", "num_rx", "num_tx", "snr_db", "seed"}


def test_a_trained_detector_gains_a_decibel_on_lmmse(sionna):
    """At 13 dB it loses few blocks, and LMMSE most of them 1 dB below that and many still at 13 dB."""
    detectors = [coded.load(name, "16qam") for name in ("lmmse", "admm5-16qam")]
    lmmse, own = coded.measure(detectors, IID, 13.0, min_block_errors=1000, max_blocks=128, seed=1)
    assert lmmse["blocks"] == own["blocks"] == 128
    assert own["block_errors"] < 0.1 * own["blocks"] < 0.2 * lmmse["blocks"] < lmmse["block_errors"]


def test_the_same_seed_gives_the_same_blocks(sionna):
    detector = load_detector("lmmse", constellation="16qam")
    runs = [coded.measure([detector], IID, 13.0, min_block_errors=9999, max_blocks=64, seed=s) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_it_stops_when_there_are_errors_enough(sionna):
    detector = load_detector("lmmse", constellation="16qam")
    rows = coded.measure([detector], IID, 5.0, min_block_errors=10, max_blocks=10**6, seed=1, llr_factors=(0.5, 1.0))
    assert [row["blocks"] for row in rows] == [64, 64]
    assert [row["llr_factor"] for row in rows] == [0.5, 1.0]
    assert all(row["block_errors"] == 64 for row in rows)


def test_calibration_of_lmmse(sionna):
    """LMMSE's residual interference is nearly Gaussian: its LLRs are nearly what they claim to be."""
    result = coded.calibration(load_detector("lmmse", constellation="16qam"), IID, 12.5, seed=1)
    assert 0.9 < result["best_factor"] < 1.25
    assert 0 < result["mutual_information"] <= result["best_mutual_information"] < 1
    assert result["best_mutual_information"] - result["mutual_information"] < 0.01
    usual = [row for row in result["bins"] if row["count"] > 3000 and 1 < row["claimed"] < 8]
    assert all(row["measured"] == pytest.approx(row["claimed"], rel=0.25) for row in usual)


def test_mutual_information_of_known_llrs():
    """A binary symmetric channel that errs with probability 0.1: 1 - h(0.1), and less with another scale."""
    bits = np.repeat(np.array([0, 1], np.uint8), 1000)
    llrs = np.where(bits == 1, 1, -1) * np.float32(np.log(9))
    llrs[::10] *= -1
    entropy = -0.1 * np.log2(0.1) - 0.9 * np.log2(0.9)
    assert coded.mutual_information(llrs, bits) == pytest.approx(1 - entropy, abs=1e-6)
    assert coded.mutual_information(llrs, bits, 1.2) < 1 - entropy > coded.mutual_information(llrs, bits, 0.8)
    assert coded.mutual_information(np.zeros_like(llrs), bits) == pytest.approx(0)


def test_snr_at_a_block_error_rate():
    rows = [{"snr_db": s, "block_errors": e, "blocks": 1000} for s, e in ((14.0, 10), (12.0, 900), (13.0, 1000 * 0.1))]
    assert coded.snr_at_bler(rows) == pytest.approx(13.0)
    assert coded.snr_at_bler(rows, 10**-1.5) == pytest.approx(13.5)
    assert coded.snr_at_bler(rows, 0.95) is None
    assert coded.snr_at_bler([rows[0] | {"block_errors": 0, "snr_db": 15.0}, *rows], 1e-3) == pytest.approx(
        14 + np.log(10) / np.log(20)
    )
    assert coded.snr_at_bler([]) is None
