# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated link: its SNR, the estimation errors that it makes, and the bit errors of detectors on it."""

import numpy as np
import pytest

import gr_kaq
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.links.simulated_link import CsiError, Link, count_bit_errors, detect
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.signal_model import db

QPSK = CONSTELLATIONS["qpsk"]
SIZE = (4, 2)


def draw(snr_db=10.0, count=2000, **options):
    """What was sent, and the channels that it went over."""
    channels = RayleighChannels(*SIZE, seed=1)
    sent = Link(channels, QPSK, snr_db, seed=2, **options).draw(count)
    return sent, RayleighChannels(*SIZE, seed=1).draw(count)


def test_the_noise_has_the_variance_that_the_snr_says():
    sent, h = draw(snr_db=10.0)
    noise = sent.y - QPSK.modulate(sent.bits) @ h.swapaxes(-1, -2)
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(SIZE[1] / 10, rel=0.02)
    np.testing.assert_allclose(sent.noise_var, SIZE[1] / 10)
    np.testing.assert_array_equal(sent.h, h)


@pytest.mark.parametrize(("channel", "snr_db", "variance", "told"), [(1, 10, 0.1, 0.4), (0.25, 13, 0.0125, 0.125)])
def test_a_channel_error_has_its_variance_and_is_told(channel, snr_db, variance, told):
    """1 is least squares: the error variance of an entry is noise_var / num_tx. All numbers are apart from 1."""
    sent, h = draw(snr_db, csi_error=CsiError(channel=channel))
    assert np.mean(np.abs(sent.h - h) ** 2) == pytest.approx(variance, rel=0.02)
    np.testing.assert_allclose(sent.noise_var, told, rtol=0.01)


def test_an_snr_error_has_its_bias_and_spread():
    sent, _ = draw(csi_error=CsiError(snr_bias_db=3.0, snr_jitter_db=1.0))
    told = db(SIZE[1] / sent.noise_var)
    assert told.mean() == pytest.approx(13.0, abs=0.1) and told.std() == pytest.approx(1.0, abs=0.05)


def test_given_bits_are_sent():
    bits = np.zeros((3, 1, 4, 2 * QPSK.bits_per_symbol), np.uint8)
    sent = Link(RayleighChannels(*SIZE, seed=1), QPSK, 30.0).draw(3, bits)
    np.testing.assert_array_equal(sent.bits, bits)
    received = detect(gr_kaq.load_detector("zf", constellation="qpsk"), sent).symbols
    np.testing.assert_array_equal(QPSK.decide(received), bits)


def test_subcarriers_of_one_estimate_share_what_they_are_told():
    """Detection takes an estimate's subcarriers together; flat channels, each with its own, give the same symbols."""
    detector = gr_kaq.load_detector("lmmse", constellation="qpsk")
    sent = Link(RayleighChannels(*SIZE, 3, seed=1), QPSK, 10.0, seed=2).draw(5)
    together = detect(detector, sent)
    assert together.symbols.shape == (5, 3, 4, 2) and together.llrs.shape == (5, 3, 4, 2, 2)
    for estimate in range(5):
        alone = detector.detect(sent.y[estimate], sent.h[estimate], noise_var=float(sent.noise_var[estimate]))
        np.testing.assert_array_equal(together.symbols[estimate], alone.symbols)


def test_bit_errors_end_at_the_errors_or_the_bits_asked_for():
    detectors = [gr_kaq.load_detector(name, constellation="qpsk") for name in ("lmmse", "zf")]

    def count(**limits):
        link = Link(RayleighChannels(*SIZE, seed=1), QPSK, 5.0, seed=2)
        return count_bit_errors(detectors, link, estimates_per_draw=50, **limits)

    bits_per_draw = 50 * 4 * 2 * QPSK.bits_per_symbol
    by_errors = count(min_errors=100, max_bits=10**9)
    assert min(c.errors for c in by_errors) >= 100
    a_draw_before = count(min_errors=10**9, max_bits=by_errors[0].bits - bits_per_draw)
    assert min(c.errors for c in a_draw_before) < 100
    assert count(min_errors=10**9, max_bits=3 * bits_per_draw)[0].bits == 3 * bits_per_draw
    assert by_errors == count(min_errors=100, max_bits=10**9)
    assert by_errors[0].errors < by_errors[1].errors  # LMMSE is the better of the two


def test_progress_is_told_after_each_draw():
    told = []
    link = Link(RayleighChannels(*SIZE, seed=1), QPSK, 5.0, seed=2)
    detectors = [gr_kaq.load_detector("lmmse", constellation="qpsk")]
    count_bit_errors(
        detectors,
        link,
        min_errors=10**9,
        max_bits=3000,
        estimates_per_draw=50,
        progress=lambda c: told.append(c[0].bits),
    )
    assert told == [800, 1600, 2400, 3200]
