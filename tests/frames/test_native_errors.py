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
        "delay_window": 12,
        "num_symbols": 14,
        "period": 16,
        "num_periods": 10,
    }
    return KERNEL.FrameSearch(num_rx=num_rx, known=zeros(2, 240) if known is None else known, **{**layout, **changes})


def carriers(**changes):
    few = {"num_symbols": 3, "num_active": 8, "symbols": [1, 2], "pilots": [0, 4], "data": [1, 2, 3, 5]}
    return KERNEL.CarrierMap(**{**few, "values": zeros(2, 2), **changes})


def make_filter(**changes):
    few = {"analysis": zeros(3, 1, 2, 4, dtype=complex), "diagonals": np.zeros(6), "pairs": np.zeros(6)}
    return KERNEL.DopplerFilter(**{**few, "constant": np.zeros(1), **changes})


def observer(make_filter=lambda *_: make_filter(), **changes):
    places = np.zeros((3, 1, 4), np.int32)
    few = {
        "num_symbols": 3,
        "num_active": 8,
        "comb": 2,
        "symbols": [0, 1, 2],
        "indices": places,
        "carriers": places,
        "inverse": zeros(3, 1, 4, dtype=complex),
        "noise_modes": zeros(3, 1, 1, 4, dtype=complex),
        "delay_modes": zeros(3, 1, 4, 4, dtype=complex),
        "delay_energies": np.ones((2, 4)),
        "delay_scores": np.ones(2),
        "per_share": 2,
        "offset_turns": np.zeros((6, 5)),
        "offset_scores": np.zeros(5),
        "offsets": [0.0] * 5,
    }
    return KERNEL.FrameObserver(**{**few, "make_filter": make_filter, **changes})


def wiener(**changes):
    few = {"analysis": zeros(2, 6, 12), "time": np.zeros((3, 2), np.float32), "frequency": zeros(8, 3)}
    return KERNEL.WienerFilter(**{**few, "error": np.zeros(3), **changes})


def profile(**changes):
    few = {"powers": np.ones(5), "frequency": zeros(8, 2), "seen": zeros(3, 1, 4, 2), "analysis": zeros(3, 1, 2, 4)}
    return KERNEL.DelayProfile(**{**few, "noise": np.ones(2), "energies": np.ones(2), **changes})


def memory(**changes):
    few = {
        "observer": observer(),
        "carriers": range(8),
        "fft_size": 16,
        "symbol_length": 20,
        "lead": 1.0,
        "sets": np.zeros((3, 1), np.int32),
        "dopplers": [0.0, 0.1],
        "frames": 8,
        "fit": lambda *_: profile(),
    }
    return KERNEL.FrameMemory(**{**few, **changes})


def interpolate(of=None, **changes):
    few = {"training": zeros(3, 1, 4, 2), "noise_var": np.ones(2), "delay": 0.0, "carrier_offset": 0.0}
    few |= {"delay_model": 0, "doppler": 1, "snr": 1.0, "arrival": None}
    return (of or memory()).interpolate(**{**few, **changes})


def estimator(**changes):
    few = {
        "observer": observer(),
        "interpolator": KERNEL.WienerFilters(lambda *_: wiener(), 2),
        "fft_size": 16,
        "active": range(8),
        "guards": [15],
        "numbers": range(8),
        "correction": zeros(8),
        "carriers": carriers(values=zeros(2, 1)),
        "num_rx": 1,
        "whitens": True,
    }
    return KERNEL.FrameEstimator(**{**few, **changes})


def estimate_frames(num_frames=1, **changes):
    few = {
        "transforms": [zeros(3 * num_frames, 16)],
        "starts": [3 * i for i in range(num_frames)],
        "arrivals": None,
        "received": [zeros(num_frames, 4)],
        "channels": [zeros(4) for _ in range(num_frames)],
        "magnitudes": None,
    }
    return estimator().estimate_frames(**{**few, **changes})


def take_data(**changes):
    frame = {
        "grid": zeros(3, 2, 8),
        "h": zeros(3, 8, 2, 2),
        "phase": np.zeros(3),
        "noise_var": np.ones(2),
        "error": np.zeros(3),
    }
    return carriers().take_data(**{**frame, **changes})


def join(num_grids=12, num_active=16, num_tx=2):
    grids, scale = np.zeros((num_grids, 8, 14), np.float32), np.ones(3, np.float32)
    return KERNEL.join_windows(grids=grids, scale=scale, num_active=num_active, num_tx=num_tx)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search(known=zeros(9, 240)), "1 to 8 streams expected; 9 given"),
        (lambda: search(known=zeros(240)), "known of shape (num_tx, known samples) expected; shape (240,) given"),
        (lambda: search(known=zeros(2, 239)), "240 known samples of each stream expected; 239 given"),
        (lambda: search(num_rx=0), "num_rx is 0; at least 1 expected"),
        (lambda: search(period=24), "period is 24; a multiple of 16 up to 65536 expected"),
        (lambda: search(fft_size=512), "OFDM symbols have 528 samples; at most 106 expected"),
        (lambda: search(num_rx=2).push([zeros(5)]), "samples of 2 antennas expected; 1 given"),
        (lambda: search(num_rx=2).push([zeros(5), zeros(4)]), "samples of shape (5,) expected; shape (4,) given"),
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
        (lambda: take_data(phase=np.zeros(4)), "phase of 3 symbols expected; 4 given"),
        (lambda: KERNEL.common_phases([1], [1, 2], [1], 1), "energy of 1 symbols expected; 2 given"),
        (lambda: take_data(noise_var=np.ones(3)), "noise_var of 2 antennas expected; 3 given"),
        (lambda: observer(symbols=[0, 1]), "3 symbols with training expected; 2 given"),
        (lambda: observer(symbols=[0, 1, 3]), "symbols with training below 3 expected; 3 given"),
        (lambda: observer(comb=0), "a comb of at least 1 expected; 0 given"),
        (lambda: observer(per_share=3), "per_share has to divide 2 models; 3 given"),
        (
            lambda: observer(noise_modes=zeros(3, 1, 1, 5, dtype=complex)),
            "noise_modes of shape (3, 1, modes, 4) expected",
        ),
        (lambda: observer(offset_turns=np.zeros(6)), "offset_turns of shape (6, 5) expected; shape (6,) given"),
        (
            lambda: observer().observe(zeros(3, 1, 9), zeros(1, 1, dtype=complex), 1),
            "grid of shape (3, num_rx, 8) expected; shape (3, 1, 9) given",
        ),
        (
            lambda: observer().observe(zeros(3, 1, 8), zeros(1, 2, dtype=complex), 1),
            "guards of shape (1, 1) expected; shape (1, 2) given",
        ),
        (
            lambda: observer().observe(zeros(3, 1, 8), zeros(1, 1, dtype=complex), 1, KERNEL.NoiseTrack(observer())),
            "a noise track of this observer expected",
        ),
        (
            lambda: observer(lambda *_: make_filter(analysis=zeros(3, 1, 2, 5, dtype=complex))).observe(
                zeros(3, 1, 8), zeros(1, 1, dtype=complex), 1
            ),
            "a DopplerFilter for 1 streams and 4 places",
        ),
        (lambda: make_filter(analysis=zeros(2, 1, 2, 4, dtype=complex)), "(3, num_tx, modes, places) expected"),
        (lambda: make_filter(pairs=np.zeros(7)), "pairs of 1 Dopplers and 2 modes expected; shape (7,) given"),
        (lambda: wiener(analysis=zeros(2, 5, 12)), "analysis of shape (num_tx, 6, values) expected"),
        (lambda: wiener(error=np.zeros(4)), "error of 3 symbols expected; 4 given"),
        (lambda: wiener().interpolate(zeros(3, 2, 5, 1)), "with 12 values of a stream expected; shape (3, 2, 5, 1)"),
        (lambda: estimator(active=range(7)), "8 active carriers expected; 7 given"),
        (lambda: estimator(guards=[16]), "guard carriers below 16 expected; 16 given"),
        (lambda: estimator(carriers=carriers()), "observer and carriers of one format expected"),
        (lambda: estimate_frames(starts=[1]), "frames that begin at 0 to 0 expected; 1 given"),
        (lambda: estimate_frames(transforms=[zeros(3, 15)]), "transforms of shape (items, 16) expected"),
        (lambda: estimator().collect_grid([zeros(3, 16)], 1), "frames that begin at 0 to 0 expected; 1 given"),
        (lambda: estimate_frames(received=[zeros(1, 5)]), "received of shape (1, 4) expected; shape (1, 5) given"),
        (lambda: estimate_frames(channels=[zeros(5)]), "a channel of 4 values expected; shape (5,) given"),
        (lambda: estimate_frames(magnitudes=np.zeros(7, np.float32)), "magnitudes of 8 values expected"),
        (lambda: estimate_frames(arrivals=[]), "1 arrivals expected"),
        (estimate_frames, "a filter for frames of another format"),
        (lambda: profile(frequency=zeros(8)), "frequency of shape (carriers, modes) expected; shape (8,) given"),
        (lambda: profile(seen=zeros(3, 1, 4, 3)), "seen of shape (symbols, num_tx, places, 2) expected"),
        (lambda: profile(analysis=zeros(3, 1, 4, 2)), "analysis of shape (3, 1, 2, 4) expected"),
        (lambda: profile(noise=np.ones(3)), "noise and energies of 2 modes expected; shape (3,) given"),
        (lambda: memory(carriers=range(7)), "8 carriers expected; 7 given"),
        (lambda: memory(carriers=range(16, 24)), "carriers between -16 and 16 expected; 16 to 23 given"),
        (lambda: memory(carriers=range(1, 9)), "carriers that include those with training expected; 0 is not there"),
        (lambda: memory(symbol_length=0), "a symbol_length of at least 1 expected; 0 given"),
        (lambda: memory(sets=np.zeros((3, 2), np.int32)), "sets of shape (3, 1) expected; shape (3, 2) given"),
        (lambda: memory(sets=np.full((3, 1), 3, np.int32)), "sets below 3 expected; 3 given"),
        (lambda: memory(dopplers=[]), "at least one of dopplers expected"),
        (lambda: memory(frames=0), "frames is 0; at least 1 expected"),
        (lambda: interpolate(training=zeros(3, 1, 5, 2)), "training of shape (3, 1, 4, num_rx) expected"),
        (lambda: interpolate(noise_var=np.ones(3)), "noise_var of 2 antennas expected; 3 given"),
        (lambda: interpolate(doppler=2), "doppler below 2 expected; 2 given"),
        (
            lambda: interpolate(memory(fit=lambda *_: profile(frequency=zeros(9, 2)))),
            "a DelayProfile for frames of this format",
        ),
        (
            lambda: estimator(interpolator=memory(observer=observer(comb=3, num_active=9), carriers=range(9))),
            "memory and observer of one format expected",
        ),
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
    assert observer().observe(zeros(3, 1, 8), zeros(1, 1, dtype=complex), 1)[4:6] == (0, 0)
    assert wiener().interpolate(zeros(3, 2, 4, 5)).shape == (3, 8, 5, 2)
    assert interpolate()[0].shape == (3, 8, 2, 1)
    estimator(interpolator=memory())
