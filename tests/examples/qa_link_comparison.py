# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison examples, run as a user runs them: scripts, demo, and the flowgraphs that GRC shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SUMMARY = """
import json, sys, time
from PyQt5 import Qt
sys.path.insert(0, sys.argv[1])
import {name}_flowgraph
app = Qt.QApplication(sys.argv)
flowgraph = {name}_flowgraph.{name}_flowgraph()
flowgraph.set_item_rate(1e6)
flowgraph.start()
deadline = time.monotonic() + 300
meters = [getattr(flowgraph, f"kaq_ber_meter_{i}") for i in range(3)]
while min(meter.bit_errors() for meter in meters) < 2000:
    assert time.monotonic() < deadline, "too few errors"
    time.sleep(0.1)
rates = [meter.ber() for meter in meters]
bits = flowgraph.kaq_ber_meter_0.bits()
flowgraph.set_snr_db(30.0)
assert flowgraph.kaq_ber_meter_0.bits() < bits and flowgraph.kaq_channel_simulator_0.snr_db() == 30.0
flowgraph.stop()
flowgraph.wait()
print(json.dumps(rates))
"""


def run(*command, expect=0, timeout=300):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "QT_QPA_PLATFORM": "offscreen",
        "MPLBACKEND": "Agg",
    }
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def rates(output):
    """detector -> BER of the last SNR in a printed table."""
    rows = re.findall(r"^\s+[\d.]+ dB\s+(\S+)\s+(\S+)", output, re.MULTILINE)
    assert rows, output
    return {name: float(rate) for name, rate in rows}


@pytest.mark.parametrize(
    ("script", "detectors"),
    [
        ("simulated_channel", ("lmmse", "admm5-16qam-fp", "admm5-16qam")),
        ("measured_channel", ("lmmse", "measured-3x2-16qam-fp", "measured-3x2-16qam")),
    ],
)
def test_headless_scripts(tmp_path, script, detectors):
    """A table with the expected order of detectors, and a picture."""
    picture = tmp_path / "new" / "picture.png"
    done = run(sys.executable, EXAMPLES / f"{script}.py", "--snr", 18, "--detectors", *detectors, "--output", picture)
    rate = rates(done.stdout)
    lmmse, full, quantized = (rate[name] for name in detectors)
    assert quantized < 0.9 * lmmse
    assert quantized == pytest.approx(full, rel=0.2)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("constellation", "detectors"), [("64qam", {"lmmse", "admm5-64qam", "auto"}), ("256qam", {"lmmse", "auto"})]
)
def test_detectors_follow_the_constellation(constellation, detectors):
    command = [EXAMPLES / "simulated_channel.py", "--constellation", constellation, "--num-rx", 4, "--num-tx", 4]
    assert set(rates(run(sys.executable, *command, "--snr", 10, "--target-errors", 50).stdout)) == detectors


@pytest.mark.parametrize("script", ["simulated_channel", "measured_channel", "demo"])
def test_help(script):
    assert "--target-errors" in run(sys.executable, EXAMPLES / f"{script}.py", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detectors", "nope"), "no detector 'nope'"),
        (("--snr", "1000"), "snr_db is 1000"),
        (("--detectors", "admm5-16qam", "--num-rx", "8"), "num_rx=8, num_tx=16"),
        (("--target-errors", "0"), "at least 1"),
        (("--constellation", "8psk"), "8psk"),
        (("--correlation", "1"), "correlation is 1"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments, message):
    done = run(sys.executable, EXAMPLES / "simulated_channel.py", *arguments, expect=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_that_is_none(tmp_path):
    path = tmp_path / "noise.npz"
    path.write_bytes(b"noise")
    done = run(sys.executable, EXAMPLES / "measured_channel.py", "--recording", path, expect=2)
    assert "noise.npz" in done.stderr and "Traceback" not in done.stderr


def test_demo(tmp_path):
    """All that `make demo` shows, with fewer errors."""
    run(sys.executable, EXAMPLES / "demo.py", "--output", tmp_path, "--target-errors", 30, "--max-bits", 300_000)
    results = json.loads((tmp_path / "demo.json").read_text())
    assert set(results) == {"measured_channel", "simulated_channel"}
    assert {r["detector"] for r in results["simulated_channel"]} == {"lmmse", "admm5-16qam", "auto"}
    assert all(r["vectors_per_second"] > 0 and r["bits"] > 0 for rows in results.values() for r in rows)
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("control_c")
def test_an_interrupted_demo_keeps_what_is_there(tmp_path):
    """Rows come as they are measured, without a carriage return where there is no terminal."""
    command = [sys.executable, EXAMPLES / "demo.py", "--output", tmp_path, "--max-bits", "40000000"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MPLBACKEND": "Agg"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([str(part) for part in command], env=environment, **pipes) as process:
        head = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "\r" not in err and "Traceback" not in err
    assert "16x16" in head[0] and "10 dB  lmmse" in head[2] and "picture: " in out
    written = json.loads((tmp_path / "demo.json").read_text())["simulated_channel"]
    assert [row["detector"] for row in written][:3] == ["lmmse", "admm5-16qam", "auto"]


@pytest.mark.parametrize("name", ["simulated_channel", "measured_channel"])
def test_grc_flowgraphs(tmp_path, name):
    """They compile with grcc and run, callbacks included; the window is drawn off screen."""
    run("grcc", "-o", tmp_path, EXAMPLES / f"{name}.grc")
    done = run(sys.executable, "-c", SUMMARY.replace("{name}", name), tmp_path)
    rates = json.loads(done.stdout.splitlines()[-1])
    if name == "simulated_channel":
        lmmse, unfolded, best = rates
        assert best < 0.5 * unfolded < 0.45 * lmmse
    else:
        lmmse, full, quantized = rates
        assert quantized < 0.9 * lmmse
        assert quantized == pytest.approx(full, rel=0.3)  # the meters were not read at the same item
