# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands on detectors do what they say; an interrupt leaves a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from gr_kaq import load_detector
from gr_kaq.detection.model_file import load
from tests.training.detector.configs import small_config
from training.__main__ import main
from training.config import ROOT
from training.detector.train import CHECKPOINT

pytestmark = pytest.mark.training


def small_yaml(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"kind": "detector", **small_config().to_dict(), **changes}))
    return str(path)


def test_the_commands(tmp_path, capsys):
    runs, run, models = tmp_path / "runs", tmp_path / "runs" / "small", tmp_path / "models"
    source = small_yaml(tmp_path)
    assert main(["train", source, "--output", str(runs)]) == 0
    assert "small-fp" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seed"] == 1 and summary["history"]
    assert {r["detector"] for r in summary["ber"]} == {"lmmse", "small", "small-fp"}
    assert all(r["bit_errors"] >= 10 for r in summary["ber"])
    assert (run / "summary.png").stat().st_size > 10_000

    assert main(["export", str(run), "--output", str(models)]) == 0
    model, twin = (load(models / f"{name}.kaq.json") for name in ("small", "small-fp"))
    assert model.quantized and not twin.quantized
    assert [m["snr_db"] for m in model.measured_ber] == [15.0, 15.0]  # two sizes
    assert model.training["seed"] == 1 and "mmd" in model.training and "mmd" not in twin.training
    assert load_detector(models / "small.kaq.json", backend="reference").constellation.name == "16qam"

    assert main(["train", source, "--output", str(runs), "--set", "seed=2"]) == 2
    assert "--fresh" in capsys.readouterr().err
    assert main(["train", source, "--output", str(runs), "--set", "seed=2", "--fresh"]) == 0


def test_a_run_that_is_not_finished_is_not_exported(tmp_path, capsys):
    small_config().save(tmp_path)
    assert main(["export", str(tmp_path)]) == 2
    assert "no summary.json, so this is no finished run; train it first" in capsys.readouterr().err


@pytest.mark.usefixtures("control_c")
def test_an_interrupt_leaves_a_checkpoint(tmp_path):
    source = small_yaml(tmp_path, full_precision={"iterations": 10**6, "learning_rate": 0.01})
    command = [sys.executable, "-m", "training", "train", source, "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            time.sleep(0.1)
            if (tmp_path / "small" / "config.yaml").exists():
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    state = torch.load(tmp_path / "small" / CHECKPOINT, weights_only=True)
    assert state["iteration"] > 0
