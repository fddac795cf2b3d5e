# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel that fits to sensitivities: published values found again, widths, what is flat, what is uncertain."""

import math

import numpy as np
import pytest

from gr_kaq.probes.channel_fit import fit_channel, fit_gaussian, half_power_width

OCTAVES = range(7)
BOUNDS = ([0, -np.inf, -np.inf], [4, np.inf, np.inf])


@pytest.mark.parametrize(
    "thresholds, bandwidth, centre, peak",
    [((0, 0, 2, 2, 3, 4, 2), 3.99, 39.4, 0.710), ((0, 0, 1, 2, 2, 3, 1), 3.51, 34.4, 0.386)],
    ids=["ResNet-50", "ViT-B/16"],
)
def test_published_channels(thresholds, bandwidth, centre, peak):
    """arXiv 2309.13190: bandwidth in octaves, centre in cycles per image, peak sensitivity per unit of noise."""
    amplitude, mu, sigma = fit_gaussian(OCTAVES, thresholds, (1.0, 0.0, 1.0), BOUNDS)
    assert 2 * math.sqrt(math.log(4)) * sigma == pytest.approx(bandwidth, abs=0.005)
    assert 1.75 * 2**mu == pytest.approx(centre, abs=0.05)
    assert 2.0 ** (amplitude - 4) == pytest.approx(peak, abs=0.0005)


def gaussian_db(positions, bandwidth, centre, peak_db):
    return peak_db - 10 * np.log10(2) * (2 * (positions - centre) / bandwidth) ** 2


def test_a_gaussian_is_found_again():
    positions = np.arange(-15.0, 16.0, 2.0)
    found = fit_channel(positions, gaussian_db(positions, 6.0, 2.5, 13.0), np.full(16, 0.3))
    assert not found.flat
    assert found.bandwidth[0] == pytest.approx(6, abs=0.01) and found.centre[0] == pytest.approx(2.5, abs=0.01)
    assert found.peak_db[0] == pytest.approx(13, abs=0.01) and found.half_power_width[0] == pytest.approx(6, rel=0.1)
    for value, low, high in (found.bandwidth, found.centre, found.peak_db, found.half_power_width):
        assert low <= value <= high and 0 < high - low < 2


def test_intervals_hold_the_truth():
    """Most of the time, as far as so few draws can say."""
    positions, truth = np.arange(-15.0, 16.0, 2.0), gaussian_db(np.arange(-15.0, 16.0, 2.0), 8.0, 1.0, 10.0)
    rng = np.random.default_rng(1)
    held = np.zeros(3)
    for _ in range(24):
        found = fit_channel(positions, truth + 0.3 * rng.standard_normal(16), np.full(16, 0.3))
        for i, (interval, value) in enumerate(((found.bandwidth, 8), (found.centre, 1), (found.peak_db, 10))):
            held[i] += interval[1] <= value <= interval[2]
    assert (held >= 18).all()


def test_flat():
    """No bandwidth is made up for a receiver that hears all bands alike."""
    positions = np.arange(13.0)
    found = fit_channel(positions, np.full(13, -7.0), np.full(13, 0.3))
    assert found.flat and math.isinf(found.bandwidth[0]) and found.half_power_width[0] == pytest.approx(13)
    assert found.peak_db[0] == pytest.approx(-7)


def test_bands_that_do_no_harm():
    positions = np.arange(8.0)
    levels = np.where(np.abs(positions - 3) <= 1, 10.0, -np.inf)
    found = fit_channel(positions, levels, np.where(np.isfinite(levels), 0.3, np.nan))
    assert found.centre[0] == pytest.approx(3, abs=0.01) and 2.4 < found.bandwidth[0] < 4
    assert found.half_power_width[0] == pytest.approx(3, abs=0.01)
    with pytest.raises(ValueError, match="no band does any harm"):
        fit_channel(positions, np.full(8, -np.inf), np.full(8, np.nan))


def test_too_few():
    with pytest.raises(ValueError, match="at least three"):
        fit_gaussian([0, 1], [1, 2], (1.0, 0.0, 1.0))


def test_half_power_width_of_a_window():
    positions = np.arange(10.0)
    assert half_power_width(positions, np.where((positions >= 2) & (positions < 6), 1.0, 0.0)) == pytest.approx(
        4, abs=0.01
    )
