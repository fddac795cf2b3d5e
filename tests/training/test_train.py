# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: it learns, it resumes bit for bit, and the commands do what they say."""

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
from gr_kaq.model_file import load
from tests.training.configs import small_config
from training.__main__ import main
from training.config import ROOT, Channel, ConfigError, Mmd, Stage
from training.train import CHECKPOINT, Run, learning_rate, symbol_loss, train

pytestmark = pytest.mark.training


def finish(run, directory):
    train(run, directory)
    return run


def assert_same_run(a, b):
    assert a.history == b.history
    assert torch.equal(a.generator.get_state(), b.generator.get_state())
    for one, other in ((a.twin, b.twin), (a.network, b.network), (a.mmd, b.mmd)):
        for (name, x), (_, y) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
            assert torch.equal(x, y), name


@pytest.mark.parametrize("interrupted_after", [7, 30, 43])
def test_resuming_is_bit_identical(tmp_path, interrupted_after):
    config = small_config()
    whole = finish(Run.start(config), tmp_path / "whole")
    run = Run.start(config)
    for _ in range(interrupted_after):
        if run.stage == 0 and run.iteration == config.full_precision.iterations:
            run.begin_stage(1)
        run.step()
    run.save(tmp_path / "parts")
    assert_same_run(whole, finish(Run.resume(tmp_path / "parts", config), tmp_path / "parts"))


def test_the_seed_decides(tmp_path):
    runs = [finish(Run.start(small_config(seed=seed)), tmp_path / str(i)) for i, seed in enumerate((1, 1, 2))]
    assert_same_run(runs[0], runs[1])
    assert runs[0].history != runs[2].history


def test_another_configuration_does_not_resume(tmp_path):
    Run.start(small_config()).save(tmp_path)
    with pytest.raises(ConfigError, match=r"seed.*--fresh"):
        Run.resume(tmp_path, small_config(seed=9))


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "pgd", "sizes": ((8, 2),)},
        {"network": "pgd", "proximal": "soft_threshold", "laws": "static", "step_law": "static"},
        {"channel": Channel("kronecker", 0.7), "mmd": Mmd(1.0, "fixed"), "activation_bits": 4, "matrix_bits": 4},
        {"constellation": "qpsk", "mmd": Mmd(0.1, "descent"), "activation_bits": 2},
    ],
)
def test_every_kind_of_run_trains(tmp_path, changes):
    run = finish(Run.start(small_config(**changes)), tmp_path)
    last = run.history[-1]
    assert last["stage"] == "quantized" and last["mse"] > 0 and last["mmd"] > 0
    first = run.history[0]
    assert last["mse"] < 2 * first["mse"]


def test_training_lowers_the_loss(tmp_path):
    config = small_config(sizes=((16, 16),), snr_db=(16.0, 22.0), full_precision=Stage(100, 0.03))
    run = Run.start(config)
    batches = [run.draw() for _ in range(10)]

    def loss(network):
        with torch.no_grad():
            return sum(float(symbol_loss(config, batch, network(batch))) for batch in batches)

    before = loss(run.twin)
    train(run, tmp_path)
    assert loss(run.twin) < 0.9 * before
    assert loss(run.network) < 0.9 * before


def test_learning_rates():
    halving = Stage(50, 1e-3, halve_every=10)
    assert [learning_rate(halving, i) for i in (0, 9, 10, 49)] == [1e-3, 1e-3, 5e-4, 1e-3 / 16]
    cosine = Stage(50, 1e-3)
    assert learning_rate(cosine, 0) == 1e-3
    assert learning_rate(cosine, 25) == pytest.approx(5e-4)


def small_yaml(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**small_config().to_dict(), **changes}))
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
    assert main(["presets"]) == 0
    assert "paper" in capsys.readouterr().out


def test_errors_are_said_in_one_line(tmp_path, capsys):
    assert main(["train", "no-such-preset"]) == 2
    assert main(["export", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)


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
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    state = torch.load(tmp_path / "small" / CHECKPOINT, weights_only=True)
    assert state["iteration"] > 0
