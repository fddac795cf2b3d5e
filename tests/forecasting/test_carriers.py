# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts on carriers."""

import numpy as np

from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.forecasting.carriers import forecast_carriers
from gr_kaq.forecasting.predictors import PREDICTORS


def test_carriers_are_forecast_better_than_held_and_errors_are_told():
    carriers, times = np.arange(-26, 26) * 31.25e3, np.arange(24) * 1e-3
    ahead = np.array([0.5e-3, 1e-3])
    sums = {"hold": np.zeros((2, 2)), "cw-wiener": np.zeros((2, 2))}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        line = UserDelayLine(2, [User(10.0), User(100.0)], seed=seed)
        truth = line.frequency_response(np.concatenate([times, times[-1] + ahead]), carriers)
        noise = rng.standard_normal((2, 24, 52, 2, 2)) * np.sqrt(0.005)
        for name, total in sums.items():
            found = forecast_carriers(times, truth[:24] + noise[0] + 1j * noise[1], 0.01, ahead, PREDICTORS[name])
            assert found.h.shape == (2, 52, 2, 2) and found.h.dtype == np.complex64
            total += [np.mean(np.abs(found.h - truth[24:]) ** 2, axis=(1, 2, 3)), found.error_var]
    errors, expected = sums["cw-wiener"]
    assert (errors < sums["hold"][0] / 3).all()
    np.testing.assert_allclose(10 * np.log10(expected / errors), 0, atol=2.5)
