# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands on learned estimators do what they say."""

from __future__ import annotations

import json

import pytest

from gr_kaq.estimation.learned import LearnedEstimator
from training.__main__ import main
from training.estimator import evaluate
from training.estimator.compare import METHODS
from training.estimator.config import Config

pytestmark = pytest.mark.training


def test_train_and_export_end_in_files_that_run(tmp_path, capsys):
    keys = {
        "frames": 20,
        "held_out": 10,
        "batch": 16,
        "full_precision.iterations": 3,
        "quantized.iterations": 2,
        "network.width": 16,
        "network.hidden": 16,
        "data.fft_sizes": "[64]",
    }
    overrides = [f"--set={key}={value}" for key, value in keys.items()]
    assert main(["train", "estimator", "--output", str(tmp_path), *overrides]) == 0
    assert main(["export", str(tmp_path / "estimator")]) == 0
    for name in ("estimator", "estimator-fp"):
        estimator = LearnedEstimator(tmp_path / "estimator" / f"{name}.onnx")
        assert estimator.name == name
        assert json.loads(estimator.metadata["training"])["frames"] == 20
        mse = json.loads(estimator.metadata["mse"])["db"]
        assert mse["ls"] > 3 > mse["estimator"]
    assert "relative to LMMSE" in capsys.readouterr().out

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: kaq estimator -->\nold\n<!-- end: kaq estimator -->\nafter\n")
    run = str(tmp_path / "estimator")
    assert main(["compare", run, "--iterations", "1", "--seeds", "1", "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert all(f"| {method} | " in text for method in METHODS)
    cells = json.loads((tmp_path / "estimator" / "compare.json").read_text())["cells"]
    assert {(cell["method"], cell["bits"]) for cell in cells} == {(m, bits) for m in METHODS for bits in (8, 4)}


def test_evaluate_measures_what_ships_and_fills_the_page(tmp_path, monkeypatch):
    for name, value in {
        "SNR_DB": (10.0,),
        "DOPPLER_HZ": (400.0,),
        "DELAY_SPREAD_NS": (100.0,),
        "REPETITIONS": 2,
    }.items():
        monkeypatch.setattr(evaluate, name, value)
    monkeypatch.setattr(evaluate, "OTHERS_AT", [(10.0, 400.0, 100.0)])
    page = tmp_path / "page.md"
    blocks = ("summary", "mse", "others", "speed")
    page.write_text("".join(f"<!-- begin: {name} -->\n<!-- end: {name} -->\n" for name in blocks))
    assert main(["evaluate", "--frames", "6", "--page", str(page)]) == 0
    text = page.read_text()
    assert "| 100 | 400 | 10 | " in text and "256 carriers" in text and "us |" in text
    assert (tmp_path / "page" / "mse.png").stat().st_size > 10_000
    cells = json.loads((tmp_path / "page" / "mse.json").read_text())["cells"]
    assert len(cells) == 1 + len(evaluate.OTHERS)
    for cell in cells:
        mse = cell["mse"]
        assert mse["genie"] < mse["lmmse"] < mse["ls"]
        low, high = cell["over_lmmse"]["estimator"]
        assert low <= mse["lmmse"] - mse["estimator"] <= high  # 0 where the estimator keeps out


def test_export_of_no_finished_run_is_a_clear_error(tmp_path, capsys):
    Config.load("estimator").save(tmp_path)
    assert main(["export", str(tmp_path)]) == 2
    assert "train it first" in capsys.readouterr().err
