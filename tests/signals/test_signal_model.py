# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from gr_kaq.signals.bit_errors import BitErrorRate
from gr_kaq.signals.signal_model import noise_var_from_snr, snr_from_noise_var


def test_snr_is_received_power_over_noise():
    """The definition of docs/design.md, on a channel small enough to check by hand."""
    h = np.array([[[1, 1j], [2, 0]], [[0, 0], [1, 0]]])  # ||H||^2 / num_rx = 3, 0.5
    assert np.isclose(noise_var_from_snr(h, 10.0), 0.175)
    np.testing.assert_allclose(noise_var_from_snr(h, [10.0, 0.0]), [0.3, 0.5])
    np.testing.assert_allclose(snr_from_noise_var(h, [0.3, 0.5]), [10.0, 0.0], atol=1e-12)


def test_no_signal_and_no_noise():
    """The two ends are infinities, not warnings or NaN."""
    h = np.zeros((1, 2, 2))
    assert snr_from_noise_var(h, 1.0) == -np.inf
    assert snr_from_noise_var(h, 0.0) == -np.inf
    assert snr_from_noise_var(h + 1, 0.0) == np.inf


def test_confidence_interval():
    """Against published values of the Wilson interval for 10 of 100, and the ends."""
    low, high = BitErrorRate(10, 100).confidence_interval()
    assert np.isclose(low, 0.0552, atol=1e-4)
    assert np.isclose(high, 0.1744, atol=1e-4)
    assert BitErrorRate(0, 100).confidence_interval()[0] == 0
    assert BitErrorRate().confidence_interval() == (0.0, 1.0)
    assert BitErrorRate(1, 10) + BitErrorRate(2, 20) == BitErrorRate(3, 30)
    assert "(3 errors)" in str(BitErrorRate(3, 30))
