# SPDX-License-Identifier: GPL-3.0-or-later
"""From channels on carriers to series: taps, alignment, faults."""

import numpy as np
import pytest

from gr_kaq.forecasting.alignment import aligned
from gr_kaq.forecasting.faults import without_faults
from gr_kaq.forecasting.taps import DelayTaps, strongest_taps

CARRIERS = np.concatenate([np.arange(-26, 0), np.arange(1, 27)])


def random(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)


def test_taps_are_found_and_put_together_again():
    rng = np.random.default_rng(0)
    taps = DelayTaps(CARRIERS, -2, 6)
    g = random(rng, 10, 6, 2, 3)
    h = np.einsum("fk,tkij->tfij", taps.waves, g)
    np.testing.assert_allclose(taps(h), g, atol=1e-9)
    assert strongest_taps(h, CARRIERS, 6).first == -2
    assert taps.residual(h) < 1e-20


def test_noise_of_taps_and_beside_them():
    rng = np.random.default_rng(1)
    taps = DelayTaps(CARRIERS, 0, 8)
    noise = random(rng, 4000, 52, 1, 1)
    np.testing.assert_allclose(np.mean(np.abs(taps(noise)) ** 2, axis=(0, 2, 3)), taps.noise, rtol=0.1)
    np.testing.assert_allclose(taps.residual(noise), 1, rtol=0.05)


def test_as_many_taps_as_carriers_are_refused():
    with pytest.raises(ValueError, match="52 taps of 52 carriers"):
        DelayTaps(CARRIERS, 0, 52)


def test_phase_and_timing_of_each_frame_are_taken_out():
    rng = np.random.default_rng(2)
    still = DelayTaps(CARRIERS, 0, 4).waves @ random(rng, 4, 6)
    h = np.repeat(still.reshape(1, 52, 3, 2), 20, axis=0)
    phases, delays = rng.uniform(-np.pi, np.pi, 20), rng.uniform(-0.02, 0.02, 20)
    turned = h * np.exp(1j * (phases[:, None] - 2 * np.pi * delays[:, None] * CARRIERS))[:, :, None, None]
    turned[7] = np.nan
    found = aligned(turned + 1e-3 * random(rng, *h.shape), CARRIERS, np.arange(20))
    assert np.isnan(found[7]).all()
    rest = np.delete(found, 7, axis=0)
    np.testing.assert_allclose(rest, np.broadcast_to(rest[:1], rest.shape), atol=0.02)


def test_faults_are_said_and_counted():
    rng = np.random.default_rng(3)
    g = np.repeat(random(rng, 1, 4, 3, 2), 30, axis=0) + 0.05 * random(rng, 30, 4, 3, 2)
    clean, none = without_faults(g)
    assert str(none) == "no faults" and np.isfinite(clean).all()
    g[10, 0, 0, 0] = np.nan
    g[:, :, 2] = 0
    g[:5, :, :, 1] = 0
    g[20:, :, 1] *= 4
    clean, faults = without_faults(g)
    assert (faults.damaged_frames, faults.dead_antennas, faults.begun_streams, faults.gain_steps) == (1, 1, 1, 1)
    assert "1 dead antennas" in str(faults)
    assert np.isnan(clean[:20, :, 1]).all() and np.isfinite(clean[20:, :, 1]).all()
    assert np.isnan(clean[:, :, 2]).all() and np.isnan(clean[:5, :, :, 1]).all()
    g[25:, :, :, 0] = 0
    assert without_faults(g)[1].ended_streams == 1


def test_fading_is_no_gain_step():
    rng = np.random.default_rng(4)
    assert without_faults(random(rng, 200, 4, 2, 2))[1].gain_steps == 0
