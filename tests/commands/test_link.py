# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq link`: its tables and files, and what it refuses."""

import json

import pytest

from gr_kaq.adaptation.block_error_curves import BlockErrorCurves
from gr_kaq.commands.kaq import main
from gr_kaq.frames.modulation_coding import MCS_TABLE

SHORT = ["--frames", "12", "--channels", "2"]


def test_policies_table_json_and_picture_agree_and_come_again_with_the_seed(capsys, tmp_path):
    arguments = ["link", "--snr", "5:15:10", "--delay", "1", "3", *SHORT]
    files = ["--json", str(tmp_path / "link.json"), "--plots", str(tmp_path / "plots")]
    assert main([*arguments, *files]) == 0
    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "link.json").read_text())
    assert [(p["snr_db"], p["delay"]) for p in written["points"]] == [(5, 1), (15, 1), (5, 3), (15, 3)]
    for point in written["points"]:
        assert f"{point['snr_db']:g} dB, 10 Hz, feedback after {point['delay']} frames" in shown
        by_name = {policy["policy"]: policy for policy in point["policies"]}
        assert {"arf", "olla", "illa", "both", "oracle", "genie"} < set(by_name)
        assert any(name.startswith("fixed") for name in by_name)
        for policy in point["policies"]:
            assert policy["lost"] <= policy["blocks"] <= 24 and len(policy["goodputs"]) == 2
            assert sum(used["blocks"] for used in policy["used"]) >= policy["first"]
            shown_as = f"{policy['goodput'] / 1e6:6.3f} ± "
            assert policy["policy"].startswith("fixed") or shown_as in shown
    assert written["over_all_points"]["genie"] == pytest.approx(
        sum(p["goodput"] for point in written["points"] for p in point["policies"] if p["policy"] == "genie") / 4
    )
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["goodput-1.png", "goodput-2.png"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == shown


def test_curves_that_were_calibrated_can_be_used(capsys, tmp_path):
    path = tmp_path / "curves.json"
    assert main(["link", "calibrate", "--frames", "20", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert all(str(mcs) in shown for mcs in MCS_TABLE)
    assert BlockErrorCurves.load(path).widths_db.shape == (len(MCS_TABLE),)
    assert main(["link", "--snr", "15", "--policies", "illa", "--curves", str(path), *SHORT]) == 0
    assert "illa" in capsys.readouterr().out


def test_what_they_rest_on(capsys):
    assert main(["link", "combining", "--frames", "4"]) == 0
    assert capsys.readouterr().out.count(" dB") == 5 * len(MCS_TABLE)
    assert main(["link", "header", "--snr", "-8 30", "--frames", "10"]) == 0
    weak, strong = capsys.readouterr().out.splitlines()[-2:]
    assert strong.startswith("30 dB: 0.0000") and not weak.startswith("-8 dB: 0.0000")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "best"], "unknown policy 'best'; one of fixed, arf, olla"),
        (["--rank", "3"], "rank is 3; 1 to 2"),
        (["--interval", "1e-6"], "interval is 1e-06 s"),
        (["--detector", "admm5-16qam"], "admm5-16qam is for 16qam, not qpsk"),
        (["--curves", "missing.json"], "missing.json"),
        (["--json", "no/folder/link.json"], "does not exist"),
        (["--size", "2x3", "--fft-size", "64", "--detector", "nothing"], "no detector 'nothing'"),
        (["--size", "2x5"], "at most 4 expected with 64 carriers"),
    ],
)
def test_what_cannot_be_done(arguments, message, capsys):
    assert main(["link", "--policies", "both", "--snr", "10", *SHORT, *arguments]) == 2
    assert message in capsys.readouterr().err
