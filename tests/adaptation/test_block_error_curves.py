# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error curves: what is fitted is found again, those that ship make sense, and what is none is refused."""

import json

import numpy as np
import pytest

from gr_kaq.adaptation.block_error_curves import BlockErrorCurves, fit_curve, shipped_curves
from gr_kaq.adaptation.mutual_information import effective_snr
from gr_kaq.frames.modulation_coding import MCS_TABLE


def test_a_curve_is_found_again():
    rng = np.random.default_rng(1)
    snrs = rng.uniform(0, 20, 4000)
    wrong = rng.random(4000) < 1 / (1 + np.exp((snrs - 11.3) / 0.7))
    fitted = fit_curve(snrs.tolist(), wrong.tolist())
    assert fitted["threshold_db"] == pytest.approx(11.3, abs=0.15)
    assert fitted["width_db"] == pytest.approx(0.7, abs=0.15)
    assert (fitted["frames"], fitted["errors"]) == (4000, int(wrong.sum()))


@pytest.mark.parametrize("wrong", [[False] * 5, [True] * 5, [True, True, False, False, False]])
def test_few_frames_give_a_finite_curve(wrong):
    fitted = fit_curve([1.0, 2.0, 3.0, 4.0, 5.0], wrong)
    assert -20 < fitted["threshold_db"] < 25 and 0.02 <= fitted["width_db"] <= 5


def test_those_that_ship_make_sense():
    """They ascend, and begin to work 0 to 4 dB above what the best code of their rate would need."""
    curves = shipped_curves()
    capacity = np.array([effective_snr(mcs.constellation, mcs.rate) for mcs in MCS_TABLE])
    assert np.all(np.diff(curves.thresholds_db) > 0.5)
    assert np.all((curves.thresholds_db - capacity > 0) & (curves.thresholds_db - capacity < 4))
    rates = curves.block_error_rate([-30.0, 60.0])
    assert rates.shape == (2, len(MCS_TABLE)) and np.all(rates[0] > 0.999) and np.all(rates[1] < 1e-6)
    assert np.diagonal(curves.block_error_rate(curves.thresholds_db)) == pytest.approx(0.5)


def test_what_is_no_file_of_curves_is_refused(tmp_path):
    good = {"curves": [{"mcs": str(mcs), "threshold_db": 1.0 + i, "width_db": 0.5} for i, mcs in enumerate(MCS_TABLE)]}
    path = tmp_path / "curves.json"
    path.write_text(json.dumps(good))
    assert BlockErrorCurves.load(path).thresholds_db.tolist() == list(range(1, len(MCS_TABLE) + 1))
    spoilt = [
        "{",
        "[]",
        "{}",
        json.dumps({"curves": [{"mcs": "qpsk 1/3"}]}),
        json.dumps({"curves": good["curves"][:3]}),
        json.dumps({"curves": [{**curve, "width_db": -1} for curve in good["curves"]]}),
        json.dumps({"curves": [{**curve, "threshold_db": 1e9} for curve in good["curves"]]}),
    ]
    for text in spoilt:
        path.write_text(text)
        with pytest.raises(ValueError, match=r"expected|no block error curves"):
            BlockErrorCurves.load(path)
    with pytest.raises(OSError):
        BlockErrorCurves.load(tmp_path / "missing.json")


def test_an_snr_that_is_not_known_exactly_gives_the_mean():
    curves, draws = shipped_curves(), np.random.default_rng(1).normal(0, 2.0, 20000)
    for snr_db in (4.0, 10.0, 16.0):
        drawn = curves.block_error_rate(snr_db + draws).mean(axis=0)
        assert curves.block_error_rate(snr_db, 2.0) == pytest.approx(drawn, abs=0.025)
    assert np.array_equal(curves.block_error_rate([3.0, 9.0], 0.0), curves.block_error_rate([3.0, 9.0]))
