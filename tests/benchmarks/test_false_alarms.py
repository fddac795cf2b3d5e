# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that counts false alarms runs, and counts."""

import sys

import pytest

from benchmarks import false_alarms


def test_the_command(monkeypatch, capsys):
    arguments = ["--num-rx", "1", "2", "--seconds", "0.05", "--snr", "-20", "10", "--frames", "3"]
    monkeypatch.setattr(sys, "argv", ["false_alarms", *arguments])
    assert false_alarms.main() == 0
    output = capsys.readouterr().out
    assert output.count("noise: 0 false alarms in 0 s") == output.count("-20.0 dB: 0 of 3 frames found") == 2
    assert output.count("10.0 dB: 3 of 3 frames found; early") == output.count("speed: noise") == 2


def test_the_bound():
    """No event in 3000 s: below 1e-3 per second."""
    assert "below 1.0e-03 per second" in false_alarms.describe(0, 3000)
    assert float(false_alarms.describe(3, 1000).split("below ")[1].split()[0]) == pytest.approx(7.75e-3, rel=0.02)
