# SPDX-License-Identifier: GPL-3.0-or-later
"""Thresholds of error rates whose curve is known, and how far they are off as often as they say."""

import math

import numpy as np
import pytest

from gr_kaq.probes.thresholds import find_threshold, fit_logistic

TARGET, CLEAN = 0.1, 0.01
FRAMES = 2000


def odds(target=TARGET, clean=CLEAN):
    share = (target - clean) / (1 - clean)
    return math.log(share / (1 - share))


def find(place, slope=0.45, seed=0, start_db=-36.0, num_frames=FRAMES, **arguments):
    """A receiver whose frames each have a luck of their own."""
    luck = np.random.default_rng(seed).random(num_frames)
    asked: dict[int, set[float]] = {}

    def wrong(level, frame):
        asked.setdefault(frame, set()).add(level)
        return luck[frame] < CLEAN + (1 - CLEAN) / (1 + math.exp(-(slope * (level - place) + odds())))

    found = find_threshold(
        wrong,
        **(
            {"target": TARGET, "clean": CLEAN, "range_db": (-60.0, 40.0), "max_error_db": 0.3}
            | {"start_db": start_db, "num_frames": num_frames}
            | arguments
        ),
    )
    assert max(asked) == max(found.frames, 20) - 1
    assert all(
        len(levels) == 1 for frame, levels in asked.items() if frame >= 20
    )  # each frame once, but for the search
    return found


@pytest.mark.parametrize("place", [-25.0, -10.0, 7.0])
@pytest.mark.parametrize("slope", [0.3, 0.5, 1.5])
def test_known_thresholds(place, slope):
    found = find(place, slope, seed=3)
    assert abs(found.level_db - place) < 4 * found.error_db and found.error_db < 0.45
    assert found.slope == pytest.approx(slope, rel=0.6)


def test_errors_are_as_stated():
    """Over seeds, the deviation is what the standard error says."""
    found = [find(3.3, seed=seed) for seed in range(80)]
    off = np.array([(each.level_db - 3.3) / each.error_db for each in found])
    assert all(each.error_db <= 0.3 for each in found)
    assert abs(off.mean()) < 0.5 and 0.7 < off.std() < 1.4


def test_few_frames_say_so():
    assert find(3.3, num_frames=200).error_db > 0.4


def test_not_reached():
    found = find(90.0)
    assert math.isinf(found.level_db) and math.isnan(found.error_db)


def test_the_lowest_level_counts():
    """A receiver that finds out that it is jammed is better off with a louder jammer, for a while."""

    def wrong(level, frame):
        return -22 < level < -12 or level > 5 if frame % 4 else False

    settings = {"target": TARGET, "clean": 0.001, "start_db": -36.0, "range_db": (-60.0, 40.0), "num_frames": 400}
    found = find_threshold(wrong, max_error_db=0.3, **settings)
    assert found.level_db == pytest.approx(-22, abs=2)


def test_always_wrong_at_the_lowest_level():
    assert find(-90.0).level_db < -50


def test_the_fit_of_much_data():
    levels = np.arange(-4.0, 8.0)
    rates = CLEAN + (1 - CLEAN) / (1 + np.exp(-(0.6 * (levels - 1.5) + odds())))
    place, error, slope = fit_logistic(levels, np.full(12, 1e5), 1e5 * rates, target=TARGET, clean=CLEAN)
    assert place == pytest.approx(1.5, abs=0.01) and slope == pytest.approx(0.6, abs=0.01) and error < 0.03


def test_frames_that_are_wrong_anyway_are_no_threshold():
    """A link whose errors are near the target: 3.3 % without noise, 4.5 % beside little, 10 % just below 0 dB."""

    def rate(level):
        return 0.033 + 0.012 / (1 + math.exp(-0.8 * (level + 30))) + 0.955 / (1 + math.exp(-0.6 * (level - 4.6)))

    for seed in range(40):
        luck = np.random.default_rng(seed).random(600)
        found = find_threshold(
            lambda level, frame, luck=luck: luck[frame] < rate(level),
            target=TARGET,
            clean=0.033,
            start_db=-36.0,
            range_db=(-60.0, 40.0),
            num_frames=600,
            max_error_db=0.3,
        )
        assert abs(found.level_db) < 3
