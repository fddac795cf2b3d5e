# SPDX-License-Identifier: GPL-3.0-or-later
"""ChannelFollower: as good as what it stands for, though it makes its weights once, and aware of what has changed."""

import numpy as np
import pytest

from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.forecasting.carriers import forecast_carriers
from gr_kaq.forecasting.channel_follower import ChannelFollower
from gr_kaq.forecasting.predictors import PREDICTORS

STEP, NOISE, HISTORY = 8.0, 0.01, 32
HORIZONS = np.array([1.0, 7.0])
CARRIERS = np.arange(-32, 32) * 31.25e3
SYMBOL = 40e-6


def channels(dopplers, count, seed=0, size=2):
    """Estimates (count, 64, size, size) of users of these speeds, and the truth at each horizon after each of them."""
    line = UserDelayLine(size, [User(doppler) for doppler in dopplers], seed=seed)
    times = STEP * np.arange(count)
    truth = [line.frequency_response(SYMBOL * (times + horizon), CARRIERS) for horizon in (0.0, *HORIZONS)]
    parts = np.random.default_rng(seed).standard_normal((2, *truth[0].shape)) * np.sqrt(NOISE / 2)
    return (truth[0] + parts[0] + 1j * parts[1]).astype(np.complex64), np.stack(truth[1:], axis=1)


def follow(follower, estimates, times):
    return [follower.take(float(time), h, NOISE) for time, h in zip(times, estimates, strict=True)]


def squared_error(forecasts, truth):
    away = np.stack([forecast.h for forecast in forecasts]) - truth
    return np.mean(np.abs(away) ** 2, axis=(0, 2, 3, 4))


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_it_is_as_good_as_clusters_that_are_found_at_each_estimate(lost):
    estimates, truth = channels([20.0, 100.0], 160, seed=1)
    kept = np.flatnonzero(np.random.default_rng(2).random(160) >= lost)
    found = follow(ChannelFollower(HORIZONS, HISTORY), estimates[kept], STEP * kept)
    places = range(HISTORY, len(kept), 8)
    one_by_one = [
        forecast_carriers(
            STEP * kept[n - HISTORY + 1 : n + 1],
            estimates[kept[n - HISTORY + 1 : n + 1]],
            NOISE,
            HORIZONS,
            PREDICTORS["cw-wiener"],
        )
        for n in places
    ]
    error = squared_error([found[n] for n in places], truth[kept[places]])
    assert (error < 1.05 * squared_error(one_by_one, truth[kept[places]])).all()
    np.testing.assert_allclose(10 * np.log10(np.mean([found[n].error_var for n in places], axis=0) / error), 0, atol=3)


def test_users_that_begin_to_move_are_noticed():
    standing, _ = channels([1.0, 1.0], 300, seed=3)
    moving, truth = channels([200.0, 200.0], 700, seed=4)
    follower = ChannelFollower(HORIZONS, HISTORY)
    times = STEP * np.arange(1000)
    follow(follower, standing, times[:300])
    found = follow(follower, moving, times[300:])
    settled = follow(ChannelFollower(HORIZONS, HISTORY), moving, times[300:])
    late = slice(-200, None)
    assert (squared_error(found[late], truth[late]) < 1.1 * squared_error(settled[late], truth[late])).all()


def test_a_fade_is_no_jump_of_the_gain():
    """The power of a flat channel on one antenna changes by more than that, as everybody knows."""
    times = STEP * np.arange(600)
    line = UserDelayLine(1, [User(300.0)], delay_spread=1e-9, seed=5)
    h = line.frequency_response(SYMBOL * times, CARRIERS).astype(np.complex64)
    powers = np.mean(np.abs(h) ** 2, axis=(1, 2, 3))
    assert (powers[101:] > 4 * powers[100:-1]).any()
    follower = ChannelFollower(HORIZONS, HISTORY)
    follow(follower, h[:100], times[:100])
    settled = follower.restarts
    follow(follower, h[100:], times[100:])
    assert follower.restarts == settled


@pytest.mark.parametrize("antenna", [0, 3])
def test_the_gain_of_one_antenna_of_four_jumps(antenna):
    estimates, _ = channels([20.0, 60.0, 100.0, 140.0], 80, seed=6, size=4)
    estimates[60:, :, antenna] *= 2
    follower = ChannelFollower(HORIZONS, HISTORY)
    found = follow(follower, estimates, STEP * np.arange(80))
    assert follower.restarts == 1 and f"the gain of antenna {antenna} jumped by 6" in follower.fault
    assert found[59] and not any(found[60:63]) and found[63]


def test_a_time_that_is_not_later_begins_anew():
    estimates, _ = channels([20.0, 60.0], 10)
    follower = ChannelFollower(HORIZONS)
    follow(follower, estimates[:5], STEP * np.arange(5))
    assert follower.take(STEP, estimates[5], NOISE) is None
    assert follower.restarts == 1 and follower.fault == "its time is 8; after 32 expected"


@pytest.mark.parametrize("scale", [1e-20, 1e11])
def test_channels_of_any_strength_are_forecast(scale):
    estimates, truth = channels([20.0, 60.0], 60)
    follower = ChannelFollower(HORIZONS)
    for time, h in enumerate((scale * estimates).astype(np.complex64)):
        found = follower.take(STEP * time, h, NOISE * scale**2)
    away = found.h / scale - truth[-1]
    assert follower.restarts == 0 and np.mean(np.abs(away) ** 2) < NOISE / 4


def test_a_history_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="history is 3; at least 4"):
        ChannelFollower(HORIZONS, 3)
