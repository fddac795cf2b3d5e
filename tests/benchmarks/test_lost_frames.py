# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes that are known are named: the confusion table of a few lost frames, by the command."""

import json
import re
import sys

from benchmarks import lost_frames


def test_causes_that_are_known_are_named(monkeypatch, capsys, tmp_path):
    path = tmp_path / "table.json"
    monkeypatch.setattr(sys, "argv", ["lost_frames", "--frames", "60", "--seed", "2", "--json", str(path)])
    assert lost_frames.main() == 0
    right, share = re.search(r"(\d+) of 60 right: ([\d.]+)%", capsys.readouterr().out).groups()
    assert int(right) >= 56 and float(share) > 93
    table = json.loads(path.read_text())["table"]
    assert len(table) == 11 and sum(sum(row.values()) for row in table.values()) == 60
