# SPDX-License-Identifier: GPL-3.0-or-later
"""What the native kernel does not take, it refuses: with the value that was given and what was expected."""

import re

import numpy as np
import pytest

from gr_kaq.native import extension

KERNEL = extension()


def zeros(*shape, dtype=np.complex64):
    return np.zeros(shape, dtype)


def search(num_rx=1, known=None, **changes):
    layout = {
        "fft_size": 64,
        "cp_length": 16,
        "timing_advance": 4,
        "num_symbols": 14,
        "period": 16,
        "num_periods": 10,
    }
    return KERNEL.FrameSearch(num_rx=num_rx, known=zeros(2, 240) if known is None else known, **{**layout, **changes})


def carriers(**changes):
    few = {"num_symbols": 3, "num_active": 8, "symbols": [1, 2], "pilots": [0, 4], "data": [1, 2, 3, 5]}
    return KERNEL.CarrierMap(**{**few, "values": zeros(2, 2), **changes})


def training(**changes):
    places = np.zeros((2, 1, 4), np.int32)
    few = {"num_symbols": 3, "num_active": 8, "comb": 2, "symbols": [0, 2], "indices": places, "carriers": places}
    return KERNEL.TrainingMap(**{**few, "inverse": zeros(2, 1, 4, dtype=complex), **changes})


def take_data(**changes):
    frame = {
        "grid": zeros(3, 2, 8),
        "h": zeros(3, 8, 2, 2),
        "phase": np.zeros(3),
        "scale": np.zeros((2, 2), np.float32),
    }
    return carriers().take_data(**{**frame, **changes})


def join(num_grids=12, num_active=16, num_tx=2):
    grids, scale = np.zeros((num_grids, 8, 14), np.float32), np.ones(3, np.float32)
    return KERNEL.join_windows(grids=grids, scale=scale, num_active=num_active, num_tx=num_tx)


def choose_doppler(coefficients, diagonals=6, pairs=6):
    offsets = KERNEL.OffsetModels(np.zeros((6, 5)), np.zeros(5))
    return offsets.choose_doppler(coefficients, np.zeros(diagonals), np.zeros(pairs), np.zeros(1), 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search(known=zeros(7, 240)), "1 to 4 streams expected; 7 given"),
        (lambda: search(known=zeros(240)), "known of shape (num_tx, known samples) expected; shape (240,) given"),
        (lambda: search(known=zeros(2, 239)), "240 known samples of each stream expected; 239 given"),
        (lambda: search(num_rx=0), "num_rx is 0; at least 1 expected"),
        (lambda: search(period=24), "period is 24; a multiple of 16 up to 65536 expected"),
        (lambda: search(fft_size=512), "OFDM symbols have 528 samples; at most 106 expected"),
        (lambda: search(num_rx=2).push(zeros(3, 5)), "samples of shape (2, any number) expected; shape (3, 5) given"),
        (
            lambda: KERNEL.carrier_offset(zeros(2, 80), 16),
            "more than 5 periods of 16 samples expected; 80 samples given",
        ),
        (lambda: KERNEL.carrier_offset(zeros(2, 80), 0), "a period of 1 to 214748363 samples expected; 0 given"),
        (lambda: carriers(pilots=[0, 8]), "pilots below 8 expected; 8 given"),
        (lambda: carriers(data=[-1, 2]), "data carriers below 8 expected; -1 given"),
        (lambda: carriers(symbols=[]), "at least one symbol with data expected"),
        (lambda: carriers(data=[1, 2, 3]), "as many data carriers for each of 2 symbols expected; 3 given"),
        (lambda: carriers(num_active=5000), "4096 active carriers at most; 5000 given"),
        (lambda: carriers(values=zeros(3, 2)), "values of shape (2, num_tx) expected; shape (3, 2) given"),
        (lambda: take_data(h=zeros(3, 8, 2, 3)), "h of shape (3, 8, 2, 2) expected; shape (3, 8, 2, 3) given"),
        (lambda: take_data(phase=np.zeros(4)), "phases of 3 symbols expected; 4 given"),
        (lambda: KERNEL.common_phases([1], [1, 2], [1], 1), "energy of 1 symbols expected; 2 given"),
        (lambda: training(symbols=[0, 3]), "symbols with training below 3 expected; 3 given"),
        (lambda: training(comb=0), "a comb of at least 1 expected; 0 given"),
        (
            lambda: training().least_squares(zeros(3, 1, 9)),
            "grid of shape (3, num_rx, 8) expected; shape (3, 1, 9) given",
        ),
        (lambda: KERNEL.DelayModels(np.ones((5, 2)), np.ones(5), 3), "per_share has to divide 5 models; 3 given"),
        (
            lambda: choose_doppler(zeros(2, 1, 2, 1, dtype=complex)),
            "(3, num_tx, modes, num_rx) expected; shape (2, 1, 2, 1)",
        ),
        (lambda: choose_doppler(zeros(3, 1, 2, 1, dtype=complex), pairs=7), "pairs of 1 Dopplers and 2 modes expected"),
        (lambda: KERNEL.antenna_energies(zeros(2, 3), axis=2), "one of 2 axes expected; axis 2 given"),
        (
            lambda: KERNEL.cut_windows(zeros(1, 8, 2, 1), np.ones(2, np.float32), 3),
            "width has to divide 8 carriers; 3 given",
        ),
        (lambda: join(num_grids=22), "2 windows of 3x2 pairs in two parts expected; 22 grids given"),
        (lambda: join(num_active=15), "num_active has to be a multiple of 8; 15 given"),
    ],
)
def test_error_says_what_was_given_and_expected(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_what_fits_is_taken():
    assert search().position == 0
    take_data()
    assert join(num_grids=24)[1]
    assert choose_doppler(zeros(3, 1, 2, 1, dtype=complex)) == (0, 0)
