# SPDX-License-Identifier: GPL-3.0-or-later
"""benchmarks.csi_age: what forecasts give back where a frame has no estimate of its own."""

import re

import pytest

from benchmarks import csi_age


def test_forecasts_decode_what_old_estimates_do_not(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    words = ["csi_age", "--snr", "24", "--frames", "8", "--history", "8", "--methods", "cw-wiener"]
    monkeypatch.setattr("sys.argv", words)
    assert csi_age.main() == 0
    counts = dict(re.findall(r"^ +(\S.*?) +block error rate .* (\d+)$", capsys.readouterr().out, re.MULTILINE))
    assert set(counts) == {"every", "hold", "forecast cw-wiener", "perfect"}
    assert int(counts["forecast cw-wiener"]) <= 1 < int(counts["hold"])


def test_frames_are_forecast_where_nothing_is_known(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("sys.argv", ["csi_age", "--tracked", "--snr", "26", "--frames", "6", "--history", "8"])
    assert csi_age.main() == 0
    counts = dict(re.findall(r"^ +(\S.*?) +block error rate .* (\d+)$", capsys.readouterr().out, re.MULTILINE))
    assert set(counts) == {"every", "alone", "forecast", "perfect"} and all(
        int(count) <= 1 for count in counts.values()
    )
