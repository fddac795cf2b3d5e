# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact maximum likelihood and exact posteriors, against plain enumeration of ||y - H x||^2."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.report import exact
from benchmarks.report.peers import PeersUnavailableError
from gr_kaq import load_detector
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.links.simulated_link import Link, detect
from gr_kaq.signals.constellation import constellation_named


def transmission(size, constellation, snr_db, count, correlation=0.0):
    channels = RayleighChannels(*size, rx_correlation=correlation, tx_correlation=correlation, seed=3)
    return Link(channels, constellation_named(constellation), snr_db, num_vectors=3, seed=4).draw(count)


def distances(sent, constellation):
    """All candidates' bits (N, bits) and their ||y - H x||^2 / noise_var (E, T, N), one candidate after the other."""
    own = constellation_named(constellation)
    num_tx = sent.h.shape[-1]
    words = np.array(list(itertools.product((0, 1), repeat=num_tx * own.bits_per_symbol)), np.uint8)
    points = own.modulate(words).astype(np.complex128)
    h, y = sent.h[:, 0].astype(np.complex128), sent.y[:, 0].astype(np.complex128)
    found = np.stack([np.sum(np.abs(y - (h @ x)[:, None]) ** 2, axis=-1) for x in points], axis=-1)
    return words, found / sent.noise_var[:, None, None]


@pytest.fixture
def itpp():
    try:
        exact.sphere_decoder()
    except PeersUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("snr_db", [0.0, 8.0, 16.0, 26.0])
@pytest.mark.parametrize(
    ("size", "constellation", "correlation"),
    [
        ((2, 2), "16qam", 0.0),
        ((3, 3), "qpsk", 0.0),
        ((3, 2), "16qam", 0.9),
        ((2, 2), "64qam", 0.0),
        ((1, 1), "64qam", 0.0),
    ],
)
def test_sphere_decoder_is_exact(itpp, size, constellation, correlation, snr_db):
    sent = transmission(size, constellation, snr_db, 60, correlation)
    words, distance = distances(sent, constellation)
    out = detect(exact.load_exact("exact-ml", constellation), sent)
    decided = constellation_named(constellation).decide(out.symbols)[:, 0]
    np.testing.assert_array_equal(decided, words[distance.argmin(axis=-1)])
    np.testing.assert_array_equal(out.llrs.reshape(decided.shape[0], 1, 3, -1)[:, 0] > 0, decided)


def test_sphere_decoder_equals_enumeration_at_4x4(itpp):
    sent = transmission((4, 4), "16qam", 18.0, 100)
    sphere, enumerated = (detect(exact.load_exact(name, "16qam"), sent) for name in ("exact-ml", "exact-max-log"))
    np.testing.assert_array_equal(sphere.symbols, enumerated.symbols)


@pytest.mark.parametrize(
    ("size", "constellation", "snr_db"), [((8, 8), "64qam", 22.0), ((16, 16), "16qam", 17.0), ((16, 16), "qpsk", 8.0)]
)
def test_nothing_known_is_nearer(itpp, size, constellation, snr_db):
    """Sizes that cannot be enumerated: neither what was sent nor what LMMSE decides fits better."""
    own = constellation_named(constellation)
    sent = transmission(size, constellation, snr_db, 20)
    h, y = sent.h[:, 0].astype(np.complex128), sent.y[:, 0].astype(np.complex128)

    def distance(symbols):
        return np.linalg.norm(y - symbols @ h.swapaxes(1, 2), axis=-1)

    best = distance(detect(exact.load_exact("exact-ml", constellation), sent).symbols[:, 0])
    lmmse = detect(load_detector("lmmse", constellation=constellation), sent).symbols[:, 0]
    others = [own.modulate(sent.bits[:, 0]), own.modulate(own.decide(lmmse))]
    for other in others:
        assert (best <= distance(other) * (1 + 1e-6)).all()
    assert (best < distance(others[1]) - 1e-3).any()


def test_singular_channels(itpp):
    """A stream that does not arrive: the others are decided as without it."""
    sent = transmission((3, 3), "16qam", 20.0, 20)
    h = sent.h[:, 0].copy()
    h[..., 1] = 0
    y = sent.y[:, 0]
    detector = exact.load_exact("exact-ml", "16qam")
    whole, part = (detector.prepare(part, noise_var=sent.noise_var).detect(y) for part in (h, h[..., [0, 2]]))
    np.testing.assert_array_equal(whole.symbols[..., [0, 2]], part.symbols)
    detector.prepare(0 * h, noise_var=sent.noise_var).detect(y)


@pytest.mark.parametrize(
    ("size", "constellation"), [((2, 2), "16qam"), ((3, 3), "qpsk"), ((1, 1), "64qam"), ((4, 2), "qpsk")]
)
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_llrs_are_those_of_the_definition(size, constellation, snr_db):
    sent = transmission(size, constellation, snr_db, 20)
    words, distance = distances(sent, constellation)
    ones = words.T.astype(bool)
    for name, reduced in (("exact-map", np.logaddexp.reduce), ("exact-max-log", np.max)):
        expected = np.stack(
            [reduced(-distance[..., bit], axis=-1) - reduced(-distance[..., ~bit], axis=-1) for bit in ones], axis=-1
        )
        out = detect(exact.load_exact(name, constellation), sent)
        found = out.llrs[:, 0].reshape(expected.shape)
        limit = exact.LARGEST_LLR - 50 if name == "exact-map" else np.inf
        inside = np.abs(expected) < limit
        np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5, atol=1e-5)
        assert (np.abs(found[~inside]) > limit).all()


def test_map_llrs_are_calibrated():
    """Among bits with an LLR near l, the odds that the bit is 1 are exp(l)."""
    sent = transmission((4, 4), "16qam", 12.0, 150)
    out = detect(exact.load_exact("exact-map", "16qam"), sent)
    llrs, bits = out.llrs.ravel(), sent.bits.ravel().astype(bool)
    for low, high in ((-2, -1), (0, 1), (1, 2)):
        inside = (llrs >= low) & (llrs < high)
        expected = np.mean(1 / (1 + np.exp(-llrs[inside])))
        assert np.mean(bits[inside]) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / inside.sum()))


@pytest.mark.parametrize("name", exact.EXACT)
def test_exact_detectors_never_lose_to_lmmse(name, request):
    if name == "exact-ml":
        request.getfixturevalue("itpp")
    own = constellation_named("16qam")
    sent = transmission((4, 2), "16qam", 12.0, 400)
    errors = [
        np.count_nonzero(own.decide(detect(detector, sent).symbols) != sent.bits)
        for detector in (exact.load_exact(name, "16qam"), load_detector("lmmse", constellation="16qam"))
    ]
    assert 0 < errors[0] < errors[1]


@pytest.mark.parametrize("name", exact.EXACT)
def test_invalid_vectors_are_zero(name, request):
    if name == "exact-ml":
        request.getfixturevalue("itpp")
    sent = transmission((2, 2), "qpsk", 20.0, 2)
    y = sent.y[:, 0].copy()
    y[1, 2, 0] = np.nan
    out = exact.load_exact(name, "qpsk").prepare(sent.h[:, 0], noise_var=sent.noise_var).detect(y)
    assert out.num_invalid == 1
    assert not out.symbols[1, 2].any() and not out.llrs[1, 2].any()
    assert out.symbols[1, 1].all() and out.llrs[0].all()


def test_what_cannot_be_enumerated_is_refused():
    with pytest.raises(ValueError, match="65536 candidates; 4 streams of 64qam"):
        exact.load_exact("exact-map", "64qam").check_size(4, 4)
    with pytest.raises(ValueError, match="no exact detector 'ml'; one of exact-ml, "):
        exact.load_exact("ml", "qpsk")


def test_without_itpp_there_is_a_clear_message(output_without):
    output = output_without(
        "kaq_exact_ml",
        "from benchmarks.report import references\n"
        "print(references.missing('exact-ml'))\n"
        "print(references.present('exact-ml', 'exact-map'))\n",
    )
    assert "apt-get install libitpp-dev" in output
    assert output.endswith("['exact-map']\n")
