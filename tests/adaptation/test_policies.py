# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: what they choose, the exact steps of the outer loop, and what they make of reports that are old."""

import numpy as np
import pytest

from gr_kaq.adaptation.choices import Choices
from gr_kaq.adaptation.policies import POLICIES, Arf, BothLoops, Fixed, Goodput, InnerLoop, OuterLoop, make_policy
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.modulation_coding import MCS_TABLE

FRAME = FrameFormat(2)
CHOICES = Choices(FRAME)
LAST = len(MCS_TABLE) - 1


def block_bytes(choice):
    return CHOICES.block_bytes[choice[1] - 1, choice[0]]


@pytest.mark.parametrize("name", POLICIES)
def test_without_reports_the_most_robust_is_sent(name):
    assert make_policy(name, CHOICES).choose(0) == (0, 1)
    assert make_policy(name, Choices(FRAME, ranks=[2])).choose(0) == (0, 2)


def test_the_best_has_the_greatest_goodput_below_the_target():
    for snrs in np.random.default_rng(1).uniform(-10, 35, (200, 2)):
        mcs, rank = CHOICES.best(snrs)
        rates = CHOICES.curves.block_error_rate(snrs)
        allowed = rates <= CHOICES.target
        if not allowed.any():
            assert (mcs, rank) == (0, 1)
        else:
            assert allowed[rank - 1, mcs]
            assert block_bytes((mcs, rank)) * (1 - rates[rank - 1, mcs]) == pytest.approx(
                np.max(np.where(allowed, CHOICES.block_bytes * (1 - rates), 0))
            )
    assert CHOICES.best(np.array([40.0, 40.0])) == (LAST, 2)
    assert Choices(FRAME, ranks=[1]).best(np.array([40.0, 40.0])) == (LAST, 1)


def test_most_bytes_are_those_of_blocks_that_are_drawn():
    """Blocks that fail and are repeated at random, as curves promise, bring as many bytes per frame."""
    rng, snrs = np.random.default_rng(1), np.array([8.0, 7.0])
    expected = CHOICES.bytes_per_frame(snrs)
    mcs, rank = CHOICES.most_bytes(snrs)
    assert expected[rank - 1, mcs] == expected.max()
    for mcs, rank in ((4, 1), (4, 2), (5, 2)):
        delivered = frames = 0
        for _ in range(4000):
            for copies in range(1, 5):
                frames += 1
                snr = snrs[rank - 1] + 10 * np.log10(copies)
                if rng.random() > CHOICES.curves.block_error_rate(snr)[mcs]:
                    delivered += block_bytes((mcs, rank))
                    break
        assert delivered / frames == pytest.approx(expected[rank - 1, mcs], rel=0.03)


def test_the_outer_loop_steps_exactly():
    policy = OuterLoop(CHOICES)
    policy.observe_ack(3, 1, False)
    assert policy.offset_db() == -0.5
    for _ in range(9):
        policy.observe_ack(3, 1, True)
    assert policy.offset_db() == pytest.approx(0, abs=1e-12)


def test_the_outer_loop_is_clipped_and_freezes_at_the_ends():
    policy = OuterLoop(CHOICES)
    for _ in range(1000):
        policy.observe_ack(0, 1, False)
    assert policy.offset_db() == 0, "there is nothing more robust"
    for _ in range(1000):
        policy.observe_ack(LAST, 2, True)
    assert policy.offset_db() == 0, "there is nothing faster"
    for _ in range(1000):
        policy.observe_ack(1, 1, False)
    assert policy.offset_db() == -20
    for _ in range(10000):
        policy.observe_ack(LAST, 1, True)
    assert policy.offset_db() == 20


@pytest.mark.parametrize("loop", [OuterLoop, BothLoops])
def test_the_share_of_failures_becomes_the_target_whatever_the_curves_are_off(loop):
    """Blocks fail by curves that are 2 dB from those the policy has."""
    rng, policy = np.random.default_rng(2), loop(CHOICES)
    failures = []
    for frame in range(6000):
        snrs = np.array([13.0, 10.0]) + rng.normal(0, 1, 2)
        choice = policy.choose(frame)
        ok = rng.random() > CHOICES.curves.block_error_rate(snrs[choice[1] - 1] - 2.0)[choice[0]]
        policy.observe_ack(*choice, ok)
        policy.observe_report(frame, snrs)
        failures.append(not ok)
    assert np.mean(failures[500:]) == pytest.approx(0.1, abs=0.02)


def test_reports_that_no_longer_hold_are_not_believed():
    """With reports that have nothing to do with each other, both loops do what the outer one does."""
    rng = np.random.default_rng(3)
    both, outer, inner = BothLoops(CHOICES), OuterLoop(CHOICES), InnerLoop(CHOICES)
    snrs = 15 + rng.normal(0, 5, (3000, 2))
    for frame in range(3000):
        chosen = [policy.choose(frame) for policy in (both, outer, inner)]
        for policy in (both, outer, inner):
            if frame >= 4:
                policy.observe_report(frame - 4, snrs[frame - 4])
    assert np.all(both.belief() < 0.15)
    assert both.mean() == pytest.approx(15, abs=0.6)
    assert abs(block_bytes(chosen[0]) - block_bytes(chosen[1])) < 60


def test_reports_that_hold_are_believed():
    both, snrs = BothLoops(CHOICES), 15 + 6 * np.sin(np.arange(3000) / 200)[:, None] * np.ones(2)
    for frame in range(2, 3000):
        both.observe_report(frame - 2, snrs[frame - 2])
        choice = both.choose(frame)
        if frame > 200:
            assert choice == CHOICES.best(both.predict(frame))
            assert np.abs(both.predict(frame) - snrs[frame]).max() < 0.5
    assert np.all(both.belief() > 0.95)


def test_a_report_of_the_frame_itself_is_believed_as_it_is():
    both = BothLoops(CHOICES)
    for frame, snrs in enumerate(15 + np.random.default_rng(1).normal(0, 5, (50, 2))):
        both.observe_report(frame, snrs)
        assert both.choose(frame) == CHOICES.best(snrs) and np.array_equal(both.predict(frame), snrs)


def test_the_most_goodput_finds_by_how_much_its_curves_are_off():
    rng, policy = np.random.default_rng(2), Goodput(CHOICES)
    for frame in range(4000):
        snrs = np.array([13.0, 10.0]) + rng.normal(0, 3, 2)
        policy.observe_report(frame, snrs)
        mcs, rank = policy.choose(frame)
        policy.observe_ack(mcs, rank, rng.random() > CHOICES.curves.block_error_rate(snrs[rank - 1] - 1.5)[mcs])
    assert policy.offset_db() == pytest.approx(-1.5, abs=0.4)


def test_the_most_goodput_stands_still_at_the_ends():
    policy = Goodput(CHOICES)
    for frame, (snr_db, ok) in enumerate([(-30.0, False)] * 500 + [(60.0, True)] * 500):
        policy.observe_report(frame, [snr_db, snr_db])
        policy.observe_ack(*policy.choose(frame), ok)
        assert abs(policy.offset_db()) < 0.1


def test_rate_fallback_climbs_after_ten_and_falls_after_two():
    policy = Arf(CHOICES)
    policy.observe_report(0, [10.0, 5.0])

    def feed(text):
        for mark in text:
            policy.observe_ack(*policy.choose(0), mark == "+")
        return policy.choose(0)[0]

    assert feed("+" * 9) == 0 and feed("+") == 1
    assert feed("-") == 0, "the first after a step up"
    assert feed("+" * 10) == 1 and feed("+-") == 1 and feed("-") == 0
    assert feed("-" * 20) == 0
    assert feed("+" * 1000) == LAST
    policy.observe_ack(0, 1, False)
    policy.observe_ack(0, 1, False)
    assert policy.choose(0)[0] == LAST, "those were sent before"


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown policy 'best'; one of arf, olla"):
        make_policy("best", CHOICES)
    with pytest.raises(ValueError, match="target is 0; between 0 and 1"):
        Choices(FRAME, target=0)
    with pytest.raises(ValueError, match=r"ranks is \[3\]; some of 1 to 2"):
        Choices(FRAME, ranks=[3])
    with pytest.raises(ValueError, match="mcs is 99"):
        Fixed(CHOICES, 99, 1)
    for snrs in ([1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="2 finite numbers expected, one for each rank"):
            InnerLoop(CHOICES).observe_report(0, snrs)
    assert Fixed(CHOICES, 5, 2).choose(7) == (5, 2)
