# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons: what is shared, and that what is finished is not done again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.dask_processes import DaskProcesses
from tests.training.detector.configs import small_comparison
from training.__main__ import main
from training.config import ROOT
from training.detector import compare

pytestmark = pytest.mark.training


def command(path, output, *more):
    return main(["compare", str(path), "--output", str(output), "--jobs", "1", *more])


def times(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("result.json")}


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


@contextlib.contextmanager
def long_comparison(tmp_path):
    """A comparison in a process of its own, whose two workers have begun and would train for days."""
    path = small_comparison(tmp_path, methods={"kaq": {}, "lsq": {"quantizer.step": "lsq"}}, seeds=[1])
    run = [sys.executable, "-m", "training", "compare", str(path), "--output", str(tmp_path), "--jobs", "2"]
    slow = [*run, "--set", "base.quantized.iterations=1000000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(slow, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("small/cells/*/checkpoint.pt"))) == 2)
        time.sleep(1.0)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def workers_of(process):
    """Processes that a process has started, but for the one that keeps track of their resources."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    with long_comparison(tmp_path) as process:
        workers = workers_of(process)
        assert len(workers) == 2
        process.kill()
        process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@pytest.mark.usefixtures("control_c")
def test_an_interrupt_leaves_what_the_same_command_goes_on_from(tmp_path):
    with long_comparison(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    assert len(list(tmp_path.glob("small/cells/*/checkpoint.pt"))) == 2
    assert not list(tmp_path.glob("small/cells/*/result.json"))


def test_an_interrupt_shows_what_is_finished(tmp_path, capsys, monkeypatch):
    real, calls = compare.evaluate.measure_again, []

    def interrupted(*given):
        if calls:
            raise KeyboardInterrupt
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(compare.evaluate, "measure_again", interrupted)
    path = small_comparison(tmp_path, seeds=[1])
    assert command(path, tmp_path) == 130
    said = capsys.readouterr()
    (finished,) = compare.results(tmp_path / "small")
    assert f"{finished['bits']} bits: BER at SNR" in said.out and f"  {finished['method']} " in said.out
    assert "the same command goes on from what is in" in said.err


def test_a_cluster_gives_the_same(tmp_path):
    """Workers of a scheduler, in a folder that they share."""
    pytest.importorskip("distributed", reason="Dask is not installed (requirements-dev.txt)")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    settings = {"methods": {"kaq": {}}, "seeds": [1, 2]}
    assert command(small_comparison(here, **settings), here) == 0
    with DaskProcesses(tmp_path) as dask:
        for _ in range(2):
            dask.worker()
        path = small_comparison(there, **settings)
        assert command(path, there, "--cluster", dask.address) == 0
    cells = [compare.results(folder / "small") for folder in (here, there)]
    keys = ("method", "bits", "seed", "config", "ber", "steps", "history")
    assert [[c[key] for key in keys] for c in cells[0]] == [[c[key] for key in keys] for c in cells[1]]
    assert len(cells[0]) == 2
