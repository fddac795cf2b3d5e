# SPDX-License-Identifier: GPL-3.0-or-later
"""The detectors that choose: which one for which size, and that it is this one that detects."""

from __future__ import annotations

import numpy as np
import pytest

import gr_kaq
from gr_kaq.detection.auto_detector import AUTO_DETECTORS
from gr_kaq.detection.choice import ELSEWHERE, MAX_NUM_RX, MAX_NUM_TX, PURPOSES, RULES, choose
from gr_kaq.detection.detectors import load_model

EVERYWHERE = [(name, constellation) for name in AUTO_DETECTORS for constellation in gr_kaq.CONSTELLATIONS]


@pytest.mark.parametrize(
    ("name", "constellation", "size", "detector"),
    [
        ("auto", "qpsk", (1, 1), "list8-qpsk"),
        ("auto", "qpsk", (16, 16), "list8-qpsk"),
        ("auto", "16qam", (2, 2), "list16-16qam"),
        ("auto", "16qam", (3, 2), "list16-16qam"),
        ("auto", "16qam", (4, 4), "list16-16qam"),
        ("auto", "16qam", (8, 8), "list16-16qam"),
        ("auto", "16qam", (64, 16), "list8-16qam"),
        ("auto", "64qam", (4, 4), "list16-64qam"),
        ("auto", "64qam", (16, 4), "list8-64qam"),
        ("auto", "256qam", (4, 4), "list16-256qam"),
        ("auto", "16qam", (17, 17), "lmmse"),
        ("auto", "16qam", (65, 4), "lmmse"),
        ("auto", "16qam", (2, 3), "lmmse"),
        ("auto-fast", "qpsk", (4, 4), "list8-qpsk"),
        ("auto-fast", "16qam", (8, 8), "list8-16qam"),
        ("auto-fast", "16qam", (9, 9), "admm5-16qam"),
        ("auto-fast", "64qam", (64, 16), "admm5-64qam"),
        ("auto-fast", "256qam", (16, 16), "list16-256qam"),
        ("auto-fast", "qpsk", (100, 4), "lmmse"),
    ],
)
def test_choices(name, constellation, size, detector):
    choice = choose(name, constellation, *size)
    assert choice.detector == detector and choice.reason
    assert gr_kaq.load_detector(name, constellation=constellation).at_size(*size).name == detector


@pytest.mark.parametrize(("name", "constellation"), EVERYWHERE)
def test_a_choice_takes_every_size(name, constellation):
    """It is for the constellation and accepts the size; lmmse is only where trained detectors end."""
    models = {}
    for num_rx in range(1, MAX_NUM_RX + 3):
        for num_tx in range(1, MAX_NUM_TX + 3):
            choice = choose(name, constellation, num_rx, num_tx)
            outside = num_tx > min(num_rx, MAX_NUM_TX) or num_rx > MAX_NUM_RX
            assert (choice == ELSEWHERE) == outside
            if not outside:
                model = models.setdefault(choice.detector, load_model(choice.detector))
                assert model.constellation.name == constellation and model.quantized
                model.check_size(num_rx, num_tx)
    rows = {rule.detector for rule in RULES[name] if rule.constellation == constellation}
    assert models.keys() == rows  # no row that another one hides


def test_names():
    assert gr_kaq.list_detectors()[:2] == list(AUTO_DETECTORS) == ["auto", "auto-fast"] == list(PURPOSES)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", AUTO_DETECTORS)
@pytest.mark.parametrize("size", [(2, 2), (4, 4), (12, 10), (2, 3)])
def test_the_same_bits_as_the_detector_chosen(name, size, backend):
    rng = np.random.default_rng(3)
    h, y = (rng.standard_normal((3, *shape, 2)).view(np.complex128)[..., 0] for shape in (size, (5, size[0])))
    detector = gr_kaq.load_detector(name, backend=backend, constellation="16qam")
    chosen = gr_kaq.load_detector(choose(name, "16qam", *size).detector, backend=backend, constellation="16qam")
    assert (detector.name, detector.constellation) == (name, chosen.constellation)
    expected = chosen.detect(y, h, 15.0)
    out = detector.detect(y, h, 15.0)
    plans = [d.plan(3, *size, num_threads=2).prepare(h, snr_db=9.0) for d in (detector, chosen)]
    for got, wanted in ((out, expected), [plan.detect(y.astype(np.complex64)) for plan in plans]):
        np.testing.assert_array_equal(got.symbols, wanted.symbols)
        np.testing.assert_array_equal(got.llrs, wanted.llrs)


def test_one_detector_serves_many_sizes():
    detector = gr_kaq.load_detector("auto", constellation="16qam")
    assert detector.at_size(8, 8) is detector.at_size(16, 16)
    assert detector.at_size(4, 4) is not detector.at_size(16, 4)
    other = gr_kaq.load_detector("list8-16qam")
    assert other.at_size(4, 4) is other
    with pytest.raises(ValueError, match="num_rx=2, num_tx=3"):
        other.at_size(2, 3)


def test_errors():
    with pytest.raises(ValueError, match="auto needs a constellation"):
        gr_kaq.load_detector("auto")
    with pytest.raises(ValueError, match="unknown constellation '8psk'"):
        gr_kaq.load_detector("auto-fast", constellation="8psk")
    with pytest.raises(ValueError, match="no detector 'auto-slow'; did you mean auto-fast"):
        gr_kaq.load_detector("auto-slow", constellation="qpsk")
    with pytest.raises(ValueError, match="auto has no model file"):
        load_model("auto")
    detector = gr_kaq.load_detector("auto", constellation="16qam")
    for use in (detector.at_size, detector.check_size, lambda *size: detector.plan(1, *size)):
        with pytest.raises(ValueError, match="detector auto needs num_rx >= 1 and num_tx >= 1; got num_rx=0"):
            use(0, 1)
