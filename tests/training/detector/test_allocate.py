# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixed widths of a detector: what is chosen, measured, and refused."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

from tests.training.detector.configs import small_config
from training.__main__ import main
from training.detector.allocate import SCORES, Problem, load_twin
from training.detector.config import Config, Evaluation

pytestmark = pytest.mark.training

SMALL = ["--bits", "2", "4", "--channels", "200"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a finished run of three layers."""
    folder = tmp_path_factory.mktemp("allocate")
    config = small_config(evaluation=Evaluation((5.0, 10.0, 15.0), 10, 10_000))
    (folder / "small.yaml").write_text(yaml.safe_dump({"kind": "detector", **config.to_dict()}))
    assert main(["train", str(folder / "small.yaml"), "--output", str(folder)]) == 0
    return str(folder / "small")


def test_the_budget_is_kept_and_can_be_trained(run, tmp_path, capsys):
    command = ["allocate", run, "--output", str(tmp_path), *SMALL, "--set", "matrix_bits=4"]
    assert main([*command, "--budget", "bops:0.2"]) == 0
    found = json.loads((tmp_path / "small-w4" / "allocate-bops.json").read_text())
    assert sum(found["chosen"]) * 4 <= 0.2 * 3 * 64
    said = capsys.readouterr().out.partition("train with: ")[2].splitlines()[0]
    first, widths, second, matrix = shlex.split(said)
    assert first == second == "--set" and matrix == "matrix_bits=4"
    assert Config.load(f"{run}/config.yaml", [widths, matrix]).activation_bits == tuple(found["chosen"])
    assert main([*command, "--budget", "bops:0.1"]) == 2
    assert "the least that an allocation of [2, 4] bits takes is" in capsys.readouterr().err


def test_the_truth_is_measured_once(run, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: allocations small-w8 -->\n<!-- end: allocations small-w8 -->\n")
    command = ["allocate", run, "--output", str(tmp_path), "--budget", "bops:0.5", "--truth", *SMALL]
    assert main([*command, "--page", str(page)]) == 0
    assert all(f"| {score} | " in page.read_text() for score in (*SCORES, "random"))
    assert "| 2 bits | 0.250 | 2 2 2: " in page.read_text()
    assert (tmp_path / "small-w8" / "allocations.png").stat().st_size > 10_000
    assert (tmp_path / "page" / "allocations-small-w8.png").exists()
    stored = tmp_path / "small-w8" / "allocations-24.json"
    document = json.loads(stored.read_text())
    assert len(document["measured"]) == 8
    assert sum(document["measured"]["2 2 2"]) > sum(document["measured"]["4 4 4"])
    document["measured"] = dict.fromkeys(document["measured"], [1] * 20)
    stored.write_text(json.dumps(document))
    assert main(command) == 0
    regrets = json.loads((tmp_path / "small-w8" / "allocate-bops.json").read_text())["regrets"]
    assert all(entry["largest"] == 0 for entry in regrets.values()), "what was measured is not measured again"
    capsys.readouterr()
    assert main([*command[:-1], "300"]) == 2
    assert "holds allocations of something else" in capsys.readouterr().err


@pytest.mark.parametrize("levels", ["midtread", "midrise"])
def test_scores_fall_as_widths_rise(run, levels):
    config, twin = load_twin(run, ["activation_bits=3", "matrix_bits=7", f"quantizer.levels={levels}"])
    problem = Problem(config, twin, [2, 3, 6], 500)
    for layer in problem.costs("jacobian"):
        assert layer[2] > 2 * layer[3] > 10 * layer[6] > 0
    assert all(layer[2] > layer[6] == 0 for layer in problem.costs("measured"))
    few, many = (problem.errors((bits,) * 3) for bits in (2, 6))
    assert problem.loss(few) > problem.loss(many)
    assert problem.interval(few, many) > problem.interval(many, many) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "bytes:0.5"], "--budget bytes: a detector has no weights; bops expected"),
        (["--budget", "bops:0.5", "--frames", "10"], "--frames is an option of an estimator; "),
        (["--budget", "bops:0.5", "--method", "repq"], "--method is an option of an estimator; "),
        (["--budget", "bops:0.5", "--score", "lrp"], "--score lrp: for a detector, jacobian or measured expected"),
        (["--budget", "bops:0.5", "--bits", "2", "9"], "activation_bits: one of 2, 3, 4, 5, 6, 7, 8 expected, got 9"),
        (["--budget", "bops:0.5", "--channels", "3"], "--channels 3: at least 20 expected"),
        (["--budget", "bops:0.5", "--set", "evaluation.snr_db=[10]"], "one SNR in evaluation.snr_db"),
    ],
)
def test_what_cannot_be_done_is_said(run, tmp_path, capsys, arguments, said):
    assert main(["allocate", run, "--output", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pgd8-16qam"], "pgd8-16qam: a PGD-Net; an ADMM-Net expected"),
        (["list8-16qam"], "list8-16qam: a list detector; an ADMM-Net expected"),
        (["measured-3x2-16qam"], "measured-3x2-16qam: channels are recorded; rayleigh expected"),
        (["finetune-measured-3x2-16qam"], "no detector finetuned-3x2-16qam-fp ships"),
        (["estimator", "--channels", "10"], "--channels is an option of a detector; estimator is an estimator"),
    ],
)
def test_other_networks_are_refused(tmp_path, capsys, arguments, said):
    assert main(["allocate", *arguments, "--budget", "bops:0.5", "--output", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
