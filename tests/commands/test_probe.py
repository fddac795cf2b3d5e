# SPDX-License-Identifier: GPL-3.0-or-later
"""kaq probe: what it prints, writes and refuses."""

import json

import pytest

from gr_kaq.commands.kaq import main

pytest.importorskip("gnuradio", reason="gr-fec decodes the payloads")

SHORT = ["--frames", "60", "--max-error", "3", "--detectors", "lmmse"]


def test_tables_file_and_pictures(tmp_path, capsys):
    path = tmp_path / "probe.json"
    arguments = ["--axis", "carriers", "--bands", "3", "--on", "data", "--receivers", "ls", "lmmse"]
    assert main(["probe", *SHORT, *arguments, "--json", str(path), "--plot", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2x2, 16qam, tdl-a, 25 dB, carriers on data, 10% block errors" in shown
    assert "ls + lmmse; without interference" in shown and "half-power width, carriers" in shown
    content = json.loads(path.read_text())
    assert content["unit"] == "carriers" and content["on"] == "data" and content["seed"] == 1
    assert [(each["estimator"], len(each["bands"])) for each in content["receivers"]] == [("ls", 3), ("lmmse", 3)]
    for name in ("sensitivity.png", "heat_map.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_receiver_that_is_refused_does_not_end_the_others(capsys):
    arguments = [
        "--bands",
        "1",
        "--snr",
        "18",
        "--target",
        "0.25",
        "--receivers",
        "lmmse",
        "--detectors",
        "lmmse",
        "auto",
    ]
    assert main(["probe", *SHORT, *arguments]) == 0
    shown = capsys.readouterr().out
    assert "refused: lmmse + lmmse" in shown and "\nlmmse + auto; without" in shown


def test_all_refused(capsys):
    assert main(["probe", *SHORT, "--bands", "1", "--snr", "5"]) == 2
    assert "refused: lmmse + lmmse" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--bands", "60"], "60 bands; 1 to 52 expected"),
        (["--axis", "delay", "--on", "data"], "only the axis carriers"),
        (["--receivers", "lmmse-memory"], "remembers frames"),
        (["--detectors", "no-such"], "no-such"),
        (["--detectors", "pgd8-16qam"], "num_rx >= 2"),
        (["--json", "/no/such/folder/x.json"], "the folder does not exist"),
        (["--plot", "/no/such"], "the folder does not exist"),
    ],
)
def test_refusals(arguments, message, capsys):
    assert main(["probe", *SHORT, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--axis", "time"], ["--target", "1.5"], ["--bands", "0"], ["--snr", "nan"]])
def test_arguments_that_are_none(arguments):
    with pytest.raises(SystemExit):
        main(["probe", *SHORT, *arguments])
