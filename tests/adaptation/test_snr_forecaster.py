# SPDX-License-Identifier: GPL-3.0-or-later
"""Effective SNRs that are forecast: nearer than the newest ones, whatever oscillators and timing do, or no worse."""

import numpy as np
import pytest

from gr_kaq.adaptation.link_receiver import LinkReceiver
from gr_kaq.adaptation.simulation import Scenario, SimulatedLink
from gr_kaq.adaptation.snr_forecaster import SnrForecaster
from gr_kaq.frames.frame_format import FrameFormat

FRAME = FrameFormat(2)
HORIZON, BEGIN = 4, 60


def errors(doppler, *, turn=0.0, shifts=False, times=None, num_frames=160, frame_format=FRAME):
    """RMS errors in dB of what is forecast, and of what is the newest, once some frames have passed."""
    link = SimulatedLink(Scenario(frame_format, 2, 15.0, doppler=doppler), 1)
    forecaster, rng = SnrForecaster(link.receiver, HORIZON), np.random.default_rng(1)
    carriers = frame_format.active_carriers[frame_format.data_indices.reshape(-1)]
    frames = [link.frame(number) for number in range(num_frames)]
    snrs = np.array([frame.snrs_db for frame in frames])
    forecasts = np.zeros_like(snrs)
    for number, frame in enumerate(frames):
        delay = rng.integers(-2, 3) if shifts else 0
        phases = turn * number - 2 * np.pi * delay * carriers / frame_format.fft_size
        h = (frame.h * np.exp(1j * phases)[:, None, None]).astype(np.complex64)
        time = number if times is None else times(number)
        forecasts[number] = forecaster.take(time, h, frame.noise_var, frame.snrs_db)
    later = snrs[BEGIN + HORIZON :]
    return [float(np.sqrt(np.mean((said[BEGIN:-HORIZON] - later) ** 2))) for said in (forecasts, snrs)]


def test_what_is_forecast_is_nearer_than_what_is_old():
    forecast, old = errors(50.0)
    assert forecast < 0.5 * old


@pytest.mark.parametrize("turn", [0.3, -2.5])
def test_carrier_offset_and_timing_do_not_matter(turn):
    plain, old = errors(50.0)
    forecast, _ = errors(50.0, turn=turn, shifts=True)
    assert forecast == pytest.approx(plain, abs=0.1 * old)


def test_the_unit_of_time_does_not_matter():
    assert errors(50.0, num_frames=100) == pytest.approx(
        errors(50.0, num_frames=100, times=lambda n: 1536 * n), abs=0.05
    )


def test_wide_frames():
    forecast, old = errors(50.0, num_frames=90, frame_format=FrameFormat(2, 256))
    assert forecast < 0.7 * old


def test_what_cannot_be_forecast_is_not_worse_than_its_mean():
    link = SimulatedLink(Scenario(FRAME, 2, 15.0), 1)
    forecaster = SnrForecaster(link.receiver, HORIZON)
    reports, truths = [], []
    for number in range(160):
        frame = SimulatedLink(Scenario(FRAME, 2, 15.0), 100 + number, link.receiver).frame(0)
        reports.append(forecaster.take(number, frame.h, frame.noise_var, frame.snrs_db))
        truths.append(frame.snrs_db)
    later, said = np.array(truths[BEGIN + HORIZON :]), np.array(reports[BEGIN:-HORIZON])
    assert np.sqrt(np.mean((said - later) ** 2)) < 1.2 * np.std(later)


def test_the_first_frames_say_what_they_are_themselves_and_a_new_beginning_does_so_again():
    link = SimulatedLink(Scenario(FRAME, 2, 15.0), 1)
    forecaster = SnrForecaster(link.receiver, 1)
    for begin in (1000, 0):
        for number in range(3):
            frame = link.frame(number)
            said = forecaster.take(begin + number, frame.h, frame.noise_var, frame.snrs_db)
            assert np.array_equal(said, frame.snrs_db)


def test_no_horizon_is_refused():
    with pytest.raises(ValueError, match="horizon is 0; at least 1 frame"):
        SnrForecaster(LinkReceiver(FRAME, 2), 0)
