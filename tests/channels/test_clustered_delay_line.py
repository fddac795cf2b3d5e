# SPDX-License-Identifier: GPL-3.0-or-later
"""Clustered delay lines have the powers, delays, angles and Doppler of the standard that they claim to follow."""

import numpy as np
import pytest

from gr_kaq.channels.clustered_delay_line import CLUSTERS, LINE_OF_SIGHT, SPREADS, ClusteredDelayLine
from gr_kaq.channels.profiles import PROFILES, delay_line

RICE_DB = {"cdl-d": 13.3, "cdl-e": 22.0}  # K factors of the tables' first cluster
DRAWS = 400


def draws(profile, num_rx=1, num_tx=1, count=DRAWS, times=(0.0,), **arguments):
    """Gains (count, times, taps, num_rx, num_tx) of so many channels."""
    lines = (ClusteredDelayLine(num_rx, num_tx, profile=profile, seed=i, **arguments) for i in range(count))
    return np.stack([line.gains(times) for line in lines])


def rays(profile):
    """Powers and angles (4, rays) in radians of all rays, each cluster's spread as 20 rays."""
    offsets = np.array([0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551])
    offsets = np.concatenate([offsets, -offsets])
    powers, angles = [], []
    for number, (_, decibels, *degrees) in enumerate(CLUSTERS[profile]):
        direct = profile in LINE_OF_SIGHT and number == 0
        here = np.zeros(1) if direct else offsets
        powers.append(np.full(len(here), 10 ** (decibels / 10) / len(here)))
        angles.append(np.array(degrees)[:, None] + np.array(SPREADS[profile])[:, None] * here)
    powers, angles = np.concatenate(powers), np.deg2rad(np.concatenate(angles, axis=1))
    return powers / powers.sum(), angles


@pytest.mark.parametrize("profile", CLUSTERS)
def test_delay_spread_and_power(profile):
    """The tables are normalised to delay spread 1; CDL-D is published with 0.994."""
    line = ClusteredDelayLine(1, 1, profile=profile, delay_spread=1e-7)
    assert line.powers.sum() == pytest.approx(1)
    mean = line.powers @ line.delays
    spread = np.sqrt(line.powers @ (line.delays - mean) ** 2)
    assert spread == pytest.approx({"cdl-d": 0.9937e-7}.get(profile, 1e-7), rel=3e-4)


@pytest.mark.parametrize("profile", CLUSTERS)
def test_every_tap_has_its_power(profile):
    gains = draws(profile, 2, 2, doppler=100.0, times=(0.0, 0.3))
    line = ClusteredDelayLine(2, 2, profile=profile)
    assert gains.shape == (DRAWS, 2, len(line.delays), 2, 2) and gains.dtype == np.complex64
    np.testing.assert_allclose(np.mean(np.abs(gains) ** 2, axis=(0, 1, 3, 4)), line.powers, rtol=0.25)
    assert np.mean(np.sum(np.abs(gains) ** 2, axis=2)) == pytest.approx(1, rel=0.06)


@pytest.mark.parametrize("profile", LINE_OF_SIGHT)
def test_line_of_sight(profile):
    """The power of the first tap has mean 1 + 1/K and variance (2 K + 1) / K^2 times the direct one."""
    power = np.abs(draws(profile, count=1500)[:, 0, 0, 0, 0]) ** 2
    k_factor = 10 ** (RICE_DB[profile] / 10)
    assert np.var(power) / np.mean(power) ** 2 == pytest.approx((2 * k_factor + 1) / (1 + k_factor) ** 2, rel=0.2)


@pytest.mark.parametrize("profile", CLUSTERS)
@pytest.mark.parametrize("end", [0, 1])
def test_correlation_of_antennas(profile, end):
    """Of antennas n half wavelengths apart: the mean over the rays of exp(j pi n sin(azimuth) sin(zenith))."""
    size = (4, 1) if end == 0 else (1, 4)
    gains = draws(profile, *size, count=800)[:, 0].sum(axis=1).reshape(800, 4)
    found = np.mean(gains * gains[:, :1].conj(), axis=0)
    powers, angles = rays(profile)
    sines = np.sin(angles[end])[:, None] * np.sin(angles[2 + end])
    expected = [np.sum(powers * np.diagonal(np.exp(1j * np.pi * n * sines))) for n in range(4)]
    # the order of azimuth and zenith within a cluster is drawn, which changes little
    np.testing.assert_allclose(found, expected, atol=0.12)


@pytest.mark.parametrize("profile", CLUSTERS)
def test_doppler_spectrum(profile):
    """Shifts are the maximum times the cosine of the angle to where the terminal goes, which is anywhere."""
    lags = np.array([0.0, 0.5e-3, 1e-3, 2e-3])
    gains = draws(profile, doppler=200.0, count=1500, times=lags)[..., 0, 0].sum(axis=2)
    found = np.mean(gains * gains[:, :1].conj(), axis=0)
    powers, angles = rays(profile)
    headings = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    shifts = 200.0 * np.cos(angles[1][:, None] - headings) * np.sin(angles[3][:, None])
    expected = [np.sum(powers[:, None] * np.exp(2j * np.pi * shifts * lag)) / 64 for lag in lags]
    np.testing.assert_allclose(found, expected, atol=0.09)


def test_each_delay_has_a_narrow_doppler_spectrum():
    """Over a few turns of the fastest path a tap of CDL-C remains itself but for a turn; one of TDL-C does not."""

    def likeness(line):
        first, later = line.gains([0.0, 8e-3])
        turned = np.abs(np.sum(later * first.conj(), axis=(1, 2)))
        return np.mean(turned / np.sqrt(np.sum(np.abs(first) ** 2, (1, 2)) * np.sum(np.abs(later) ** 2, (1, 2))))

    clustered, tapped = (
        np.mean([likeness(delay_line(8, 1, profile=profile, doppler=200.0, seed=i)) for i in range(20)])
        for profile in ("cdl-d", "tdl-c")
    )
    assert clustered > tapped + 0.2


def test_the_seed_decides():
    line, same, other = (ClusteredDelayLine(2, 2, doppler=5.0, seed=seed) for seed in (8, 8, 9))
    np.testing.assert_allclose(line.gains([0.5]), same.gains([0.2, 0.5])[1:], atol=1e-6)
    assert np.abs(other.gains([0.5]) - same.gains([0.5])).min() > 0


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_by_their_names(profile):
    assert delay_line(2, 3, profile=profile).gains([0.0]).shape[2:] == (2, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"profile": "cdl-x"}, "unknown profile 'cdl-x'"),
        ({"num_rx": 0}, "num_rx is 0"),
        ({"doppler": -1.0}, "doppler is -1.0; at least 0 and finite expected"),
        ({"delay_spread": np.inf}, "delay_spread is inf; at least 0 and finite expected"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClusteredDelayLine(**({"num_rx": 2, "num_tx": 2} | arguments))


@pytest.mark.long
@pytest.mark.parametrize("letter", "ABCDE")
def test_sionna_agrees(letter):
    """Powers of the paths, and correlation of the antennas at both ends."""
    tr38901 = pytest.importorskip("sionna.phy.channel.tr38901")
    arrays = [
        tr38901.PanelArray(
            num_rows_per_panel=1,
            num_cols_per_panel=4,
            polarization="single",
            polarization_type="V",
            antenna_pattern="omni",
            carrier_frequency=3.5e9,
            device="cpu",
        )
        for _ in range(2)
    ]
    model = tr38901.CDL(letter, 100e-9, 3.5e9, *arrays, "uplink", device="cpu")
    count = 800
    theirs, delays = (part.numpy() for part in model(count, 1, 1.0))
    theirs = theirs[:, 0, :, 0, :, :, 0].transpose(0, 3, 1, 2)  # (count, taps, num_rx, num_tx)
    profile = f"cdl-{letter.lower()}"
    ours = draws(profile, 4, 4, count=count)[:, 0]
    line = ClusteredDelayLine(1, 1, profile=profile, delay_spread=100e-9)
    spread = [np.sqrt(p @ d**2 - (p @ d) ** 2) for p, d in ((line.powers, line.delays), _profile(theirs, delays))]
    assert spread[0] == pytest.approx(spread[1], rel=0.08)
    for axis in (1, 2):
        mine, other = (_correlation(h.sum(axis=1), axis) for h in (ours, theirs))
        np.testing.assert_allclose(np.abs(mine), np.abs(other), atol=0.12)


def _profile(gains, delays):
    powers = np.mean(np.abs(gains) ** 2, axis=(0, 2, 3))
    return powers / powers.sum(), delays.reshape(-1, delays.shape[-1])[0]


def _correlation(h, axis):
    """Of antenna 0 with the others, (4,)."""
    values = np.moveaxis(h, axis, 0).reshape(4, -1)
    return values @ values[0].conj() / np.sum(np.abs(values[0]) ** 2)
