# SPDX-License-Identifier: GPL-3.0-or-later
"""Training a list detector lowers its loss, and gives a file that gr_kaq loads."""

from __future__ import annotations

import json

import pytest
import yaml

from gr_kaq import ListDetector, load_detector
from gr_kaq.detection.model_file import load
from tests.training.detector.list_detector.configs import small_config
from training.__main__ import main
from training.config import ROOT, ConfigError, presets
from training.detector.list_detector.compare import configurations
from training.detector.list_detector.config import ListConfig, StepLaw
from training.detector.list_detector.train import ListRun, train

pytestmark = pytest.mark.training


def small_yaml(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"kind": "detector", **small_config().to_dict(), **changes}))
    return str(path)


def test_the_commands(tmp_path, capsys):
    source, runs, models = small_yaml(tmp_path), tmp_path / "runs", tmp_path / "models"
    assert main(["train", source, "--output", str(runs)]) == 0
    assert "small-fp" in capsys.readouterr().out
    summary = json.loads((runs / "small" / "summary.json").read_text())
    assert {r["detector"] for r in summary["ber"]} == {"lmmse", "small", "small-fp"}
    assert {h["stage"] for h in summary["history"]} == {"full_precision", "quantized"}
    by_name = {r["detector"]: r for r in summary["ber"] if r["num_tx"] == 2}
    assert by_name["small"]["information"] > by_name["lmmse"]["information"] + 0.02

    assert main(["export", str(runs / "small"), "--output", str(models)]) == 0
    model, twin = (load(models / f"{name}.kaq.json") for name in ("small", "small-fp"))
    assert (model.matrix_bits, twin.matrix_bits, model.snr_range_db) == (8, None, (8.0, 20.0))
    assert [m["channel"] for m in model.measured_ber] == [
        "iid rayleigh",
        "kronecker, exponential, correlation 0.5, half of the streams 10 dB weaker",
    ]
    assert all(m["lmmse_bit_errors"] > m["bit_errors"] for m in model.measured_ber)
    assert "step" in model.training and "step" not in twin.training
    assert isinstance(load_detector(models / "small.kaq.json", backend="reference"), ListDetector)


def test_a_run_that_is_not_finished_is_not_exported(tmp_path, capsys):
    small_config().save(tmp_path)
    assert main(["export", str(tmp_path)]) == 2
    assert "no summary.json, so this is no finished run; train it first" in capsys.readouterr().err


def test_training_lowers_the_loss_and_is_reproducible():
    runs = [ListRun.start(small_config(step=StepLaw(0.05, 0.02, "both"))) for _ in range(2)]
    for run in runs:
        train(run, progress=False)
    twin = [h["loss"] for h in runs[0].history if h["stage"] == "full_precision"]
    assert twin[-1] < twin[0]
    assert runs[0].history == runs[1].history
    assert runs[0].history[-1]["alpha"] != 0.05


def test_a_comparison(tmp_path, capsys):
    path = tmp_path / "steps.yaml"
    document = {
        "kind": "comparison",
        "base": {
            **small_config().to_dict(),
            "kind": "detector",
            "full_precision": {"iterations": 2, "learning_rate": 0.1},
        },
        "bits": [8, 4],
        "methods": {
            "ptq": {"quantized.iterations": 0},
            "kaq": {"step": {"alpha": 0.05, "gamma": 0.2, "train": "both"}},
        },
    }
    path.write_text(yaml.safe_dump(document))
    assert main(["compare", str(path), "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "kaq-4bit: step" in said and "full-precision" in said
    results = json.loads((tmp_path / "steps" / "results.json").read_text())
    assert {r["detector"] for r in results} >= {"lmmse", "full-precision", "ptq-8bit", "kaq-4bit"}
    assert main(["compare", str(path), "--output", str(tmp_path), "--cluster", "tcp://nowhere:1"]) == 2
    assert "compares list detectors, which takes minutes of this process" in capsys.readouterr().err
    document["methods"]["kaq"] = {"survivors": 16}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"key methods.kaq.survivors: one of mmd, quantized, step expected"):
        configurations(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"survivors": 4}, "key survivors"),
        ({"layers": 5}, "key layers"),
        ({"matrix_bits": 17}, "key matrix_bits"),
        ({"knots": [4.0, 1.0]}, "key knots: ascending"),
        ({"groups": [2, 4]}, "key groups: up to the largest"),
        ({"conditions": []}, "key conditions"),
        ({"conditions": [{"size": [4, 4], "snr_db": [20.0, 10.0]}]}, "key conditions.snr_db"),
        ({"correlation": 1.0}, "key correlation"),
        ({"step": {"train": "all"}}, "key step.train"),
        ({"activation_bits": 8}, "key activation_bits: unknown"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        ListConfig.load(small_yaml(tmp_path, **changes))


def test_the_shipped_comparison_loads():
    cells = configurations(ROOT / "training" / "detector" / "comparisons" / "list-steps.yaml")
    assert len({config.name for config in cells}) == len(cells) == 9


@pytest.mark.parametrize("name", [name for name in presets()["detector"] if name.startswith("list")])
def test_presets_load(name):
    assert ListConfig.load(name).name == name
