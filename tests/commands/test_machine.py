# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands about this machine: doctor, bench, demo, serve, completion; and what was meant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from gr_kaq.commands.demo import examples_folder
from gr_kaq.commands.doctor import findings
from gr_kaq.commands.kaq import main
from gr_kaq.detection.choice import choose


def test_doctor_finds_this_build_well(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "GNU Radio Companion finds the blocks" in printed and "compiled code" in printed
    assert all(finding.cure for finding in findings() if finding.state == "fault")


def test_doctor_names_what_is_wrong_and_its_cure(monkeypatch, capsys):
    monkeypatch.setenv("GR_KAQ_INSTRUCTION_SET", "sse9")
    monkeypatch.delenv("GRC_BLOCKS_PATH", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("fault"))
    assert "sse9" in lines[at + 1]


def test_bench_measures_what_fits_and_advises(capsys):
    assert main(["bench", "4x4", "--seconds", "0", "--constellation", "qpsk", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert {"lmmse", "admm5-qpsk", "list8-qpsk"} <= set(known["vectors_per_second"])
    assert all(speed > 0 for speed in known["vectors_per_second"].values())
    assert main(["bench", "64x16", "--seconds", "0", "--rate", "1"]) == 0
    best = choose("auto", "16qam", 64, 16).detector
    assert f"Take {best}: one core detects" in capsys.readouterr().out
    assert main(["bench", "2x2", "--seconds", "0", "--rate", "1e15"]) == 0
    assert "too slow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["modles"], "models"), (["bench", "2x2", "--constellation", "16qm"], "16qam"), (["completion", "bsh"], "bash")],
)
def test_what_was_meant(words, meant, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and f"did you mean {meant}?" in capsys.readouterr().err


def test_demo_runs_from_the_examples(tmp_path):
    assert (examples_folder() / "link_comparison.py").exists()
    command = [sys.executable, "-B", "-m", "gr_kaq", "demo", "--output", str(tmp_path), "--target-errors", "1"]
    done = subprocess.run([*command, "--max-bits", "2000"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo.png").exists() and "measured 3x2 channels" in done.stdout


@pytest.mark.parametrize("llrs", [False, True])
def test_serve_detects_what_a_testbed_sends(llrs, tmp_path, control_c):
    """Symbols for the consumer that counts errors; or LLRs."""
    addresses = [f"ipc://{tmp_path}/{name}" for name in ("source", "sink")]
    python = [sys.executable, "-B", "-m"]
    link = ["--num-tx", "2", "--num-subcarriers", "4", "--estimates", "20"]
    serve = [*python, "gr_kaq", "serve", "3x2", "--num-subcarriers", "4", "--source", addresses[0]]
    serve += ["--sink", addresses[1], *(["--llrs"] if llrs else [])]
    produce = [*python, "gr_kaq.testbed", "produce", "--num-rx", "3", *link, "--address", addresses[0]]
    consume = [*python, "gr_kaq.testbed", "consume", *link, "--address", addresses[1]]
    if llrs:
        program = "from gr_kaq.testbed import Consumer\nimport numpy as np\n"
        program += f"with Consumer(2, 16, dtype=np.float32, address={addresses[1]!r}) as consumer:\n"
        program += (
            "    total = 0\n    while total < 2000:\n        total += len(consumer.receive().items)\nprint('BER')"
        )
        consume = [sys.executable, "-B", "-c", program]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None and "3x2" in server.stdout.readline()
            with subprocess.Popen(produce, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                done = subprocess.run(consume, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0 and "BER" in done.stdout, done.stderr
        finally:
            server.send_signal(signal.SIGINT)
        assert "2000 items, 20 estimates, 0 rejected, 0 items without an estimate" in server.stdout.read()


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_commands(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    assert "doctor" in capsys.readouterr().out
