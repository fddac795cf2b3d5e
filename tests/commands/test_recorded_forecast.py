# SPDX-License-Identifier: GPL-3.0-or-later
"""From samples to forecasts: what kaq record makes of a fading channel with offsets, kaq forecast takes."""

import json

import numpy as np
import pytest

pytest.importorskip("gnuradio.gr")

from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.commands.kaq import main
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.radios.sigmf import RecordingWriter

RATE, FRAMES, GAP = 2e6, 80, 256


@pytest.mark.parametrize(
    ("estimator", "doppler", "gain_db"),
    [("lmmse", 60.0, (5, 3)), ("lmmse-memory", 60.0, (5, 3)), ("lmmse", 20.0, (2, 5)), ("lmmse", 150.0, (5, 2))],
)
def test_a_recorded_channel_is_forecast_through_offset_and_drift(tmp_path, estimator, doppler, gain_db):
    frame = FrameFormat(2, 64)
    rng = np.random.default_rng(1)
    channel = RadioChannel(
        2,
        2,
        sample_rate=RATE,
        profile="tdl-a",
        delay_spread=100e-9,
        doppler=doppler,
        snr_db=25.0,
        carrier_offset=3e3,
        clock_offset_ppm=5.0,
        seed=1,
    )
    with RecordingWriter(tmp_path / "samples", 2, RATE, 2.4e9) as writer:
        for _ in range(FRAMES):
            data = frame.constellation.points[rng.integers(0, 16, (11, frame.num_data, 2))]
            writer.write(channel.process(np.pad(frame.modulate(data), ((0, 0), (0, GAP)))))
        writer.write(channel.process(np.zeros((2, 2000), np.complex64)))
    words = ["--radio", "recording", "--args", str(tmp_path / "samples"), "--estimator", estimator]
    assert main(["record", *words, "--output", str(tmp_path / "csi.npz")]) == 0
    words = ["--history", "40", "--horizon", "1 4", "--methods", "hold", "wiener", "cw-wiener"]
    assert main(["forecast", str(tmp_path / "csi.npz"), *words, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["step_s"] == pytest.approx((frame.frame_length + GAP) / RATE, rel=1e-3)
    near = {name: method["nmse_db"] for name, method in found["methods"].items()}
    for method in ("wiener", "cw-wiener"):
        assert (np.array(near[method]) < np.array(near["hold"]) - gain_db).all()
