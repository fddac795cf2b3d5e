# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that measures how much interference the receiver stands runs, and whitening pays."""

import json
import sys

import numpy as np

from benchmarks import interference


def measure(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["interference", "--detector", "lmmse", *arguments])
    assert interference.main() == 0
    return capsys.readouterr().out


def test_with_interference(monkeypatch, capsys, tmp_path):
    path = tmp_path / "counts.json"
    arguments = ["--carriers", "8", "11", "--interference-db", "-40", "-10", "--frames", "6", "--output", str(path)]
    output = measure(monkeypatch, capsys, *arguments)
    assert "SNR 22 dB, interference -10 dB: 0 of 6 frames not found" in output
    clean, jammed = json.loads(path.read_text())["results"]
    assert clean["block_errors"] == {interference.WHITENED: 0, interference.WHITE: 0}
    assert jammed["block_errors"][interference.WHITENED] <= 1 and jammed["block_errors"][interference.WHITE] >= 4
    assert jammed["only"][interference.WHITE] >= 3


def test_in_white_noise(monkeypatch, capsys):
    output = measure(monkeypatch, capsys, "--snr", "0", "40", "--frames", "4", "--num-rx", "3", "--directional")
    assert output.count("4 blocks, 0 of them not by the other") == 2
    assert output.count("0 blocks, 0 of them not by the other") == 2


def test_thresholds():
    """Where the errors pass 10 %, on an axis on which they rise and on one on which they fall."""
    errors = {interference.WHITENED: (0, 10, 50), interference.WHITE: (5, 50, 90)}
    for axis, levels in (("interference_db", (-10, 0, 10)), ("snr_db", (10, 0, -10))):
        results = [
            {axis: level, "frames": 100, "block_errors": {name: counts[i] for name, counts in errors.items()}}
            for i, level in enumerate(levels)
        ]
        found = interference.thresholds(results, axis)
        assert np.isclose(found[interference.WHITENED][0], 0, atol=1.5)
        assert np.isclose(found[interference.WHITE][0], 0.8 * levels[0], atol=2)
        assert 0 < found[interference.WHITE][1] < 3


def test_gain_interval():
    """The gain is within its interval, which shrinks as frames grow in number."""
    levels, rng = (-10.0, -5.0, 0.0, 5.0, 10.0), np.random.default_rng(1)
    widths = []
    for frames in (100, 1600):
        stands = {interference.WHITENED: rng.normal(8, 4, frames), interference.WHITE: rng.normal(-2, 4, frames)}
        wrong = [{name: level > of for name, of in stands.items()} for level in levels]
        results = [
            {"interference_db": level, "frames": frames, "block_errors": {name: of.sum() for name, of in each.items()}}
            for level, each in zip(levels, wrong, strict=True)
        ]
        low, high = interference.gain_interval(results, wrong, "interference_db")
        assert low < 10 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_loss_interval():
    """What no frame of many tells apart is next to nothing; what many frames do is not."""

    def of(frames, only):
        names = (interference.WHITENED, interference.WHITE)
        results = [
            {"frames": frames, "block_errors": dict.fromkeys(names, count), "only": dict(zip(names, each, strict=True))}
            for count, each in ((frames // 2, (9, 9)), (frames // 10, only))
        ]
        return interference.loss_interval(results, slope=0.5)

    low, high = of(4000, (0, 0))
    assert -0.02 < low < 0 < high < 0.02
    assert np.allclose((low, high), (-high, -low))
    assert of(100, (0, 0))[1] > 0.3
    low, high = of(1000, (90, 45))  # 4.5 % more errors, at 4.5 % per dB
    assert 0.4 < low < 1 < high < 1.6
