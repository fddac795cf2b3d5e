# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak of the receiver, for some seconds; and that it says what is wrong."""

import json
import sys

import pytest

pytest.importorskip("gnuradio")

from benchmarks import soak


@pytest.fixture(scope="module")
def result():
    return soak.soak(0.15, seed=3)


def test_some_seconds_lose_nothing(result):
    assert soak.failures(result, limit_mib=1000) == []
    assert result["frames"] > 100
    assert result["frames"] == result["frames_given_out_by_the_source"]
    assert 0 < result["latency_ms"]["50"] <= result["latency_ms"]["99.9"] < 10000


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost_after_the_source": 1.0},
        {"lost_of_peers_that_were_not_killed": 1},
        {"out_of_order": 1},
        {"internal_errors": 1},
        {"rss_growth_mib": 4.1},
        {"frames": 0},
    ],
    ids=str,
)
def test_what_is_wrong_is_said(result, wrong):
    assert len(soak.failures({**result, "rss_growth_mib": 0.0, **wrong}, limit_mib=4)) == 1


def test_a_payload_that_is_missing_or_comes_again_is_noticed():
    tally = soak.Tally()
    for number, places in ((1, (0, 1, 3)), (2, (0, 1, 1)), (3, (0, 1, 2))):
        for place in places:
            tally.take(soak.HEADER.pack(number, place))
    assert tally.disorder == 2


def test_the_report(result, tmp_path, monkeypatch):
    """The exit status, JSON and a picture."""
    monkeypatch.setattr(soak, "soak", lambda minutes, seed: {**result, "rss_growth_mib": 9.0})
    monkeypatch.setattr(sys, "argv", ["soak", "--output", str(tmp_path)])
    assert soak.main() == 1
    assert json.loads((tmp_path / "soak.json").read_text())["failures"]
    assert (tmp_path / "soak.png").stat().st_size > 10000
