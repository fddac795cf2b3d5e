# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of BER points: the files that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gr_kaq
from gr_kaq.links.ber_units import count_unit, counts_of, digest_of, point_units
from tests.sweeps.work import point


@pytest.fixture
def model(tmp_path):
    """A model file of the user's."""
    path = tmp_path / "own.kaq.json"
    shutil.copyfile(Path(gr_kaq.__file__).parent / "detection" / "models" / "admm5-16qam.kaq.json", path)
    return str(path)


def test_a_model_file_gives_what_the_shipped_one_does(model):
    shipped = count_unit(point(20.0).job(0))
    own = point(20.0, detectors=["lmmse", model], files={model: digest_of(model)})
    assert count_unit(own.job(0)) == shipped


def test_another_file_of_the_same_name_is_refused(model):
    job = point(20.0, detectors=["lmmse", model], files={model: "0" * 16}).job(0)
    with pytest.raises(ValueError, match=r"own\.kaq\.json is another file here"):
        count_unit(job)


@pytest.mark.parametrize(("max_bits", "units"), [(1, 1), (10, 1), (11, 2), (10**12, 10**11)])
def test_units_of_a_point(max_bits, units):
    series = point_units(["zf"], "qpsk", 2, 2, 10.0, min_errors=1, max_bits=max_bits, seed=1, bits_per_unit=10)
    assert series.count == units
    assert series.job(0)["bits"] == min(10, max_bits)
    assert 10 * (units - 1) + series.job(units - 1)["bits"] == max_bits


@pytest.mark.parametrize(
    "result", [{}, {"errors": [1], "bits": ["a"]}, {"errors": [1], "bits": 3}, {"errors": [1], "bits": [1, 2]}]
)
def test_a_file_with_other_counts_is_refused(result):
    with pytest.raises(ValueError, match="other counts than these detectors have"):
        counts_of([{"errors": [3], "bits": [10]}, result])
