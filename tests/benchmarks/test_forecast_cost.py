# SPDX-License-Identifier: GPL-3.0-or-later
"""benchmarks.forecast_cost: it runs, and has a row for each of both ways to forecast."""

import re

from benchmarks import forecast_cost


def test_every_way_to_forecast_has_a_row(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["forecast_cost", "--sizes", "1", "--turns", "1", "--estimates", "80"])
    assert forecast_cost.main() == 0
    shown = capsys.readouterr().out
    assert re.search(r"1x1: a frame estimated [\d.]+, forecast [\d.]+ us for a pair", shown)
    assert re.findall(r"channel_predictor, (\d) ahead", shown) == ["1", "7"]
