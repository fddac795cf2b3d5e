# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of docs/guide with recordings: their programs run, and the commands show what the page shows."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gnuradio.gr")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import alignment_check

from gr_kaq.commands.kaq import main
from tests.pages import ROOT, programs

GUIDE = ROOT / "docs" / "guide"
COMMANDS = {"python3 examples/alignment_check.py": alignment_check.main, "kaq": main}


def numbers(text):
    return [float(number) for number in re.findall(r"(?<![\w.])[-+]?\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize(
    ("page", "count"),
    [("docs/guide/csi-recordings.md", 1), ("docs/guide/hardware.md", 2), ("docs/guide/lost-frames.md", 1)],
)
def test_the_page_shows_what_the_commands_show(page, count, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scipy = pytest.importorskip("scipy")
    scipy.io.savemat("csi.mat", {"csi": np.ones((3, 2, 30, 5)) + 1j})  # rx x tx x carriers x packets
    for program in programs(page):
        exec(program, {})
    sessions = re.findall(r"^    \$ (.*)\n((?:    [^$].*\n)+)", (ROOT / page).read_text(), re.MULTILINE)
    assert len(sessions) == count
    for words, shown in sessions:
        name = next(name for name in COMMANDS if words.startswith(name))
        COMMANDS[name](words.removeprefix(name).split())
        output = capsys.readouterr().out
        assert re.sub(r"[-+\d.]+|\s", "", output) == re.sub(r"[-+\d.]+|\s", "", shown)
        # rounding differs from processor to processor
        assert numbers(output) == pytest.approx(numbers(shown), rel=0.1, abs=0.3)


def test_the_bit_errors_of_the_page_are_those_of_the_shipped_detector(capsys):
    """Of what was trained from scratch, and of LMMSE, over the same transmissions as the fine-tuned one."""
    assert main(["info", "measured-3x2-16qam", "--json"]) == 0
    measured = [p for p in json.loads(capsys.readouterr().out)["measured_ber"] if "held out" in p["channel"]]
    page = (GUIDE / "hardware.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([\d ]+) \| ([\d ]+) \| [\d ]+ \| [\d ]+ \| ([\d ]+) \|$", page, re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        snr_db, bits, lmmse, scratch = (int(cell.replace(" ", "")) for cell in row)
        (point,) = (p for p in measured if p["snr_db"] == snr_db)
        assert (point["bits"], point["lmmse_bit_errors"], point["bit_errors"]) == (bits, lmmse, scratch)
