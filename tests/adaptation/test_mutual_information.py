# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual information of LLRs: that of white noise where there is only that, from bits or without them."""

import numpy as np
import pytest

from gr_kaq.adaptation.mutual_information import (
    SNR_RANGE_DB,
    effective_snr,
    mutual_information,
    white_noise_information,
)
from gr_kaq.detection.detectors import load_detector
from gr_kaq.signals.constellation import CONSTELLATIONS, constellation_named


def detected(name, snr_db, count=20000):
    """Bits and LLRs of symbols in white noise."""
    rng = np.random.default_rng(1)
    constellation = constellation_named(name)
    bits = rng.integers(0, 2, (count, constellation.bits_per_symbol), dtype=np.uint8)
    parts = rng.standard_normal((2, count)) * (10 ** (-snr_db / 10) / 2) ** 0.5
    received = constellation.modulate(bits)[:, 0] + parts[0] + 1j * parts[1]
    detector = load_detector("lmmse", constellation=name)
    llrs = detector.detect(received[:, None], np.ones((1, 1)), noise_var=10 ** (-snr_db / 10)).llrs
    return bits, llrs.reshape(bits.shape)


@pytest.mark.parametrize("name", CONSTELLATIONS)
@pytest.mark.parametrize("share", [0.6, 0.8])
def test_llrs_tell_what_white_noise_leaves(name, share):
    constellation = constellation_named(name)
    snr_db = float(effective_snr(constellation, share))
    bits, llrs = detected(name, snr_db)
    assert mutual_information(llrs, bits) == pytest.approx(share, abs=0.015)
    assert share - 0.05 < mutual_information(llrs) < share + 0.015  # LLRs are max-log, which says less
    assert white_noise_information(constellation, snr_db) == pytest.approx(share, abs=1e-9)


def test_qpsk_is_as_known():
    """Two binary channels with half the power each; their capacity at 0 dB of Es/N0 is 0.486."""
    assert white_noise_information(constellation_named("qpsk"), 0.0) == pytest.approx(0.486, abs=0.002)
    for name, carried in CONSTELLATIONS.items():
        assert white_noise_information(carried, 40.0) > 0.999, name
        assert np.all(np.diff(white_noise_information(carried, np.arange(-15, 10, 0.5))) > 0)


def test_no_knowledge_wrong_knowledge_and_what_is_no_number():
    bits = np.ones(100, np.uint8)
    assert mutual_information(np.zeros(100)) == 0
    assert mutual_information(np.full(100, np.inf), bits) == 1
    assert mutual_information(np.full(100, -3.0), bits) < -2
    assert mutual_information(np.full(100, np.nan)) == 0
    by_stream = mutual_information(np.stack([np.zeros((50, 2)), np.full((50, 2), 99.0)], axis=1), axis=(0, 2))
    assert by_stream == pytest.approx([0, 1])
    low, high = effective_snr(constellation_named("16qam"), [-1.0, 2.0])
    assert (low, high) == SNR_RANGE_DB
