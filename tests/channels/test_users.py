# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay lines whose streams fade each in its own way."""

import numpy as np
import pytest
from scipy.special import j0

from gr_kaq.channels.users import User, UserDelayLine

SEEDS = 150


def correlations(users, lag):
    """E g(t + lag) g*(t) of each tap and stream, over seeds, and what the properties say it is."""
    found = expected = 0
    for seed in range(SEEDS):
        line = UserDelayLine(2, users, seed=seed)
        gains = line.gains([0.0, lag])
        found = found + np.mean(gains[1] * gains[0].conj(), axis=1) / line.powers[:, None] / SEEDS
        scattered = j0(2 * np.pi * line.dopplers * lag)
        turned = np.exp(2j * np.pi * line.shifts * lag)
        expected = expected + ((1 - line.lines) * scattered + line.lines * turned) / SEEDS
    return found, expected


def test_each_stream_has_its_own_correlation():
    users = [User(5.0), User(200.0), User(100.0, rice_db=10.0), User(100.0, static=0.5)]
    found, expected = correlations(users, 1e-3)
    np.testing.assert_allclose(found, expected, atol=0.35)
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.06)


def test_power_is_one_whatever_the_users():
    power = [
        np.mean(np.abs(UserDelayLine(4, [User(50.0, 6.0, 0.3)] * 2, seed=s).frequency_response([0.0], [0.0])) ** 2)
        for s in range(400)
    ]
    assert np.mean(power) == pytest.approx(1, abs=0.06)


def test_the_strongest_tap_has_the_line_of_sight():
    line = UserDelayLine(2, [User(50.0), User(50.0, rice_db=10.0)])
    strongest = np.argmax(line.powers)
    assert line.lines[strongest, 1] == pytest.approx(10 / 11) and np.count_nonzero(line.lines) == 1
    assert np.abs(line.shifts).max() <= 50


def test_what_stands_still_does_not_change():
    line = UserDelayLine(2, [User(300.0, static=0.4)], seed=3)
    gains = line.gains(np.arange(5) * 1e-3)
    still = line.dopplers[:, 0] == 0
    assert still.sum() == round(0.4 * len(line.powers))
    assert np.ptp(gains[:, still], axis=0).max() == 0 and np.abs(np.diff(gains[:, ~still], axis=0)).min() > 0


def test_steps_and_times_give_the_same_channel():
    line = UserDelayLine(2, [User(100.0, 3.0), User(10.0, static=0.2)], seed=1)
    np.testing.assert_allclose(line.gains_in_steps(0.5, 1e-4, 40), line.gains(0.5 + 1e-4 * np.arange(40)), atol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: User(-1.0), "doppler is -1"),
        (lambda: User(np.nan), "doppler is nan"),
        (lambda: User(1.0, rice_db=np.nan), "rice_db is nan"),
        (lambda: User(1.0, static=1.5), "static is 1.5"),
        (lambda: UserDelayLine(2, [User(1.0)], profile="tdl-d"), "line of sight"),
        (lambda: UserDelayLine(2, [User(1.0)], profile="tdl-x"), "unknown profile"),
        (lambda: UserDelayLine(2, []), "num_tx 0"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
