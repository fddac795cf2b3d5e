# SPDX-License-Identifier: GPL-3.0-or-later
"""Tapped delay lines have the power, delay profile and Doppler spectrum of the standard that they claim to follow."""

import numpy as np
import pytest
from scipy.special import j0

from gr_kaq.channels.fading import PROFILES, TappedDelayLine
from gr_kaq.channels.profiles import delay_line

TDL = [name for name in PROFILES if name != "flat"]


def ensemble(profile, **arguments):
    """Many pairs of antennas at once: they are independent."""
    return TappedDelayLine(4000, 1, profile=profile, **arguments)


@pytest.mark.parametrize("profile", PROFILES)
def test_delay_spread_and_power(profile):
    """The tables are normalised to delay spread 1; TDL-D is published with 0.994."""
    line = TappedDelayLine(1, 1, profile=profile, delay_spread=1e-7)
    assert line.powers.sum() == pytest.approx(1)
    mean = line.powers @ line.delays
    spread = np.sqrt(line.powers @ (line.delays - mean) ** 2)
    expected = {"flat": 0, "tdl-d": 0.9937e-7}.get(profile, 1e-7)
    assert spread == pytest.approx(expected, rel=3e-4)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_tap_has_its_power(profile):
    line = ensemble(profile, doppler=100.0, seed=1)
    gains = line.gains([0.0, 0.3])
    assert gains.shape == (2, len(line.delays), 4000, 1) and gains.dtype == np.complex64
    np.testing.assert_allclose(np.mean(np.abs(gains) ** 2, axis=(0, 2, 3)), line.powers, rtol=0.1)
    response = line.frequency_response([0.0], np.linspace(-1e7, 1e7, 50))
    assert np.mean(np.abs(response) ** 2) == pytest.approx(1, rel=0.06)


@pytest.mark.parametrize("profile, k_factor_db", [("tdl-d", 13.3), ("tdl-e", 22.0)])
def test_line_of_sight(profile, k_factor_db):
    """The K factor of the first tap: its power has mean 1 + 1/K and variance (2 K + 1) / K^2 times the direct one."""
    power = np.abs(ensemble(profile, seed=2).gains([0.0])[0, 0]) ** 2
    k_factor = 10 ** (k_factor_db / 10)
    assert np.var(power) / np.mean(power) ** 2 == pytest.approx((2 * k_factor + 1) / (1 + k_factor) ** 2, rel=0.1)
    turning = ensemble(profile, doppler=50.0, seed=2).gains([0.0, 0.007])[:, 0]
    rotation = np.mean(turning[1] * turning[0].conj())
    assert np.angle(rotation) == pytest.approx(2 * np.pi * 0.7 * 50 * 0.007, abs=0.02)


def test_jakes_spectrum():
    """The autocorrelation over time is J0, at the start and after an hour."""
    doppler, lags = 200.0, np.linspace(0, 0.006, 13)
    for start in (0.0, 3600.0):
        gains = ensemble("flat", doppler=doppler, seed=3).gains(start + lags)[:, 0, :, 0]
        correlation = np.mean(gains * gains[0].conj(), axis=1)
        np.testing.assert_allclose(correlation, j0(2 * np.pi * doppler * lags), atol=0.05)


def test_rayleigh_fading():
    """Deep fades are as rare as those of CN(0, 1), and no pair of antennas knows of another."""
    gains = ensemble("flat", seed=4).gains([0.0])[0, 0, :, 0]
    for level in (0.05, 0.3, 1.0, 2.0):
        assert np.mean(np.abs(gains) ** 2 < level) == pytest.approx(1 - np.exp(-level), abs=0.025)
    assert abs(np.mean(gains**2)) < 0.05 and abs(np.mean(gains)) < 0.05
    pairs = TappedDelayLine(2, 2, doppler=10.0, seed=5).gains(np.arange(3000))[:, 1].reshape(3000, 4)
    covariance = np.cov(pairs.T)
    np.testing.assert_allclose(covariance / covariance[0, 0].real, np.eye(4), atol=0.15)


@pytest.mark.parametrize("profile", TDL)
def test_correlation_over_frequency(profile):
    """It is the Fourier transform of the power delay profile."""
    frequencies = np.linspace(0, 5e6, 11)
    line = ensemble(profile, delay_spread=100e-9, seed=6)
    response = line.frequency_response([0.0], frequencies)[0, :, :, 0]
    correlation = np.mean(response * response[0].conj(), axis=1)
    np.testing.assert_allclose(
        correlation, np.exp(-2j * np.pi * np.outer(frequencies, line.delays)) @ line.powers, atol=0.06
    )


def test_response_is_that_of_the_gains():
    line = TappedDelayLine(3, 2, profile="tdl-c", doppler=30.0, seed=7)
    times, frequencies = np.array([0.0, 0.01, 5.0]), np.array([-1e6, 0.0, 2e5])
    steering = np.exp(-2j * np.pi * np.outer(frequencies, line.delays))
    expected = np.einsum("fp,tprs->tfrs", steering, line.gains(times))
    np.testing.assert_allclose(line.frequency_response(times, frequencies), expected, atol=1e-5)


@pytest.mark.parametrize("doppler", [0.0, 300.0])
@pytest.mark.parametrize("count", [1, 16, 40])
@pytest.mark.parametrize("profile", ["tdl-d", "cdl-d"])
def test_gains_in_steps(doppler, count, profile):
    line = delay_line(3, 2, profile=profile, doppler=doppler, seed=8)
    expected = line.gains(2.0 + 1e-4 * np.arange(count))
    np.testing.assert_allclose(line.gains_in_steps(2.0, 1e-4, count), expected, atol=1e-5)


def test_the_seed_decides():
    """And times are absolute: what was asked before does not matter."""
    line, same = (TappedDelayLine(2, 2, doppler=5.0, seed=8) for _ in range(2))
    other = TappedDelayLine(2, 2, doppler=5.0, seed=9)
    line.gains([0.0, 1.0])
    np.testing.assert_allclose(line.gains([0.5]), same.gains([0.2, 0.5])[1:], atol=1e-6)
    assert np.abs(other.gains([0.5]) - same.gains([0.5])).min() > 0
    static = TappedDelayLine(2, 2, seed=8).gains([0.0, 1.0, 100.0])
    np.testing.assert_array_equal(static[0], static[2])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_rx": 0}, "num_rx"),
        ({"num_tx": 0}, "num_tx"),
        ({"profile": "tdl-f"}, "tdl-f.*tdl-a"),
        ({"delay_spread": -1e-9}, "delay_spread"),
        ({"delay_spread": np.inf}, "delay_spread"),
        ({"doppler": np.nan}, "doppler"),
        ({"doppler": -1.0}, "doppler"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TappedDelayLine(**({"num_rx": 2, "num_tx": 2} | arguments))
