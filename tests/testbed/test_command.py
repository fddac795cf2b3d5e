# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated testbed: what it sends, and how it counts. The processes are run in examples/qa_zmq_testbed.py."""

import itertools

import numpy as np
import pytest

from gr_kaq.detection.detectors import load_detector
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.known_symbols import KnownSymbols
from gr_kaq.testbed import Received, Tag
from gr_kaq.testbed.command import ErrorCounter, main, simulated_frames

NUM_TX, NUM_SUBCARRIERS, VECTORS = 2, 3, 4
QAM = CONSTELLATIONS["16qam"]


def counter():
    return ErrorCounter(NUM_TX, NUM_SUBCARRIERS, constellation="16qam", vectors=VECTORS, seed=5)


def received(first, stop, *tags):
    """Items first to stop of what was sent, without errors."""
    symbols = QAM.points[KnownSymbols(NUM_TX, NUM_SUBCARRIERS, QAM, seed=5).draw(stop)[first:]]
    return Received(symbols, 1000, [Tag(1000 + offset, "mimo_channel", {"seq": seq}) for offset, seq in tags])


def test_frames_are_detected_without_errors_at_high_snr():
    frames = simulated_frames(
        4, NUM_TX, NUM_SUBCARRIERS, constellation="16qam", snr_db=40, vectors=VECTORS, seed=5, first_estimate=3
    )
    detector, errors = load_detector("lmmse", constellation="16qam"), counter()
    for seq, (y, h, noise_var) in zip(range(3, 8), frames, strict=False):
        assert noise_var == pytest.approx(NUM_TX * 1e-4)
        symbols = detector.detect(y.transpose(2, 0, 1), h, noise_var=noise_var).symbols
        errors.count(Received(symbols.transpose(1, 2, 0), 0, [Tag(0, "mimo_channel", {"seq": seq})]))
    assert (errors.ber.errors, errors.ber.bits) == (0, 5 * VECTORS * NUM_TX * NUM_SUBCARRIERS * 4)


def test_the_noise_is_as_stated():
    frames = simulated_frames(4, 2, constellation="qpsk", snr_db=3.0, vectors=2000, seed=1)
    symbols = KnownSymbols(2, 1, CONSTELLATIONS["qpsk"], seed=1)
    for y, h, noise_var in itertools.islice(frames, 3):
        x = CONSTELLATIONS["qpsk"].points[symbols.draw(2000)]
        noise = y[:, :, 0] - x[:, :, 0] @ h[0].T
        assert np.mean(np.abs(noise) ** 2) == pytest.approx(noise_var, rel=0.05)


@pytest.mark.parametrize("bounds", [(0, 12), (0, 1, 12), (0, 3, 5, 5, 12)])
def test_frames_may_be_cut_anywhere(bounds):
    errors = counter()
    for first, stop in itertools.pairwise(bounds):
        starts = [(seq * VECTORS - first, seq) for seq in range(3) if first <= seq * VECTORS < stop]
        errors.count(received(first, stop, *starts))
    assert (errors.ber.errors, errors.items) == (0, 12)


def test_a_lost_estimate_and_a_sequence_that_starts_again():
    errors = counter()
    errors.count(received(0, 6, (0, 0), (4, 1)))
    errors.count(received(12, 16, (0, 3)))
    errors.count(received(0, 4, (0, 0)))
    assert (errors.ber.errors, errors.items) == (0, 14)


def test_errors_are_counted():
    errors = counter()
    wrong = received(0, 4, (0, 0)).items.copy()
    wrong[2, 1, 0] *= -1  # turns both sign bits
    errors.count(Received(wrong, None, []))
    assert (errors.ber.errors, errors.ber.bits) == (2, 4 * 6 * 4)


@pytest.mark.parametrize("value", [None, 5, {}, {"seq": "x"}, {"seq": -1}, {"seq": 2**64 - 1}])
def test_any_tag_is_survived(value):
    errors = counter()
    errors.count(Received(received(0, 4).items, 0, [Tag(2, "mimo_channel", value)]))
    assert errors.items == 4


@pytest.mark.parametrize(
    "arguments",
    [[], ["produce", "--vectors", "0"], ["produce", "--constellation", "x"], ["consume", "--pattern", "push"]],
)
def test_bad_command_lines(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["produce", "--address", "nowhere"], "produce: cannot bind to 'nowhere'"),
        (["produce", "--snr", "200", "--address", "tcp://127.0.0.1:*"], "produce: an SNR of 200 dB"),
        (["consume", "--timeout", "0"], "consume: timeout=0"),
    ],
)
def test_bad_options(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
