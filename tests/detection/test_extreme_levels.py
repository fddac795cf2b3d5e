# SPDX-License-Identifier: GPL-3.0-or-later
"""Finite input has finite output, whatever its level; and a radio's gain changes nothing."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import gr_kaq

NAMES = ["lmmse", "zf", "admm5-16qam", "admm5-16qam-fp", "pgd8-16qam", "pgd8-16qam-fp", "paper-pgd5-16qam-fp"]
NAMES += ["list8-16qam", "list8-16qam-fp"]
LARGEST = 3e38  # of single precision
CHANNEL_LEVELS = [1e-45, 1e-38, 1e-20, 1e-14, 1e-10, 1.0, 1e10, 1e19, 1e38]
SAMPLE_LEVELS = [0.0, 1e-45, 1.0, 1e20, 1e38]
NOISES = [{"noise_var": value} for value in (0.0, 1e-2, 1e300)]
NOISES += [{"snr_db": value} for value in (-4000.0, 20.0, 4000.0)]


def load(name, backend):
    return gr_kaq.load_detector(name, backend=backend, constellation="16qam")


def complex_values(rng, level, *shape):
    parts = np.clip(rng.standard_normal((*shape, 2)) * level, -LARGEST, LARGEST)
    return parts.astype(np.float32).view(np.complex64)[..., 0]


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_finite_input_has_finite_output(name, backend):
    """And no warning of NumPy: at 1e38 over 1e-38 the estimate is no number of single precision, and is left out."""
    rng = np.random.default_rng(1)
    detector = load(name, backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for channel_level, sample_level, noise in itertools.product(CHANNEL_LEVELS, SAMPLE_LEVELS, NOISES):
            h = complex_values(rng, channel_level, 2, 4, 2)
            y = complex_values(rng, sample_level, 2, 3, 4)
            out = detector.prepare(h, **noise).detect(y)
            case = channel_level, sample_level, noise
            assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all(), case
            if sample_level <= min(channel_level, 1e20):
                assert out.num_invalid == 0, case


@pytest.mark.parametrize("name", ["lmmse", "zf"])
@pytest.mark.parametrize("exponent", [-149, -126, -60, -50, 40, 100, 120])
def test_a_radio_s_gain_changes_no_bit_of_the_reference(name, exponent):
    """|h| of 1e-14 used to cost precision, 1e-16 all of it, and 1e-38 and 1e20 gave no number."""
    rng = np.random.default_rng(2)
    detector = load(name, "reference")
    # few digits, so that subnormal numbers have them all
    h, y = (np.round(4 * complex_values(rng, 1.0, 6, 4, n)) for n in (3, 4))
    expected = detector.prepare(h, noise_var=0.25).detect(y)
    assert np.abs(expected.llrs).max() > 1
    h, y = (np.ldexp(values.view(np.float32), exponent).view(np.complex64) for values in (h, y))
    found = detector.prepare(h, noise_var=0.25 * 4.0**exponent).detect(y)
    np.testing.assert_array_equal(found.symbols, expected.symbols)
    np.testing.assert_array_equal(found.llrs, expected.llrs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exponent", [-78, -70, -50, 39])
def test_a_radio_s_gain_changes_no_decision_of_the_kernel(name, exponent):
    """From 3e-24 to 1e12. |h| below 1e-15 used to give zeros."""
    rng = np.random.default_rng(3)
    detector = load(name, "native")
    h = complex_values(rng, 1.0, 6, 4, 2)
    x = gr_kaq.CONSTELLATIONS["16qam"].points[rng.integers(0, 16, (6, 5, 2))].astype(np.complex64)
    y = x @ h.swapaxes(-1, -2) + complex_values(rng, 0.05, 6, 5, 4)
    expected = detector.prepare(h, noise_var=0.005).detect(y)
    h, y = (np.ldexp(np.ascontiguousarray(of).view(np.float32), exponent).view(np.complex64) for of in (h, y))
    found = detector.prepare(h, noise_var=0.005 * 4.0**exponent).detect(y)
    np.testing.assert_allclose(found.symbols, expected.symbols, atol=1e-4)
    np.testing.assert_allclose(found.llrs, expected.llrs, rtol=1e-3, atol=1e-2)
    assert np.abs(expected.llrs).max() > 1


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_streams_that_do_not_arrive_say_nothing(name, backend):
    """Without a warning: their LLRs are 0, which a decoder takes as nothing known."""
    detector = load(name, backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for noise in NOISES:
            out = detector.prepare(np.zeros((2, 4, 2), np.complex64), **noise).detect(np.ones((2, 3, 4), np.complex64))
            assert (out.llrs == 0).all() and out.num_invalid == 0
