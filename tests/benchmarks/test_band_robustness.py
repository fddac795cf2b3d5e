# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of bandwidth and robustness: rows, what is left out, and correlations that are known."""

import json
import sys

import pytest

from benchmarks.band_robustness import correlation, main

pytest.importorskip("gnuradio", reason="gr-fec decodes the payloads")


def rows(widths, levels, error=0.1):
    return [
        {"width": [width, width - 0.1, width + 0.1], "all": [level, error]}
        for width, level in zip(widths, levels, strict=True)
    ]


def test_correlations_that_are_known():
    assert correlation(rows([1, 2, 3, 4], [-4, -6, -8, -10]), "width", "all") == pytest.approx((-1, -1, -1))
    flat = [*rows([1, 2, 3], [1, 2, 3]), {"width": [float("inf")] * 3, "all": [4.0, 0.1]}]
    assert correlation(flat, "width", "all")[0] == pytest.approx(1)
    value, low, high = correlation(rows([1, 2, 3, 4], [1, 2, 3, 4], error=50.0), "width", "all")
    assert value == pytest.approx(1) and low < 0 < high  # thresholds so rough say nothing


def test_tables(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "band.json", tmp_path / "directions.png"
    arguments = ["--estimators", "ls", "lmmse", "--detectors", "lmmse", "auto", "--frames", "40", "--max-error", "9"]
    monkeypatch.setattr(sys, "argv", ["band_robustness", *arguments, "--output", str(path), "--plot", str(picture)])
    assert main() == 0
    shown = capsys.readouterr().out
    assert shown.count("\n| ls |") == 1 and shown.count("\n| lmmse |") == 2 and shown.count("\n| auto |") == 1
    assert "rank correlation of width and robustness, detectors, jammed frame" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    content = json.loads(path.read_text())
    ls, lmmse = content["estimators"]
    assert ls["width"][0] > 4 * lmmse["width"][0] and ls["alone"][0] < lmmse["alone"][0]


def test_refusals(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["band_robustness", "--estimators", "no-such"])
    assert main() == 2
    assert "no-such" in capsys.readouterr().err
