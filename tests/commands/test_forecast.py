# SPDX-License-Identifier: GPL-3.0-or-later
"""kaq forecast."""

import json
import re

import numpy as np
import pytest

from gr_kaq.channels.flat import shipped_recording
from gr_kaq.channels.sequence_file import read_sequence
from gr_kaq.channels.users import User, UserDelayLine
from gr_kaq.commands.kaq import main

SHORT = ["--trials", "3", "--history", "24", "--horizon", "1 2 4", "--taps", "4"]
CARRIERS = np.arange(-12, 12)


def recording(path, count=60, **changes):
    """A recording as `kaq record` writes it, of one slow and one fast stream, each frame in a phase of its own."""
    rng = np.random.default_rng(0)
    times = np.arange(count) * 1e-3
    h = UserDelayLine(2, [User(5.0), User(150.0)], seed=1).frequency_response(times, CARRIERS * 31.25e3)
    h = h * np.exp(2j * np.pi * rng.random((count, 1, 1, 1)))
    h = h + 0.03 * (rng.standard_normal(h.shape) + 1j * rng.standard_normal(h.shape))
    arrays = {"h": h, "sample": times * 2e6, "sample_rate": 2e6, "carriers": CARRIERS, "snr_db": np.full(count, 30.0)}
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return str(path)


def test_methods_are_compared_with_the_bound(capsys, tmp_path):
    path = tmp_path / "forecast.json"
    arguments = ["forecast", *SHORT, "--doppler", "5", "200", "--methods", "hold", "wiener", "cw-wiener"]
    assert main([*arguments, "--json", str(path), "--over-doppler", "20", "100"]) == 0
    shown = capsys.readouterr().out
    assert "2x2, tdl-a, 5/200 Hz, 20 dB" in shown and "cw-wiener gains on wiener" in shown and "bound" in shown
    found = json.loads(path.read_text())
    assert found["ahead"] == [1, 2, 4] and found["trials"] == 3 and len(found["bound_db"]) == 3
    assert set(found["methods"]) == {"hold", "wiener", "cw-wiener", "known"}
    assert found["methods"]["cw-wiener"]["nmse_db"][0] < found["methods"]["hold"]["nmse_db"][0] - 5
    over = found["over_doppler"]
    assert over["doppler_hz"] == [20, 100] and over["nmse_db"]["bound"][0] < over["nmse_db"]["bound"][1]


def test_a_known_doppler_is_little_better_than_the_estimated_one(capsys, tmp_path):
    path = tmp_path / "forecast.json"
    assert main(["forecast", *SHORT, "--doppler", "50", "--methods", "wiener", "wiener:50", "--json", str(path)]) == 0
    methods = json.loads(path.read_text())["methods"]
    np.testing.assert_allclose(methods["wiener"]["nmse_db"], methods["wiener:50"]["nmse_db"], atol=2.5)


def test_a_seed_gives_the_same_figures(capsys):
    shown = []
    for seed in ("3", "3", "4"):
        assert main(["forecast", *SHORT, "--methods", "hold", "--seed", seed]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]


def test_pictures_are_drawn(tmp_path):
    plot, clusters = tmp_path / "plot.png", tmp_path / "map.png"
    arguments = ["forecast", *SHORT, "--doppler", "5", "200", "--rice-db", "none", "10", "--static", "0.5", "0"]
    assert main([*arguments, "--methods", "hold", "wiener", "--plot", str(plot), "--map", str(clusters)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG") and clusters.read_bytes().startswith(b"\x89PNG")


def test_a_stream_without_a_line_of_sight_is_shown_as_it_is_asked_for(capsys):
    assert main(["forecast", *SHORT, "--size", "2x2", "--rice-db", "none", "10", "--methods", "hold"]) == 0
    assert "Rice factor none/10 dB" in capsys.readouterr().out


def test_a_recording_is_forecast_by_its_times(capsys, tmp_path):
    path = recording(tmp_path / "own.npz")
    assert main(["forecast", path, *SHORT, "--methods", "hold", "wiener", "cw-wiener"]) == 0
    shown = capsys.readouterr().out
    assert "1 ms from packet to packet" in shown and "bound" not in shown
    rows = {
        line.split()[0]: line.split()[1:] for line in shown.splitlines() if line[:1].isalpha() and "gains" not in line
    }
    assert float(rows["cw-wiener"][0]) < float(rows["hold"][0]) - 3


@pytest.mark.parametrize(
    ("where", "factor", "said"),
    [
        (np.s_[:, :, 0], 0, "3 dead antennas"),
        (np.s_[30:, :, 0], 0, "dead antennas"),
        (np.s_[30:, :, 0], 3, "1 gain steps"),
        (np.s_[30:, :, :, 1], 0, "1 ended streams"),
        (np.s_[:30, :, :, 1], 0, "1 begun streams"),
    ],
)
def test_faults_of_a_recording_are_said_and_the_rest_is_forecast(capsys, tmp_path, where, factor, said):
    path = recording(tmp_path / "own.npz")
    h = dict(np.load(path))["h"]
    h[where] *= factor
    path = recording(tmp_path / "own.npz", h=h)
    assert main(["forecast", path, *SHORT, "--methods", "cw-wiener", "--json", str(tmp_path / "found.json")]) == 0
    assert said in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert np.isfinite(found["methods"]["cw-wiener"]["nmse_db"]).all()


def test_the_measured_channels_are_forecast(capsys):
    assert main(["forecast", "measured_csi_3x2", *SHORT, "--methods", "hold", "cw-wiener"]) == 0
    shown = capsys.readouterr().out
    assert "2.11 ms from packet to packet" in shown
    assert max(float(re.search(rf"^{name} +(\S+)", shown, re.MULTILINE)[1]) for name in ("hold", "cw-wiener")) < -5
    sequence = read_sequence(shipped_recording("measured_csi_3x2"))
    assert sequence.h.shape == (401, 56, 3, 2) and sequence.times[0] == 0 and sequence.snr_db is None
    assert list(sequence.carriers[[0, 27, 28, 55]]) == [-28, -1, 1, 28]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sample": None}, "does not say when the packets came"),
        ({"sample": np.zeros(60)}, "do not ascend"),
        ({"sample": np.arange(59)}, "60 numbers expected"),
        ({"snr_db": np.full(60, np.nan)}, "`snr_db` holds NaN"),
        ({"carriers": np.zeros(24)}, "`carriers` are no ascending"),
        ({"sample": np.full(60, "x")}, "`sample` is <U1"),
        ({"h": np.zeros((60, 24, 2, 2), complex)}, "every recorded channel is zero"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said(capsys, tmp_path, changes, said):
    path = recording(tmp_path / "wrong.npz", **changes)
    assert main(["forecast", path, *SHORT]) == 2
    shown = capsys.readouterr().err
    assert said in shown and "wrong.npz" in shown and len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "magic"], "no predictor 'magic'"),
        (["--methods", "wiener:-1"], "--methods wiener:-1: '-1': a finite number, at least 0"),
        (["--doppler", "1", "2", "3"], "--doppler has 3 values; one, or one for each of 2 streams"),
        (["--channel", "tdl-d"], "line of sight"),
        (["--taps", "60"], "--taps is 60; fewer than 52"),
        (["nothing"], "no recording 'nothing'"),
        (["measured_csi_3x2", "--history", "500"], "401 packets; at least"),
        (["measured_csi_3x2", "--over-doppler", "5"], "--over-doppler is for simulated"),
        (["--json", "/nowhere/x.json"], "the folder does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(capsys, arguments, said):
    assert main(["forecast", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0:3", "5:2", "x", "1.5", "", "1:99999999"])
def test_horizons_that_cannot_be_are_refused(capsys, text):
    with pytest.raises(SystemExit):
        main(["forecast", "--horizon", text])
    assert "frames ahead" in capsys.readouterr().err
