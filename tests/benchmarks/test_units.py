# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks in units: shown in order, the same on several processes, and not done again."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.units import add_unit_options, run_groups, settings_of
from tests.sweeps import work

pytest.importorskip("tqdm")


def options(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--snr", type=float, default=3.0)
    parser.add_argument("--output")
    add_unit_options(parser)
    return parser.parse_args(words)


def test_only_what_is_measured_is_of_the_settings():
    assert settings_of(options("--jobs", "2", "--output", "x")) == {"snr": 3.0}


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_groups_are_shown_in_their_order(jobs, tmp_path):
    log = tmp_path / "log"
    groups = [[{"n": 3 * g + n, "seconds": 0.2 * (g == 0), "log": str(log)} for n in range(3)] for g in range(4)]
    words = ("--jobs", jobs, "--keep", str(tmp_path / "kept.jsonl"))
    shown = []
    for _ in range(2):  # the second time from the file
        run_groups(options(*words), "test", work.square, groups, lambda g, results: shown.append((g, results)))
    assert shown == 2 * [(g, [{"square": (3 * g + n) ** 2} for n in range(3)]) for g in range(4)]
    assert len(log.read_text().splitlines()) == 12


def test_an_interrupt_leaves_what_was_shown(tmp_path):
    shown = []

    def show(group, results):
        shown.append(group)
        if group == 1:
            raise KeyboardInterrupt

    words = ("--keep", str(tmp_path / "kept.jsonl"))
    with pytest.raises(KeyboardInterrupt):
        run_groups(options(*words), "test", work.square, [[{"n": n}] for n in range(4)], show)
    assert shown == [0, 1] and len((tmp_path / "kept.jsonl").read_text().splitlines()) == 2


def test_a_program_gives_the_same_on_two_processes():
    """Its functions are those of __main__, which other processes have under another name."""
    words = ["-m", "benchmarks.priorities", "--load", "1.1", "--seeds", "2", "--seconds", "3"]
    shown = [
        subprocess.run(
            [sys.executable, *words, "--jobs", jobs],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        ).stdout
        for jobs in ("1", "2")
    ]
    assert shown[0] == shown[1] and len(re.findall(r"^1\.10", shown[0], re.MULTILINE)) == 3
