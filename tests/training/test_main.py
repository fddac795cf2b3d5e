# SPDX-License-Identifier: GPL-3.0-or-later
"""The one command: which kind it is for, what it refuses, and that it says so in one line."""

from __future__ import annotations

import pytest

from training import __main__ as command
from training.__main__ import main
from training.config import ROOT, presets
from training.detector.config import Config as DetectorConfig
from training.estimator.config import Config as EstimatorConfig
from training.forecaster.config import Config as ForecasterConfig

pytestmark = pytest.mark.training


class Room:
    """Notes what is asked of it."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        return lambda *given, **named: self.asked.append((name, given, named))


@pytest.fixture
def rooms(monkeypatch):
    rooms = {kind: Room() for kind in presets()}
    monkeypatch.setattr(command, "ROOMS", dict(rooms))
    rooms["quantize_commands"] = Room()
    for kind, room in rooms.items():
        monkeypatch.setattr(command, kind, room)
    return rooms


@pytest.mark.parametrize(
    ("name", "kind", "folder"),
    [
        ("admm5-16qam", "detector", "out/training"),
        ("estimator-ls", "estimator", "out/estimator"),
        ("forecaster", "forecaster", "out/forecaster"),
    ],
)
def test_the_configuration_decides_who_trains(name, kind, folder, rooms):
    assert main(["train", name, "--set", "seed=2"]) == 0
    ((asked, (source, overrides, directory), named),) = rooms.pop(kind).asked
    assert (asked, source, overrides, named) == ("train", name, ["seed=2"], {"fresh": False})
    assert str(directory) == f"{folder}/{name}"
    assert all(not room.asked for room in rooms.values())


@pytest.mark.parametrize(
    "config", [DetectorConfig.load("paper"), EstimatorConfig.load("estimator"), ForecasterConfig("ccm")]
)
def test_the_run_decides_who_exports(config, rooms, tmp_path):
    config.save(tmp_path)
    assert main(["export", str(tmp_path), "--output", "models"]) == 0
    assert [asked for asked, *_ in rooms.pop(config.kind).asked] == ["export"]
    assert all(not room.asked for room in rooms.values())


def test_a_comparison_is_of_detectors_and_a_run_of_an_estimator(rooms, tmp_path):
    EstimatorConfig.load("estimator").save(tmp_path)
    assert main(["compare", str(tmp_path), "--seeds", "2", "--bits", "4", "--jobs", "3"]) == 0
    ((_, (source, iterations, seeds, bits, *_, jobs, cluster), _),) = rooms["quantize_commands"].asked
    assert (source, iterations, seeds, bits, jobs, cluster) == (str(tmp_path), 500, 2, [4], 3, None)
    comparison = tmp_path / "some.yaml"
    comparison.touch()
    assert main(["compare", str(comparison), "--jobs", "3", "--fresh"]) == 0
    ((_, (source, _, _, jobs, cluster), named),) = rooms["detector"].asked
    assert (source, jobs, cluster, named) == (comparison, 3, None, {"fresh": True})


def test_options_of_the_other_kind_are_refused(rooms, tmp_path, capsys):
    EstimatorConfig.load("estimator").save(tmp_path)
    for option in (["--fresh"], ["--set", "seeds=[1]"]):
        assert main(["compare", str(tmp_path), *option]) == 2
        assert f"{option[0]} is an option of a comparison of detectors" in capsys.readouterr().err
    comparison = tmp_path / "some.yaml"
    comparison.touch()
    for option in ("--seeds", "--iterations", "--page"):
        assert main(["compare", str(comparison), option, "1"]) == 2
        assert f"{option} is an option of an estimator; {comparison} is" in capsys.readouterr().err
    DetectorConfig.load("paper").save(tmp_path)
    assert main(["compare", str(tmp_path)]) == 2
    assert "a detector's run" in capsys.readouterr().err
    assert all(not room.asked for room in rooms.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "no-such-preset"], "no-such-preset: no such file, and no preset of that name (detectors: admm5"),
        (
            ["train", "training/detector/comparisons/quick.yaml"],
            "key kind: one of detector, estimator, forecaster expected",
        ),
        (["train", "."], ".: cannot be read: not a regular file"),
        (["compare", "no-such-file"], "no-such-file: directory of a finished run, or one of estimator, "),
        (["compare", "training/estimator/configs/estimator.yaml"], "key kind: comparison expected, got 'estimator'"),
        (["compare", "training/detector/comparisons/quick.yaml", "--jobs", "0"], "--jobs is 0; at least 1 expected"),
        (["export", "training"], "no config.yaml, so this is no directory of a run; train it first"),
        (["evaluate", "--frames", "1"], "--frames is 1; at least 2 expected"),
        (["evaluate", "no-such-estimator"], "no-such-estimator"),
    ],
)
def test_errors_are_said_in_one_line(arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_an_interrupt_is_said_in_one_line(monkeypatch, capsys):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.estimator, "train", interrupted)
    assert main(["train", "estimator"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_presets_are_listed_by_kind(capsys):
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("detectors:") < lines.index("  paper") < lines.index("estimators:") < lines.index("  estimator")


@pytest.mark.parametrize(
    "name", ["train", "export", "quantize", "losses", "allocate", "compare", "evaluate", "onnx", "presets"]
)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0 and f"usage: python -m training {name}" in capsys.readouterr().out
