# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons: what a YAML file asks for, what is shared, and that what is finished is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.training.detector.configs import small_config
from training.__main__ import main
from training.config import ROOT, ConfigError
from training.detector import compare

pytestmark = pytest.mark.training

COMPARISONS = ROOT / "training" / "detector" / "comparisons"


def small_comparison(tmp_path, **changes):
    base = {"kind": "detector", **small_config(sizes=((4, 4),)).to_dict()}
    base |= {"full_precision": {"iterations": 20, "learning_rate": 0.03}, "batch": [16, 2]}
    base |= {"quantized": {"iterations": 10, "learning_rate": 0.01}}
    base |= {"evaluation": {"snr_db": [12.0, 16.0], "min_errors": 50, "max_bits": 50_000}}
    document = {
        "kind": "comparison",
        "base": base,
        "seeds": [1, 2],
        "bits": [4],
        "methods": {
            "ptq": {"quantizer": {"step": "fixed", "law": "static", "start": "mse"}, "quantized.iterations": 0},
            "kaq": {},
            "no_mmd": {"only_bits": [2], "mmd.epsilon": 0},
        },
        **changes,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def command(path, output, *more):
    return main(["compare", str(path), "--output", str(output), "--jobs", "1", *more])


def times(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("result.json")}


@pytest.mark.parametrize("path", sorted(COMPARISONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_comparisons_load(path):
    comparison = compare.load(path)
    assert len({cell.name for cell in comparison.cells}) == len(comparison.cells)


def test_methods_differ_in_what_they_name():
    comparison = compare.load(COMPARISONS / "methods.yaml", ["base.quantized.iterations=50"])
    assert list(comparison.twins) == [1, 2, 3]
    cells = {(cell.method, cell.bits): cell.config for cell in comparison.cells if cell.seed == 2}
    assert cells["ptq_mse", 8].quantized.iterations == 0
    assert cells["kaq", 3].quantized.iterations == 50
    assert (cells["kaq", 3].activation_bits, cells["kaq", 3].matrix_bits, cells["kaq", 3].seed) == (3, 3, 2)
    assert ("kaq_no_mmd", 4) in cells and ("kaq_no_mmd", 8) not in cells
    kaq, ablated = cells["kaq", 4].to_dict(), cells["kaq_linear_mmd", 4].to_dict()
    assert {key for key in kaq if kaq[key] != ablated[key]} == {"name", "mmd"}


def test_a_comparison_is_done_once(tmp_path, capsys):
    path = small_comparison(tmp_path)
    assert command(path, tmp_path) == 0
    said = capsys.readouterr()
    assert "kaq-4bit-seed2: BER" in said.out
    assert "4 bits" in said.out and "2 bits" in said.out and "full_precision" in said.out
    cells = compare.results(tmp_path / "small")
    assert sorted((c["method"], c["bits"], c["seed"]) for c in cells) == [
        ("kaq", 4, 1), ("kaq", 4, 2), ("no_mmd", 2, 1), ("no_mmd", 2, 2), ("ptq", 4, 1), ("ptq", 4, 2)
    ]  # fmt: skip
    for cell in cells:
        assert [(r["detector"], r["snr_db"]) for r in cell["ber"]] == [
            ("quantized", 12.0), ("quantized", 16.0), ("lmmse", 12.0), ("full_precision", 12.0),
            ("lmmse", 16.0), ("full_precision", 16.0),
        ]  # fmt: skip
        assert len(cell["steps"]) == len(cell["bandwidths"]) == 3
        assert bool(cell["history"]) == (cell["method"] != "ptq")
        # the same transmissions within a seed
        assert len({r["bits"] for r in cell["ber"] if r["snr_db"] == 12.0}) == 1
    twins = {c["seed"]: [r for r in c["ber"] if r["detector"] == "full_precision"] for c in cells}
    assert all([r for r in c["ber"] if r["detector"] == "full_precision"] == twins[c["seed"]] for c in cells)

    before = times(tmp_path / "small")
    assert command(path, tmp_path) == 0
    assert times(tmp_path / "small") == before
    # one that is missing is done again, and gives the same
    lost = tmp_path / "small" / "cells" / "kaq-4bit-seed1"
    ber = json.loads((lost / "result.json").read_text())["ber"]
    for file in lost.iterdir():
        file.unlink()
    assert command(path, tmp_path) == 0
    after = times(tmp_path / "small")
    assert {p for p in after if after[p] != before[p]} == {lost / "result.json"}
    assert json.loads((lost / "result.json").read_text())["ber"] == ber
    # another evaluation measures again, without training
    trained = [(c["history"], c["steps"], c["seconds"]) for c in compare.results(tmp_path / "small")]
    assert command(path, tmp_path, "--set", "base.evaluation.snr_db=[12, 14]") == 0
    assert {r["snr_db"] for c in compare.results(tmp_path / "small") for r in c["ber"]} == {12, 14}
    assert [(c["history"], c["steps"], c["seconds"]) for c in compare.results(tmp_path / "small")] == trained

    capsys.readouterr()
    assert command(path, tmp_path, "--set", "base.quantized.iterations=5") == 2
    assert "--fresh" in capsys.readouterr().err
    assert command(path, tmp_path, "--set", "base.quantized.iterations=5", "--set", "seeds=[1]", "--fresh") == 0
    assert {cell["seed"] for cell in compare.results(tmp_path / "small")} == {1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"widths": [4]}, "widths"),
        ({"seeds": 1}, "key seeds"),
        ({"bits": []}, "key bits"),
        ({"bits": [9]}, "activation_bits"),
        ({"methods": {}}, "key methods"),
        ({"methods": {"a": 3}}, r"methods\.a"),
        ({"methods": {"a": {"mmd.epsilom": 1}}}, r"methods\.a.*mmd\.epsilom"),
        ({"methods": {"a": {"layers": 4}}}, r"methods\.a\.layers.*twin"),
        ({"methods": {"a": {"only_bits": 4}}}, r"methods\.a\.only_bits"),
    ],
)
def test_mistakes_name_the_key(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        compare.load(small_comparison(tmp_path, **changes))


def cell(quantized, twin, **more):
    def part(detector, rates):
        return [
            {"detector": detector, "snr_db": snr, "bit_errors": round(1e6 * rate), "bits": 10**6}
            for snr, rate in rates.items()
        ]

    lmmse = part("lmmse", dict.fromkeys(twin, 0.1))
    ber = part("quantized", quantized) + part("full_precision", twin) + lmmse
    return {"method": "kaq", "bits": 4, "seed": 1, "ber": ber, **more}


def test_loss_is_interpolated_in_the_logarithm():
    twin = {10.0: 1e-1, 20.0: 1e-3}  # 1e-2 at 15 dB
    late = cell({10.0: 1e-1, 20.0: 1e-2, 22.0: 1e-3}, twin)
    assert compare.loss_db(late) == pytest.approx(5.0)
    assert compare.loss_db(cell(twin, twin)) == pytest.approx(0.0)
    never = cell({10.0: 1e-1, 20.0: 2e-2}, twin, seed=2)
    assert compare.loss_db(never) is None
    assert "not reached by 1 of 1" in compare.table([never])
    other = cell({10.0: 1e-1, 20.0: 2e-3}, twin, seed=2)
    text = compare.table([cell(twin, twin), other])
    loss = compare.loss_db(other)
    assert f"{loss / 2:.2f} dB (0.00 to {loss:.2f}, 2 seeds)" in text
    assert "1.50e-03" in text  # mean of 1e-3 and 2e-3


def test_an_interrupt_leaves_what_the_same_command_goes_on_from(tmp_path):
    path = small_comparison(tmp_path, methods={"kaq": {}, "lsq": {"quantizer.step": "lsq"}}, seeds=[1])
    run = [sys.executable, "-m", "training", "compare", str(path), "--output", str(tmp_path), "--jobs", "2"]
    slow = [*run, "--set", "base.quantized.iterations=1000000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(slow, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            time.sleep(0.1)
            if len(list(tmp_path.glob("small/cells/*/checkpoint.pt"))) == 2:  # both workers have begun
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    assert len(list(tmp_path.glob("small/cells/*/checkpoint.pt"))) == 2
    assert not list(tmp_path.glob("small/cells/*/result.json"))
