# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: what they choose, the exact steps of the outer loop, and what they make of reports that are old."""

import numpy as np
import pytest

from gr_kaq.adaptation.policies import POLICIES, Arf, BothLoops, Fixed, InnerLoop, OuterLoop, make_policy
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.modulation_coding import MCS_TABLE

FRAME = FrameFormat(2)
LAST = len(MCS_TABLE) - 1


def block_bytes(policy, choice):
    return policy.block_bytes[choice[1] - 1, choice[0]]


@pytest.mark.parametrize("name", POLICIES)
def test_without_reports_the_most_robust_is_sent(name):
    assert make_policy(name, FRAME).choose(0) == (0, 1)
    assert make_policy(name, FRAME, ranks=[2]).choose(0) == (0, 2)


def test_the_best_has_the_greatest_goodput_below_the_target():
    policy = InnerLoop(FRAME)
    for snrs in np.random.default_rng(1).uniform(-10, 35, (200, 2)):
        mcs, rank = policy.best(snrs)
        rates = policy.curves.block_error_rate(snrs)
        allowed = rates <= policy.target
        if not allowed.any():
            assert (mcs, rank) == (0, 1)
        else:
            assert allowed[rank - 1, mcs]
            assert policy.block_bytes[rank - 1, mcs] * (1 - rates[rank - 1, mcs]) == pytest.approx(
                np.max(np.where(allowed, policy.block_bytes * (1 - rates), 0))
            )
    assert policy.best(np.array([40.0, 40.0])) == (LAST, 2)
    assert InnerLoop(FRAME, ranks=[1]).best(np.array([40.0, 40.0])) == (LAST, 1)


def test_the_outer_loop_steps_exactly():
    policy = OuterLoop(FRAME)
    policy.observe_ack(3, 1, False)
    assert policy.offset_db() == -0.5
    for _ in range(9):
        policy.observe_ack(3, 1, True)
    assert policy.offset_db() == pytest.approx(0, abs=1e-12)


def test_the_outer_loop_is_clipped_and_freezes_at_the_ends():
    policy = OuterLoop(FRAME)
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
    rng, policy = np.random.default_rng(2), loop(FRAME)
    failures = []
    for frame in range(6000):
        snrs = np.array([13.0, 10.0]) + rng.normal(0, 1, 2)
        choice = policy.choose(frame)
        ok = rng.random() > policy.curves.block_error_rate(snrs[choice[1] - 1] - 2.0)[choice[0]]
        policy.observe_ack(*choice, ok)
        policy.observe_report(frame, snrs)
        failures.append(not ok)
    assert np.mean(failures[500:]) == pytest.approx(0.1, abs=0.02)


def test_reports_that_no_longer_hold_are_not_believed():
    """With reports that have nothing to do with each other, both loops do what the outer one does."""
    rng = np.random.default_rng(3)
    both, outer, inner = BothLoops(FRAME), OuterLoop(FRAME), InnerLoop(FRAME)
    snrs = 15 + rng.normal(0, 5, (3000, 2))
    for frame in range(3000):
        chosen = [policy.choose(frame) for policy in (both, outer, inner)]
        for policy in (both, outer, inner):
            if frame >= 4:
                policy.observe_report(frame - 4, snrs[frame - 4])
    assert np.all(both.correlation() < 0.15)
    assert both.mean() == pytest.approx(15, abs=0.6)
    assert abs(block_bytes(both, chosen[0]) - block_bytes(outer, chosen[1])) < 60


def test_reports_that_hold_are_believed():
    both, snrs = BothLoops(FRAME), 15 + 6 * np.sin(np.arange(3000) / 200)[:, None] * np.ones(2)
    for frame in range(2, 3000):
        both.observe_report(frame - 2, snrs[frame - 2])
        choice = both.choose(frame)
        if frame > 200:
            assert choice == both.best(both.predict(frame))
            assert np.abs(both.predict(frame) - snrs[frame]).max() < 0.5
    assert np.all(both.correlation() > 0.95)


def test_rate_fallback_climbs_after_ten_and_falls_after_two():
    policy = Arf(FRAME)
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
        make_policy("best", FRAME)
    with pytest.raises(ValueError, match="target is 0; between 0 and 1"):
        InnerLoop(FRAME, target=0)
    with pytest.raises(ValueError, match=r"ranks is \[3\]; some of 1 to 2"):
        InnerLoop(FRAME, ranks=[3])
    with pytest.raises(ValueError, match="mcs is 99"):
        Fixed(FRAME, 99, 1)
    for snrs in ([1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="2 finite numbers expected, one for each rank"):
            InnerLoop(FRAME).observe_report(0, snrs)
    assert Fixed(FRAME, 5, 2).choose(7) == (5, 2)
