# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's speed: a line for each combination, and clear errors."""

import re
import subprocess
import sys

import pytest


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.receiver_speed", "--num-tx", "1", "--runs", "1", "--seconds", "0.1"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_every_combination_gets_a_line():
    done = run("--detectors", "lmmse", "--estimators", "ls", "lmmse+data")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^lmmse +(\S+) +([\d.]+) \[", done.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == ["ls", "lmmse+data"]
    assert all(float(rate) > 0 for _, rate in rows)
    assert len(re.findall(r"; \d+ MiB$", done.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--runs", "0"], "--runs has to be at least 1"),
        (["--estimators", "no-such"], "no-such"),
        (["--fft-size", "100"], "100"),
    ],
)
def test_errors_name_what_was_wrong(arguments, text):
    done = run(*arguments)
    assert done.returncode == 2 and text in done.stderr and "Traceback" not in done.stderr
