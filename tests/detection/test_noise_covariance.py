# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection in noise that is not white: every detector is the same as with whitened channels and vectors."""

from __future__ import annotations

import numpy as np
import pytest

import gr_kaq
from gr_kaq.detection.result import Piece
from gr_kaq.signals.noise_covariance import whitening_of
from tests.detection.models import random_complex

C, T, RX, TX = 5, 7, 4, 2
DETECTORS = [
    ("lmmse", {"constellation": "16qam"}),
    ("zf", {"constellation": "16qam"}),
    ("auto", {"constellation": "16qam"}),
    ("admm5-16qam", {}),
    ("pgd8-16qam", {}),
    ("admm5-16qam-fp", {}),
    ("list8-16qam", {}),
    ("list8-16qam-fp", {}),
]


def covariances(rng: np.random.Generator, count: int) -> np.ndarray:
    """Of an interferer from one direction for each channel, 20 dB above the noise."""
    direction = random_complex(rng, count, RX, 1)
    return (0.05 * (np.eye(RX) + 100 * direction @ direction.conj().swapaxes(1, 2))).astype(np.complex64)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(("name", "more"), DETECTORS)
def test_a_covariance_is_whitened_before_any_detector(name, more, backend):
    rng = np.random.default_rng(1)
    detector = gr_kaq.load_detector(name, backend=backend, **more)
    h, y = random_complex(rng, C, RX, TX), random_complex(rng, C, T, RX)
    for noise_cov in (covariances(rng, C), covariances(rng, 1), covariances(rng, 1)[0]):
        found = detector.detect(y, h, noise_cov=noise_cov)
        whitening, noise_var = whitening_of(np.broadcast_to(noise_cov, (C, RX, RX)))
        expected = detector.detect(np.einsum("cab,ctb->cta", whitening, y), whitening @ h, noise_var=noise_var)
        np.testing.assert_allclose(found.symbols, expected.symbols, atol=0.02)
        np.testing.assert_allclose(found.llrs, expected.llrs, atol=0.05 * np.abs(expected.llrs).max())


@pytest.mark.parametrize(("name", "more"), DETECTORS)
def test_white_noise_as_a_covariance_is_white_noise(name, more):
    rng = np.random.default_rng(2)
    detector = gr_kaq.load_detector(name, **more)
    h, y = random_complex(rng, C, RX, TX), random_complex(rng, C, T, RX)
    noise_var = rng.uniform(0.05, 0.5, C)
    white = detector.detect(y, h, noise_var=noise_var)
    same = detector.detect(y, h, noise_cov=noise_var[:, None, None] * np.eye(RX))
    np.testing.assert_array_equal(same.symbols, white.symbols)
    np.testing.assert_array_equal(same.llrs, white.llrs)


def test_an_interferer_with_a_direction_is_cancelled():
    """It takes one antenna of four. With its power taken for white noise, next to nothing is left to say."""
    rng = np.random.default_rng(3)
    detector = gr_kaq.load_detector("lmmse", constellation="16qam")
    points = detector.constellation.points
    x = points[rng.integers(16, size=(200, 50, TX))]
    h = random_complex(rng, 200, RX, TX) / np.sqrt(2)
    noise_cov = covariances(rng, 200) / 5
    root = np.linalg.cholesky(noise_cov.astype(complex))
    noise = np.einsum("cab,ctb->cta", root, random_complex(rng, 200, 50, RX)) / np.sqrt(2)
    y = np.einsum("cab,ctb->cta", h, x) + noise

    def error(**noise):
        return np.mean(np.abs(detector.detect(y, h, **noise).symbols - x) ** 2)

    mean = np.einsum("caa->c", noise_cov).real / RX
    assert error(noise_cov=noise_cov) < 0.1 * error(noise_var=mean)


def test_invalid_vectors_are_counted_once():
    """NaN of one antenna reaches all of a whitened vector, and no other vector."""
    rng = np.random.default_rng(4)
    detector = gr_kaq.load_detector("admm5-16qam")
    h, y = random_complex(rng, C, RX, TX), random_complex(rng, C, T, RX)
    y[1, 2, 0], y[4, 6, 3] = np.nan, np.inf
    found = detector.detect(y, h, noise_cov=covariances(rng, C))
    assert found.num_invalid == 2
    assert not found.llrs[1, 2].any() and not found.llrs[4, 6].any() and np.isfinite(found.llrs).all()


@pytest.mark.parametrize("name", ["lmmse", "admm5-16qam"])
def test_pieces_with_and_without_covariance(name):
    """Estimates of both kinds in one call, and those that go on from the call before."""
    rng = np.random.default_rng(5)
    detector = gr_kaq.load_detector(name, constellation="16qam")
    h, y = random_complex(rng, 3, C, RX, TX), [random_complex(rng, 20, C) for _ in range(RX)]
    cov, of_channels = covariances(rng, C), rng.uniform(0.1, 1, C)
    pieces = [
        Piece(0, 3, h[0], noise_var=0.1),
        Piece(3, 5, h[1], noise_cov=cov),
        Piece(5, 6, h[1], noise_cov=cov, is_prepared=True),
        Piece(6, 9, h[2], snr_db=12.0),
        Piece(9, 12, h[2], snr_db=12.0, is_prepared=True),
        Piece(12, 20, h[0], noise_var=of_channels),
    ]

    def buffers():
        return [np.zeros((20, C), np.complex64) for _ in range(TX)]

    expected = buffers()
    for piece in pieces:
        given = {key: getattr(piece, key) for key in ("snr_db", "noise_var", "noise_cov")}
        prepared = detector.plan(C, RX, TX).prepare(piece.h, **given)
        prepared.detect_streams(*([s[piece.start : piece.stop] for s in streams] for streams in (y, expected)))
    for cuts in ([6], [1], [2], [3], [4], [1, 2, 3, 4, 5], [3, 4]):
        plan, found = detector.plan(C, RX, TX), buffers()
        for first, last in zip([0, *cuts], [*cuts, 6], strict=True):
            plan.detect_pieces(pieces[first:last], y, found)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("noise_cov", "message"),
    [
        (np.eye(3), r"noise_cov has shape \(3, 3\); \(5, 4, 4\) or \(4, 4\) expected"),
        (np.ones((4, 4, 4)), r"noise_cov has shape \(4, 4, 4\)"),
        (np.eye(4) * np.nan, "noise_cov holds NaN or Inf"),
        (np.zeros((4, 4)), "noise_cov of channel 0 is not positive definite"),
        (np.diag([1, 1, 1, -1]), "noise_cov of channel 0 is not positive definite"),
        (np.ones((4, 4)), "noise_cov of channel 0 is not positive definite, or nearly so"),
        (np.eye(4) + np.triu(np.ones((4, 4)), 1), "noise_cov of channel 0 is not Hermitian"),
        (np.stack([np.eye(4)] * 3 + [-np.eye(4)] * 2), "noise_cov of channel 3 is not positive definite"),
    ],
)
def test_what_is_no_covariance_is_refused(noise_cov, message):
    plan = gr_kaq.load_detector("lmmse", constellation="16qam").plan(C, RX, TX)
    with pytest.raises(ValueError, match=message):
        plan.prepare(np.ones((C, RX, TX)), noise_cov=noise_cov)


def test_one_kind_of_noise_is_expected():
    plan = gr_kaq.load_detector("lmmse", constellation="16qam").plan(C, RX, TX)
    with pytest.raises(ValueError, match="exactly one of snr_db and noise_var is expected, or noise_cov"):
        plan.prepare(np.ones((C, RX, TX)), noise_var=1.0, noise_cov=np.eye(RX))
