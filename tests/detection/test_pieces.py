# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of a call that have estimates of their own, as in the flowgraph's buffers."""

from __future__ import annotations

import numpy as np
import pytest

import gr_kaq
from gr_kaq.detection.result import Piece
from tests.detection.models import random_complex

C, RX, TX, BITS = 5, 4, 3, 4
SIZE = (C, RX, TX)
DETECTORS = [("admm5-16qam", {}), ("list8-16qam", {}), ("lmmse", {"constellation": "16qam"})]


def buffers(num_vectors: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    symbols = [np.zeros((num_vectors, C), np.complex64) for _ in range(TX)]
    return symbols, [np.zeros((num_vectors, C * BITS), np.float32) for _ in range(TX)]


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(("name", "more"), DETECTORS)
def test_pieces_equal_estimates_one_by_one(name, more, backend):
    """Of any length, with gaps; with an SNR or a noise variance; and one that goes on from the call before."""
    rng = np.random.default_rng(3)
    detector = gr_kaq.load_detector(name, backend=backend, **more)
    h = random_complex(rng, 3, *SIZE)
    pieces = [
        Piece(1, 3, h[0], noise_var=0.1, vectors_per_estimate=2),
        Piece(3, 4, h[1], snr_db=12.0),
        Piece(6, 18, h[2], noise_var=0.02, vectors_per_estimate=12),
        Piece(18, 20, h[2], noise_var=0.02, vectors_per_estimate=12, is_prepared=True),
    ]
    y = [random_complex(rng, 20, C) for _ in range(RX)]
    y[1][2, 0] = y[2][19, 4] = np.nan
    expected, found = buffers(20), buffers(20)
    for start, stop, of, snr_db, noise_var, count, *_ in pieces:
        prepared = detector.plan(*SIZE).prepare(of, snr_db=snr_db, noise_var=noise_var, vectors_per_estimate=count)
        prepared.detect_streams(*([stream[start:stop] for stream in streams] for streams in (y, *expected)))
    plan = detector.plan(*SIZE)
    assert plan.detect_pieces(pieces[:3], y, *found) == 1
    assert plan.detect_pieces(pieces[3:], y, *found) == 1
    assert plan.detect_pieces([], y, *found) == 0
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


H = np.ones(SIZE, np.complex64)


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (Piece(0, 5, H, noise_var=1.0), "a piece of vectors 0 to 5 given; 4 are there"),
        (Piece(-1, 2, H, noise_var=1.0), "a piece of vectors -1 to 2"),
        (Piece(3, 2, H, noise_var=1.0), "a piece of vectors 3 to 2"),
        (Piece(0, 2, H[1:], noise_var=1.0), r"shape \(4, 4, 3\) given"),
        (Piece(0, 2, H.astype(np.complex128), noise_var=1.0), "h of complex64"),
        (Piece(0, 2, H[:, :, ::-1], noise_var=1.0), "h of complex64"),
        (Piece(0, 2, H * np.float32(np.nan), noise_var=1.0), "h holds NaN or Inf"),
        (Piece(0, 2, H), "exactly one of snr_db and noise_var"),
        (Piece(0, 2, H, 1.0, 1.0), "exactly one of snr_db and noise_var"),
        (Piece(0, 2, H, noise_var=-1.0), "noise_var has to be finite and not negative"),
        (Piece(0, 2, H, snr_db=float("inf")), "snr_db has to be finite"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(piece, message):
    plan = gr_kaq.load_detector("admm5-16qam").plan(*SIZE)
    y = [np.ones((4, C), np.complex64)] * RX
    with pytest.raises(ValueError, match=message):
        plan.detect_pieces([piece], y, *buffers(4))
