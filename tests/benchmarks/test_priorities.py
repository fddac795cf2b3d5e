# SPDX-License-Identifier: GPL-3.0-or-later
"""benchmarks.priorities and benchmarks.video: who cannot wait does not have to."""

import json
import shutil

import pytest

from benchmarks import priorities, video


def test_base_layer_under_overload(monkeypatch, capsys, tmp_path):
    """A tenth of FIFO's misses, at most; the bulk is not starved."""
    pytest.importorskip("tqdm")
    words = [
        "priorities",
        "--load",
        "1.2",
        "--seeds",
        "1",
        "--seconds",
        "6",
        "--output",
        str(tmp_path / "results.json"),
    ]
    monkeypatch.setattr("sys.argv", words)
    assert priorities.main() == 0
    results = {point["policy"]: point for point in json.loads((tmp_path / "results.json").read_text())["results"]}
    misses = {policy: point["base"]["misses"] for policy, point in results.items()}
    assert misses["priorities"] <= misses["fifo"] / 10 and misses["fifo"] > 30
    assert results["priorities"]["bulk"]["delivered"] > 0
    assert "priorities" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_video_through_a_fade(monkeypatch, tmp_path):
    """With priorities every picture is above 30 dB; first come, first served freezes."""
    files = {name: tmp_path / f"{name}.png" for name in ("plot", "frames")}
    words = ["video", "--seconds", "9", "--output", str(tmp_path / "results.json")]
    monkeypatch.setattr("sys.argv", words + [word for name, path in files.items() for word in (f"--{name}", str(path))])
    assert video.main() == 0
    results = {point["policy"]: point for point in json.loads((tmp_path / "results.json").read_text())["results"]}
    assert results["priorities"]["psnr_db_least"] > 30 and results["priorities-rate"]["psnr_db_least"] > 30
    assert results["priorities"]["pictures_in_fade"]["frozen"] == 0
    assert results["fifo"]["pictures_in_fade"]["frozen"] > 50
    assert all(path.stat().st_size > 10_000 for path in files.values())


@pytest.mark.parametrize(
    ("module", "words", "text"),
    [
        (priorities, ["--output", "nowhere/file"], "priorities: nowhere/file: the folder does not exist"),
        (video, ["--plot", "plot.txt"], "video: plot.txt: a name that ends in"),
    ],
)
def test_wrong_arguments(module, words, text, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["name", *words])
    assert module.main() == 1
    assert text in capsys.readouterr().err
