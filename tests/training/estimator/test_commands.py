# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands on learned estimators do what they say."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from gr_kaq.commands.kaq import main as kaq
from gr_kaq.estimation.learned import LearnedEstimator
from training.__main__ import main
from training.estimator import compare, evaluate
from training.estimator.allocate import SCORES
from training.estimator.compare import METHODS
from training.estimator.config import Config, Data, Network
from training.estimator.sources import load_twin
from training.estimator.train import quantize, train_twin, training_windows
from training.optimization import Stage

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

    stored = torch.load(tmp_path / "estimator" / "estimator.pt", weights_only=True)
    assert main(["train", "estimator", "--output", str(tmp_path), *overrides]) == 0  # from its checkpoints
    again = torch.load(tmp_path / "estimator" / "estimator.pt", weights_only=True)
    assert all(torch.equal(value, again["network"][key]) for key, value in stored["network"].items())
    assert main(["train", "estimator", "--output", str(tmp_path), *overrides, "--set=seed=2"]) == 2
    assert "differs in: seed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a small network."""
    config = dataclasses.replace(
        Config.load("estimator"),
        name="small",
        frames=80,
        held_out=10,
        batch=64,
        full_precision=Stage(3, 0.003),
        quantized=Stage(1, 0.001),
        data=Data(num_rx=(2,), num_tx=(2,), fft_sizes=(64,)),
        network=Network(width=16, hidden=16, heads=2),
    )
    directory = tmp_path_factory.mktemp("runs") / "small"
    directory.mkdir()
    config.save(directory)
    data = training_windows(config, progress=False)
    twin, _ = train_twin(config, data, progress=False)
    network, _ = quantize(config, data, twin, progress=False)
    torch.save({"twin": twin.state_dict(), "network": network.state_dict()}, directory / "estimator.pt")
    return str(directory)


SMALL = ["--frames", "80"]


def test_compare_does_what_is_missing(run, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: methods small -->\nold\n<!-- end: methods small -->\nafter\n")
    command = ["compare", run, "--output", str(tmp_path), "--seeds", "1", "--jobs", "1", *SMALL]
    assert main([*command, "--bits", "4", "--iterations", "1", "--page", str(page)]) == 0
    beside = json.loads((tmp_path / "page" / "methods.json").read_text())
    assert [cell["method"] for cell in beside["small"]] == list(METHODS)
    assert (tmp_path / "page" / "losses-small.png").exists()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert all(f"| {method} | " in text for method in METHODS)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "small").glob("*.json")}
    assert len(times) == len(METHODS)
    assert main([*command, "--bits", "4", "3", "--iterations", "0"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    calibrated = [name for name, method in METHODS.items() if not method.trains]
    assert len(list((tmp_path / "small").glob("*-3bit-*.json"))) == len(calibrated)
    assert (tmp_path / "small" / "losses.png").stat().st_size > 10_000
    capsys.readouterr()
    assert main([*command, "--bits", "5"]) == 2
    assert "--bits 5: some of 8, 6, 4, 3 expected" in capsys.readouterr().err


def test_compare_gives_the_same_in_other_processes(run, tmp_path):
    command = ["compare", run, "--bits", "4", "--seeds", "2", "--iterations", "1", *SMALL]
    found = []
    for jobs in ("1", "2"):
        assert main([*command, "--jobs", jobs, "--output", str(tmp_path / jobs)]) == 0
        found.append({path.name: path.read_text() for path in (tmp_path / jobs / "small").glob("*.json")})
    assert found[0] == found[1] and len(found[0]) > len(METHODS)


def test_an_interrupted_comparison_shows_what_is_finished(run, tmp_path, capsys, monkeypatch):
    real, calls = compare.quantize, []

    def interrupted(*given, **named):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(given)
        return real(*given, **named)

    monkeypatch.setattr(compare, "quantize", interrupted)
    command = ["compare", run, "--bits", "4", "--iterations", "0", "--jobs", "1", "--output", str(tmp_path), *SMALL]
    assert main(command) == 130
    said = capsys.readouterr()
    done = list(METHODS)[:2]
    assert [name for name in METHODS if f"| {name} | " in said.out] == done
    assert f"the same command goes on from what is in {tmp_path}" in said.err
    monkeypatch.undo()
    assert main(command) == 0
    assert len(calls) == len(done)


@pytest.mark.parametrize("method", ["mse", "repq", "repq-all", "mergequant"])
def test_quantize_and_export_end_in_a_file_that_runs(method, run, tmp_path, capsys):
    command = ["quantize", run, "--method", method, "--bits", "4", "--output", str(tmp_path), "--name", "own", *SMALL]
    assert main([*command, "--iterations", "2"]) == 0
    assert main([*command, "--iterations", "2"]) == 0  # finished; nothing is trained again
    assert main(["export", str(tmp_path / "own")]) == 0
    estimator = LearnedEstimator(tmp_path / "own" / "own.onnx")
    assert "INT4" in estimator.metadata["description"]
    capsys.readouterr()
    assert kaq(["info", str(tmp_path / "own" / "own.onnx")]) == 0
    card = capsys.readouterr().out
    assert f"Quantized by {method}, with a static step" in card
    assert "| layers.0.contract | 4 | 4 | 0.0 to " in card


def test_a_fold_adds_no_operator_but_what_stands_for_missing_norms(run, tmp_path):
    """RepQ-ViT: none at all. Of every product: a multiplication by constants in front of two of six."""
    counts = {}
    for method in ("mse", "repq", "repq-all"):
        quantizer = ["--method", method, "--bits", "4", "--output", str(tmp_path), "--name", method]
        assert main(["quantize", run, *quantizer, *SMALL]) == 0
        assert main(["export", str(tmp_path / method)]) == 0
        document = onnx.load(tmp_path / method / f"{method}.onnx")
        counts[method] = Counter(node.op_type for node in document.graph.node)
    assert counts["mse"]["Clip"] == 6 + 1, "of the activations, explicitly, and of the steps"
    assert counts["repq"] == counts["mse"]
    assert counts["repq-all"] - counts["mse"] == Counter({"Mul": 2})


def test_losses_are_of_each_product_and_the_page_gets_them(run, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: products small -->\n<!-- end: products small -->\n")
    command = ["losses", run, "--method", "repq-all", "--output", str(tmp_path), "--page", str(page), *SMALL]
    assert main(command) == 0
    assert "| layers.0.project | norm | " in page.read_text()
    assert "| attention's weights, log-sqrt2 | softmax | " in page.read_text()
    found = json.loads((tmp_path / "small" / "products-repq-all-4bit.json").read_text())
    assert [entry["product"] for entry in found["losses"]][-1] == "all"
    assert {entry["feed"] for entry in found["ranges"]} == {"constant", "norm", "rows"}
    assert (tmp_path / "small" / "ranges-repq-all-4bit.png").stat().st_size > 10_000


def test_allocate_keeps_the_budget(run, tmp_path, capsys):
    command = ["allocate", run, "--output", str(tmp_path), *SMALL]
    assert main([*command, "--budget", "bops:0.5", "--bits", "4", "8"]) == 0
    found = json.loads((tmp_path / "small" / "allocate-bops.json").read_text())
    assert set(found["chosen"]) == {4, 8}
    widths = [str(width) for width in found["chosen"]]
    assert main(["quantize", run, "--output", str(tmp_path), "--name", "mixed", *SMALL, "--widths", *widths]) == 0
    capsys.readouterr()
    assert main([*command, "--budget", "bops:0.2"]) == 2
    assert "the least that an allocation of [4, 8] bits takes is" in capsys.readouterr().err
    assert main(["quantize", run, "--output", str(tmp_path), *SMALL, "--widths", "4", "8"]) == 2
    assert "quantizer.widths: 6 expected, one of each product, got 2" in capsys.readouterr().err


def test_the_truth_is_measured_once(run, tmp_path, capsys):
    command = ["allocate", run, "--output", str(tmp_path), "--budget", "bytes:0.6", "--truth", *SMALL]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: regret small bytes -->\n<!-- end: regret small bytes -->\n")
    assert main([*command, "--page", str(page)]) == 0
    assert all(f"| {score} | " in page.read_text() for score in SCORES)
    stored = tmp_path / "small" / "allocations-mse-48.json"
    document = json.loads(stored.read_text())
    assert len(document["measured"]) == 64
    document["measured"] = dict.fromkeys(document["measured"], 1.0)
    stored.write_text(json.dumps(document))
    assert main(command) == 0
    regrets = json.loads((tmp_path / "small" / "allocate-bytes.json").read_text())["regrets"]
    assert all(entry["largest"] == 0 for entry in regrets.values()), "what was measured is not measured again"
    capsys.readouterr()
    frames = command.index("--frames") + 1
    assert main([*command[:frames], str(int(command[frames]) + 1), *command[frames + 1 :]]) == 2
    assert "holds allocations of something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quantize", "no-such-network"], "directory of a finished run, or one of estimator, "),
        (["quantize", "estimator", "--bits", "9"], "one of 2, 3, 4, 5, 6, 7, 8 expected, got 9"),
        (["quantize", "estimator", "--strength", "2"], "strength: 0 to 1 expected, got 2.0"),
        (["allocate", "estimator", "--budget", "half"], "--budget half: bops or bytes, a colon and a share"),
        (
            ["allocate", "estimator-published", "--budget", "bops:0.5", "--truth"],
            "at most 4096 are measured one by one",
        ),
        (["allocate", "estimator", "--budget", "bops:0.5", "--bits", "1", "8"], "expected, got 1"),
        (["quantize", "estimator", "--frames", "0"], "--frames is 0; at least 1 expected"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(arguments, said, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_a_shipped_file_gives_its_network_back():
    config, twin = load_twin("estimator")
    assert config.name == "estimator"
    ls, lmmse = torch.randn(6, 52, 3), torch.randn(6, 52, 14)
    statistics = torch.tensor([[30.0, 0.004, 0.02]])
    with torch.no_grad():
        found = twin(ls, lmmse, statistics.repeat(6, 1))[0].numpy()
    expected = LearnedEstimator("estimator-fp").refine(ls.numpy(), lmmse.numpy(), statistics[0].numpy())
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["estimator-ls", "estimator-published"])
def test_stored_weights_are_of_the_configuration_of_their_name(name):
    config, twin = load_twin(name)
    assert config.name == name and bool(twin.output.weight.any())


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
