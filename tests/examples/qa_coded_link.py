# SPDX-License-Identifier: GPL-3.0-or-later
"""The coded link as a user runs it. GNU Radio's own decoder is the judge of the LLRs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gr_kaq.signals.constellation import CONSTELLATIONS, constellation_named

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "coded_link.py"
sys.path.insert(0, str(EXAMPLES))
from coded_link import CodedLink

TIMEOUT_S = 300


def run(*arguments, expect=0):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_a_decoder_loses_fewer_blocks_with_the_trained_detector(tmp_path):
    """At 14 dB LMMSE loses about half of the blocks, and the network one in a hundred."""
    picture = tmp_path / "new" / "picture.png"
    done = run("--snr", 14, "--frames", 8, "--output", picture)
    rows = dict(re.findall(r"^\s+14 dB\s+(\S+)\s+(\S+)", done.stdout, re.MULTILINE))
    assert done.stdout.count("of 128 blocks") == 2
    assert float(rows["lmmse"]) > 0.3
    assert float(rows["auto"]) < 0.1
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("constellation", CONSTELLATIONS)
def test_every_block_comes_back_at_high_snr(constellation):
    """Bits and streams stay in order, the flowgraph ends by itself and loses nothing at its end."""
    flowgraph = CodedLink(["lmmse", "zf"], constellation_named(constellation), 8, 4, 40.0, frames=3, seed=1)
    thread = threading.Thread(target=flowgraph.run, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"
    assert [(count.errors, count.bits) for count in flowgraph.block_errors()] == [(0, 12), (0, 12)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nope"), "no detector 'nope'"),
        (("--snr", "1000"), "snr_db is 1000"),
        (("--model", "admm5-16qam", "--num-tx", "17"), "num_tx=17"),
        (("--model", "admm5-16qam", "--constellation", "qpsk"), "is for 16qam"),
        (("--frames", "0"), "at least 1"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments, message):
    done = run(*arguments, expect=2)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help():
    assert "--frames" in run("--help").stdout
