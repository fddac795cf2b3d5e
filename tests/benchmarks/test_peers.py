# SPDX-License-Identifier: GPL-3.0-or-later
"""Sionna's detectors through our interface: the same numbers as in their own, and a clear message without Sionna."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.report import peers
from gr_kaq import load_detector
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.links.simulated_link import Link, count_bit_errors, detect
from gr_kaq.signals.constellation import CONSTELLATIONS, constellation_named

QAM16 = constellation_named("16qam")


@pytest.fixture()
def mimo():
    """`sionna.phy.mimo`; without Sionna the test is left out."""
    pytest.importorskip("torch").set_num_threads(1)
    pytest.importorskip("sionna.phy")
    return peers.sionna_module("mimo")


def link(snr_db, constellation=QAM16, num_rx=16, num_tx=16):
    return Link(RayleighChannels(num_rx, num_tx, seed=1), constellation, snr_db, seed=2)


@pytest.mark.parametrize("name", CONSTELLATIONS)
def test_sionna_maps_bits_as_we_do(mimo, name):
    own = constellation_named(name)
    theirs = peers.sionna_module("mapping").Constellation("qam", own.bits_per_symbol)().numpy()
    np.testing.assert_allclose(theirs, own.points, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "snr_db", "reference"),
    [
        ("sionna-lmmse", 20.0, 5.86e-2),
        ("sionna-lmmse", 20.0, 5.86e-2),
        ("sionna-ep10", 20.0, 3.08e-3),
        ("sionna-ep10", 15.0, 7.22e-2),
        ("sionna-mmse-pic3", 20.0, 2.02e-2),
        ("sionna-kbest16", 20.0, 1.28e-2),
        ("sionna-kbest64", 20.0, 2.18e-3),
        ("sionna-kbest64-reversed", 18.0, 4.3e-3),
    ],
)
def test_ber_as_in_sionnas_own_link(mimo, name, snr_db, reference):
    """16x16, 16-QAM, i.i.d. Rayleigh. The references were measured with Sionna's own blocks around the detector."""
    (count,) = count_bit_errors(
        [peers.load_peer(name, "16qam")], link(snr_db), min_errors=400, max_bits=400_000, estimates_per_draw=250
    )
    # errors come in clusters of bad vectors: the interval of independent errors would be too narrow
    assert count.rate == pytest.approx(reference, rel=0.25)


def test_the_reference_itself():
    (count,) = count_bit_errors(
        [load_detector("lmmse", constellation="16qam")], link(20.0), min_errors=4000, max_bits=10**7
    )
    assert count.rate == pytest.approx(5.86e-2, rel=0.05)


@pytest.mark.parametrize("constellation", ["qpsk", "16qam", "64qam"])
@pytest.mark.parametrize("name", peers.PEERS)
def test_llrs_and_symbols_agree_with_what_was_sent(mimo, name, constellation):
    """Positive LLRs mean 1, in our order of bits and streams, for more antennas than streams too."""
    own = constellation_named(constellation)
    sent = link(40.0, own, num_rx=6, num_tx=3).draw(20)
    out = detect(peers.load_peer(name, constellation), sent)
    assert out.llrs.shape == (20, 1, 4, 3, own.bits_per_symbol)
    decided = (out.llrs > 0).reshape(sent.bits.shape)
    assert np.mean(decided != sent.bits) < 5e-3
    np.testing.assert_array_equal(own.decide(out.symbols), decided)


@pytest.mark.parametrize("name", ["sionna-kbest64", "sionna-kbest64-reversed"])
def test_hard_decisions_are_those_of_the_llrs(mimo, name):
    sent = link(18.0).draw(50)
    soft, hard = (detect(peers.load_peer(name, "16qam", hard), sent) for hard in (False, True))
    np.testing.assert_array_equal(hard.symbols, soft.symbols)
    np.testing.assert_array_equal(hard.llrs, np.where(soft.llrs > 0, 1, -1))


@pytest.mark.parametrize(("num_rx", "num_tx"), [(2, 2), (6, 4)])
@pytest.mark.parametrize("constellation", ["qpsk", "64qam"])
def test_lmmse_decides_as_sionnas(mimo, constellation, num_rx, num_tx):
    """Both in single precision: a symbol on a border may fall to either side."""
    own = constellation_named(constellation)
    sent = link(8.0, own, num_rx, num_tx).draw(1000)
    ours, theirs = (
        own.decide(detect(detector, sent).symbols)
        for detector in (load_detector("lmmse", constellation=constellation), peers.load_peer("sionna-lmmse", own.name))
    )
    assert np.count_nonzero(ours != sent.bits) > 100
    assert np.mean(ours != theirs) < 1e-4


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", peers.PEERS)
def test_peers_compute_on_one_device(mimo, monkeypatch, name, hard):
    """Fake tensors compute shapes and devices only, and raise where two devices meet: here the CPU and another one."""
    from sionna.phy import config
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    monkeypatch.setattr(type(config), "available_devices", ["cpu", "meta"])
    monkeypatch.setattr(peers, "device", lambda: "meta")
    sent = link(20.0, num_rx=4, num_tx=4).draw(5)
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):
        llrs = peers.load_peer(name, "16qam", hard).on_device(4)(sent.y[:, 0, 0], sent.h[:, 0], 4)
    assert llrs.device.type == "meta" and llrs.shape == (5, 4, 4)


def test_invalid_vectors_say_nothing(mimo):
    sent = link(20.0, num_rx=4, num_tx=4).draw(1)
    prepared = peers.load_peer("sionna-ep10", "16qam").prepare(sent.h[:, 0], noise_var=sent.noise_var)
    y = sent.y[:, 0].copy()
    y[0, 1, 2] = np.nan
    out = prepared.detect(y)
    assert out.num_invalid == 1
    assert not out.llrs[0, 1].any() and not out.symbols[0, 1].any()
    np.testing.assert_array_equal(out.llrs[0, [0, 2, 3]], prepared.detect(sent.y[:, 0]).llrs[0, [0, 2, 3]])


def test_fewer_antennas_than_streams_are_refused(mimo):
    with pytest.raises(ValueError, match="num_rx=2, num_tx=4"):
        peers.load_peer("sionna-kbest16", "16qam").check_size(2, 4)


def test_unknown_peer():
    with pytest.raises(ValueError, match="no peer 'sionna-ep11'; one of sionna-lmmse, "):
        peers.load_peer("sionna-ep11", "16qam")


def test_without_sionna_there_is_a_clear_message(output_without):
    output = output_without(
        "sionna",
        "from benchmarks.report import peers\n"
        "try: peers.load_peer('sionna-ep10', '16qam')\n"
        "except peers.PeersUnavailableError as error: print(error)\n",
    )
    assert "pip install --no-deps sionna-no-rt==2.2.0" in output
