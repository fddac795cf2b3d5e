# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq beams`: its table, its file, its pictures, and the exponent that it fits."""

import json
import math

import pytest

from gr_kaq.commands.beams import Point, decay, parse_budgets
from gr_kaq.commands.kaq import main
from gr_kaq.signals.bit_errors import BitErrorRate


def point(budget, errors, trials=10000):
    return Point("parametric", 10.0, budget, BitErrorRate(), BitErrorRate(errors, trials), 0.0, (0.0, 0.0), 0.0)


def test_table_json_and_pictures_agree_and_come_again_with_the_seed(capsys, tmp_path):
    arguments = ["beams", "--array", "8x8", "--budget", "32:128", "--snr", "5 20", "--trials", "40", "--track", "2"]
    policies = ["--policies", "parametric", "after-holobeam", "exhaustive"]
    files = ["--json", str(tmp_path / "beams.json"), "--plots", str(tmp_path / "plots")]
    assert main([*arguments, *policies, *files]) == 0
    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "beams.json").read_text())
    assert len(written["points"]) == 2 * (2 * 3 + 2)  # 32 pilots are too few for the exhaustive search
    for p in written["points"]:
        line = f"{p['snr_db']:>5g} dB  {p['pilots']:6d}  {p['policy']:<14}  {p['wrong'] / 40:6.3f}"
        assert line in shown
        assert p["gain_loss_interval_db"][0] <= p["gain_loss_db"] <= p["gain_loss_interval_db"][1] + 1e-9
    assert "tracking at 2 degrees per frame, 20 dB" in shown and len(written["tracking"]) == 2
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "errors.png",
        "loss.png",
        "probed.gif",
        "tracking.png",
    ]
    assert (tmp_path / "plots" / "probed.gif").read_bytes().startswith(b"GIF8")
    assert main([*arguments, *policies]) == 0
    assert capsys.readouterr().out == shown


def test_an_exponent_is_that_of_errors_that_fall_exponentially():
    points = [point(budget, round(10000 * math.exp(-0.01 * (budget - 30)))) for budget in (64, 128, 256, 512, 1024)]
    exponent, offset, explained = decay(points)
    assert exponent == pytest.approx(0.01, rel=0.02) and offset == pytest.approx(30, abs=5) and explained > 0.99
    assert decay(points[:2]) is None


def test_budgets_double_or_are_listed():
    assert parse_budgets("32:300") == [32, 64, 128, 256]
    assert parse_budgets("5, 7") == [5, 7]
