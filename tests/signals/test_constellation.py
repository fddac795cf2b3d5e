# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr_kaq.signals.constellation import CONSTELLATIONS, constellation_named

names = pytest.mark.parametrize("name", CONSTELLATIONS)


@names
def test_unit_power_and_distinct_points(name):
    points = CONSTELLATIONS[name].points
    assert np.isclose(np.mean(np.abs(points) ** 2), 1)
    assert len(np.unique(points)) == 2 ** CONSTELLATIONS[name].bits_per_symbol


@names
def test_gray(name):
    """Neighbouring levels differ in one bit: what makes symbol errors cheap in bits."""
    labels = CONSTELLATIONS[name].level_bits
    assert (np.sum(labels[1:] != labels[:-1], axis=1) == 1).all()


@pytest.mark.parametrize(
    ("name", "bits", "point"),
    [
        ("qpsk", "00", (1, 1)),
        ("qpsk", "01", (1, -1)),
        ("16qam", "0000", (1, 1)),
        ("16qam", "1001", (-1, 3)),
        ("16qam", "0111", (3, -3)),
        ("64qam", "000000", (3, 3)),
        ("64qam", "111111", (-7, -7)),
        ("64qam", "001010", (7, 3)),
        ("64qam", "000010", (1, 3)),
        ("256qam", "00000000", (5, 5)),
        ("256qam", "10101010", (-15, 5)),
    ],
)
def test_mapping_of_ts_38_211(name, bits, point):
    """Points computed by hand from the formulas of section 5.1."""
    constellation = CONSTELLATIONS[name]
    symbol = constellation.modulate([int(b) for b in bits])[0] / constellation.half_distance
    assert np.isclose(symbol, complex(*point))


@names
@given(seed=st.integers(0, 1000))
def test_decide_inverts_modulate(name, seed):
    rng = np.random.default_rng(seed)
    constellation = CONSTELLATIONS[name]
    bits = rng.integers(0, 2, (3, 5 * constellation.bits_per_symbol))
    noise = rng.uniform(-0.99, 0.99, (2, 3, 5)) * constellation.half_distance
    assert (constellation.decide(constellation.modulate(bits) + noise[0] + 1j * noise[1]) == bits).all()


def test_errors_name_what_was_wrong():
    with pytest.raises(ValueError, match="'8psk'.*qpsk"):
        constellation_named("8psk")
    with pytest.raises(ValueError, match="3 bits.*4"):
        CONSTELLATIONS["16qam"].modulate([0, 1, 0])


@names
def test_no_symbols(name):
    """Zero vectors are a shape like any other."""
    constellation = CONSTELLATIONS[name]
    assert constellation.modulate(np.zeros((3, 0))).shape == (3, 0)
    assert constellation.decide(np.zeros((0, 2))).shape == (0, 2 * constellation.bits_per_symbol)
