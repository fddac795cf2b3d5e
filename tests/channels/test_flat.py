# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels have the statistics that they claim, whatever way they are drawn."""

import numpy as np
import pytest

from gr_kaq.channels.flat import RayleighChannels, RecordedChannels, complex_normal, exponential_correlation
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.known_symbols import KnownSymbols


def recording(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture
def packets():
    """(5 packets, 6 subcarriers, 3 rx, 2 tx) of very different gain, as a receiver with automatic gain records them."""
    rng = np.random.default_rng(5)
    gain = 10.0 ** np.arange(5)[:, None, None, None]
    return gain * (rng.standard_normal((5, 6, 3, 2)) + 1j * rng.standard_normal((5, 6, 3, 2)))


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_power_and_correlation(correlation):
    h = RayleighChannels(3, 2, 4, rx_correlation=correlation, tx_correlation=correlation, seed=1).draw(20000)
    assert h.dtype == np.complex64 and h.shape == (20000, 4, 3, 2)
    h = h.reshape(-1, 3, 2)
    np.testing.assert_allclose(np.mean(np.abs(h) ** 2, axis=0), 1, atol=0.03)
    rx = np.einsum("bij,bkj->ik", h, h.conj()) / len(h) / 2
    tx = np.einsum("bij,bik->jk", h, h.conj()) / len(h) / 3
    np.testing.assert_allclose(rx, exponential_correlation(3, correlation), atol=0.03)
    np.testing.assert_allclose(tx, exponential_correlation(2, correlation), atol=0.03)


def test_subcarriers_are_independent_unless_flat():
    h = RayleighChannels(2, 2, 3).draw(5)
    assert not np.isclose(h[:, 0], h[:, 1]).any()
    flat = RayleighChannels(2, 2, 3, flat=True).draw(5)
    assert flat.shape == h.shape
    np.testing.assert_array_equal(flat[:, 0], flat[:, 2])


def test_draws_do_not_depend_on_the_batch(tmp_path, packets):
    """A scheduler cuts a stream anywhere; results have to be reproducible all the same."""
    path = recording(tmp_path / "h.npz", h=packets)
    for make in (
        lambda: RayleighChannels(3, 2, 2, seed=9),
        lambda: RayleighChannels(3, 2, 2, rx_correlation=0.5, flat=True, seed=9),
        lambda: RecordedChannels(path, 3, 2, 2),
    ):
        whole, pieces = make(), make()
        np.testing.assert_allclose(whole.draw(10), np.concatenate([pieces.draw(n) for n in (1, 3, 0, 6)]), rtol=1e-5)
    whole, pieces = np.random.default_rng(1), np.random.default_rng(1)
    np.testing.assert_array_equal(
        complex_normal(whole, (100, 3)), np.concatenate([complex_normal(pieces, (n, 3)) for n in (1, 2, 97)])
    )


@pytest.mark.parametrize("correlation", [-0.1, 1.0, np.nan])
def test_correlation_has_to_be_below_one(correlation):
    with pytest.raises(ValueError, match="tx_correlation"):
        RayleighChannels(2, 2, tx_correlation=correlation)


def test_recorded_packets_are_normalised_and_repeat(tmp_path, packets):
    """The gain of the recorder is no property of the channel; the subcarriers' relative strength is."""
    h = RecordedChannels(recording(tmp_path / "h.npz", h=packets), 3, 2, 6).draw(12)
    np.testing.assert_allclose(np.mean(np.abs(h) ** 2, axis=(1, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_allclose(h[0] / h[0, 0, 0, 0], packets[0] / packets[0, 0, 0, 0], rtol=1e-4)
    np.testing.assert_array_equal(h[:5], h[5:10])


def test_recorded_subcarriers(tmp_path, packets):
    """Several: spread over the band. One: all in turn, so that short recordings give many channels."""
    path = recording(tmp_path / "h.npz", h=packets)
    every = RecordedChannels(path, 3, 2, 6).draw(5)
    np.testing.assert_array_equal(RecordedChannels(path, 3, 2, 3).draw(5), every[:, ::2])
    np.testing.assert_array_equal(RecordedChannels(path, 3, 2, 1).draw(30)[:, 0], every.reshape(30, 3, 2))
    assert RecordedChannels(path, 2, 1, 4).draw(1).shape == (1, 4, 2, 1)


def test_recorded_as_integers_with_dead_packets(tmp_path):
    """As a network card writes them: int16 pairs, and now and then a packet of zeros."""
    h = np.random.default_rng(0).integers(-300, 300, (4, 2, 3, 2, 2)).astype(np.int16)
    h[1] = 0
    drawn = RecordedChannels(recording(tmp_path / "h.npz", h=h), 3, 2, 2).draw(4)
    np.testing.assert_array_equal(drawn[0], drawn[3])
    ratio = drawn[1] / (h[2, ..., 0] + 1j * h[2, ..., 1])
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize(
    "arrays",
    [
        {"g": np.ones((1, 1, 1, 1), complex)},
        {"h": np.ones((2, 3, 2), complex)},
        {"h": np.ones((2, 3, 2, 2))},
        {"h": np.ones((0, 3, 2, 2), complex)},
        {"h": np.zeros((2, 3, 2, 2), complex)},
        {"h": np.full((2, 3, 2, 2), np.nan, complex)},
        {"h": np.array([{"a": 1}], object)},
        {"h": np.array(["text"])},
        {"h": np.ones((2, 3, 1, 2), complex)},
        {"h": np.ones((2, 3, 2, 1), complex)},
        {"h": np.ones((2, 1, 2, 2), complex)},
    ],
)
def test_a_bad_recording_is_named(tmp_path, arrays):
    path = recording(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=r"bad\.npz.*") as error:
        RecordedChannels(path, 2, 2, 2)
    assert "expected" in str(error.value) or "zero" in str(error.value) or "NaN" in str(error.value)


def test_a_damaged_recording_is_named(tmp_path):
    """Truncated anywhere, not an archive, a directory, missing."""
    whole = recording(tmp_path / "h.npz", h=np.ones((4, 2, 2, 2), complex)).read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (
        b"",
        b"PK\x03\x04",
        b"no archive",
        whole[:40],
        whole[:-30],
        whole[:60] + b"\xff" * 200 + whole[260:],
    ):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz"):
            RecordedChannels(bad, 2, 2)
    np.save(tmp_path / "bad.npy", np.ones((1, 1, 2, 2), complex))
    for path in (tmp_path, tmp_path / "missing.npz", tmp_path / "bad.npy"):
        with pytest.raises(ValueError, match=path.name):
            RecordedChannels(path, 2, 2)


@pytest.mark.parametrize("name", CONSTELLATIONS)
def test_known_symbols(name):
    """The meter's bits are those of the transmitted symbols, however both sides cut the stream."""
    constellation = CONSTELLATIONS[name]
    whole, pieces = KnownSymbols(3, 5, constellation, 7), KnownSymbols(3, 5, constellation, 7)
    indices = whole.draw(200)
    assert indices.shape == (200, 3, 5)
    np.testing.assert_array_equal(indices[:60], np.concatenate([pieces.draw(n) for n in (1, 9, 50)]))
    pieces.skip(100)
    np.testing.assert_array_equal(indices[160:], pieces.draw(40))
    np.testing.assert_array_equal(constellation.decide(constellation.points[indices]), whole.bits(indices))
    np.testing.assert_array_equal(np.unique(indices), np.arange(2**constellation.bits_per_symbol))
    assert (KnownSymbols(3, 5, constellation, 8).draw(200) != indices).mean() > 0.5
