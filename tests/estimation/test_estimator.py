# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimation of a frame: errors of the estimates on fading channels, statistics, phases, broken antennas."""

import warnings
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.channels.fading import TappedDelayLine
from gr_kaq.channels.flat import complex_normal
from gr_kaq.estimation.estimator import (
    INTERPOLATORS,
    SATURATION,
    ChannelEstimator,
    LinearInterpolator,
    WienerInterpolator,
    observe,
    without_errors,
)
from gr_kaq.estimation.observation import DELAY_SPREADS, DOPPLERS, Arrival, j0
from gr_kaq.frames.frame_format import DATA_SYMBOLS, NUM_SYMBOLS, FrameFormat
from gr_kaq.native import extension
from gr_kaq.signals.signal_model import db, from_db

SPACING, SYMBOL = 31250.0, 40e-6  # the reference numerology: carrier spacing in Hz, symbol in s
PROFILES = ("tdl-a", "tdl-b", "tdl-c")
METHODS = ("ls", "lmmse-frequency", "lmmse")
SYMBOLS = np.arange(NUM_SYMBOLS)[:, None, None, None]


@lru_cache(maxsize=2000)
def fading(frame_format, num_rx, profile, delay_spread, doppler, seed):
    line = TappedDelayLine(
        num_rx, frame_format.num_tx, profile=profile, delay_spread=delay_spread, doppler=doppler, seed=seed
    )
    return line.frequency_response(np.arange(NUM_SYMBOLS) * SYMBOL, frame_format.active_carriers * SPACING)


def receive(frame_format, h, noise_var, rng):
    """The received grid and guard carriers of a frame with random data, through h (14, num_active, num_rx, num_tx)."""
    sent = frame_format.fill_grid(frame_format.map_bits(rng.integers(0, 2, frame_format.coded_bits, dtype=np.uint8)))
    num_rx = h.shape[2]
    clean = (h @ sent.swapaxes(1, 2)[..., None])[..., 0].swapaxes(1, 2)
    deviation = np.sqrt(np.broadcast_to(noise_var, num_rx))[:, None]
    grid = clean + deviation * complex_normal(rng, clean.shape)
    guards = deviation * complex_normal(rng, (NUM_SYMBOLS, num_rx, len(frame_format.guard_carriers)))
    return grid.astype(np.complex64), guards.astype(np.complex64), sent


def frames(frame_format, num_rx, doppler, snr_db, count, delay_spread=None, seed=0, profiles=PROFILES):
    """(h, grid, guards) of frames over profiles and, unless one is given, delay spreads; the mean SNR is snr_db."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        spread = delay_spread or (50e-9, 150e-9, 300e-9)[i // 3 % 3]
        h = fading(frame_format, num_rx, profiles[i % len(profiles)], spread, doppler, 1000 * seed + i)
        grid, guards, _ = receive(frame_format, h, frame_format.num_tx / from_db(snr_db), rng)
        yield h, grid, guards


def squared_error(h, estimate):
    return np.mean(np.abs(estimate.h * np.exp(1j * estimate.phase)[:, None, None, None] - h) ** 2)


def mean_error_db(frame_format, num_rx, method, doppler, snr_db, count=18, profiles=PROFILES):
    estimator = ChannelEstimator(frame_format, method)
    given = frames(frame_format, num_rx, doppler, snr_db, count, profiles=profiles)
    return float(db(np.mean([squared_error(h, estimator.estimate(*y)) for h, *y in given])))


# The error of the estimates


@pytest.mark.parametrize(
    ("num_tx", "fft_size", "doppler", "snr_db", "margin_db"),
    [
        (2, 64, 0, 10, 8), (2, 64, 400, 20, 5), (4, 64, 0, 10, 6), (4, 64, 1000, 20, 6), (3, 64, 200, 15, 5),
        (4, 256, 200, 10, 6),
    ],
)  # fmt: skip
def test_lmmse_is_far_better_than_ls(num_tx, fft_size, doppler, snr_db, margin_db):
    """The baseline that a learned estimator is compared with has to use what the frame says of its channel."""
    frame_format = FrameFormat(num_tx, fft_size)
    count = 18 if fft_size == 64 else 6
    linear, frequency, lmmse = (mean_error_db(frame_format, num_tx, m, doppler, snr_db, count) for m in METHODS)
    assert lmmse < linear - margin_db
    assert lmmse < frequency - 0.5 and frequency < linear


@pytest.mark.parametrize("num_tx", [2, 4])
def test_lmmse_is_better_than_ls_on_a_line_of_sight(num_tx):
    """The power delay profile is far from exponential there: a strong path, and a weak long tail behind it."""
    frame_format = FrameFormat(num_tx)
    profiles = ("tdl-d", "tdl-e", "flat")
    linear, _, lmmse = (mean_error_db(frame_format, num_tx, m, 200, 20, 18, profiles) for m in METHODS)
    assert lmmse < linear - 2


@pytest.mark.parametrize(("num_tx", "doppler", "snr_db"), [(2, 0, 30), (2, 400, 15), (4, 400, 30), (4, 1000, 10)])
def test_the_statistics_cost_little(num_tx, doppler, snr_db):
    """What a single frame says of SNR, delays and Doppler is nearly as good as knowing them: within 1 dB."""
    frame_format = FrameFormat(num_tx)
    wiener = WienerInterpolator(frame_format)
    estimated, known = [], []
    for h, grid, guards in frames(frame_format, num_tx, doppler, snr_db, 18, delay_spread=150e-9):
        seen = observe(frame_format, grid, guards)
        turns = np.exp(2j * np.pi * seen.delay * frame_format.active_carriers / frame_format.fft_size)[:, None, None]
        offset = np.exp(-2j * np.pi * seen.carrier_offset * SYMBOLS)
        told = replace(
            seen, snr_db=snr_db, delay_spread=150e-9 * SPACING * frame_format.fft_size, doppler=doppler * SYMBOL
        )
        estimated.append(np.mean(np.abs(wiener(seen) - h * turns * offset) ** 2))
        known.append(np.mean(np.abs(wiener(told) - h * turns * offset) ** 2))
    assert db(np.mean(estimated)) < db(np.mean(known)) + 1


@pytest.mark.parametrize("method", INTERPOLATORS)
@pytest.mark.parametrize(("num_tx", "fft_size"), [(1, 64), (2, 64), (3, 64), (4, 64), (3, 256)])
def test_a_flat_channel_without_noise_comes_back(method, num_tx, fft_size):
    """Every place of every stream in every symbol: nothing is swapped, shifted or scaled."""
    frame_format, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(0)
    h = np.broadcast_to(complex_normal(rng, (3, num_tx)), (NUM_SYMBOLS, frame_format.num_active, 3, num_tx))
    grid, guards, sent = receive(frame_format, h, 1e-8, rng)
    estimator = ChannelEstimator(frame_format, method)
    estimate = estimator.estimate(grid, guards)
    np.testing.assert_allclose(estimate.h, h, atol=2e-2)
    data = estimator.data_symbols(grid, estimate)
    places = frame_format.data_indices
    x = np.stack([sent[symbol][:, p] for symbol, p in zip(DATA_SYMBOLS, places, strict=True)]).swapaxes(1, 2)
    expected = (data.h @ x[..., None])[..., 0].transpose(2, 0, 1)
    np.testing.assert_allclose(data.received, expected, atol=0.1)


@given(
    num_tx=st.integers(1, 4),
    delay=st.floats(-3, 5),
    phase=st.floats(-3.2, 3.2),
    carrier_offset=st.floats(-0.02, 0.02),
    gain_db=st.floats(-80, 80),
)
@settings(max_examples=25)
def test_delay_offset_and_gain_do_not_matter(num_tx, delay, phase, carrier_offset, gain_db):
    """A late synchronizer, what it leaves of the carrier offset, and the gain of a radio: the error stays the same."""
    frame_format, rng = FrameFormat(num_tx), np.random.default_rng(0)
    h = fading(frame_format, 2, "tdl-b", 100e-9, 0.0, num_tx)
    ramp = np.exp(-2j * np.pi * delay * frame_format.active_carriers / frame_format.fft_size)[:, None, None]
    turned = h * ramp * np.exp(1j * phase + 2j * np.pi * carrier_offset * SYMBOLS) * from_db(gain_db / 2)
    noise_var = num_tx / 100
    grid, guards, _ = receive(frame_format, turned, noise_var * from_db(gain_db), rng)
    estimate = ChannelEstimator(frame_format).estimate(grid, guards)
    assert squared_error(turned, estimate) < 0.5 * noise_var / num_tx * from_db(gain_db)
    assert estimate.carrier_offset == pytest.approx(carrier_offset, abs=0.003)


# The statistics


@pytest.mark.parametrize("num_tx", [1, 2, 3, 4])
@pytest.mark.parametrize("snr_db", [0, 10, 20, 30])
def test_noise_variance_within_a_decibel(num_tx, snr_db):
    """Mean over the antennas; one antenna's has a standard deviation of 0.35 dB (0.2 dB at 256 carriers)."""
    frame_format = FrameFormat(num_tx)
    for _, grid, guards in frames(frame_format, 4, 400, snr_db, 12):
        noise_var = observe(frame_format, grid, guards).noise_var * from_db(snr_db) / num_tx
        assert abs(db(np.mean(noise_var))) < 1
        assert np.all(np.abs(db(noise_var)) < 1.6)


@pytest.mark.parametrize("factor", [0.05, 20.0])
def test_guard_carriers_that_hold_something_else_are_noticed(factor):
    """A radio's filters take noise away there, and neighbours add: the training symbols know better."""
    frame_format = FrameFormat(2)
    for _, grid, guards in frames(frame_format, 2, 0, 20, 6):
        noise_var = observe(frame_format, grid, guards * np.float32(factor)).noise_var
        np.testing.assert_allclose(db(noise_var * 100 / 2), 0, atol=2)


@pytest.mark.parametrize("doppler", [0, 200, 400, 700, 1000])
@pytest.mark.parametrize("snr_db", [10, 25])
def test_doppler_within_150_hz(doppler, snr_db):
    """Half of the frames of 4x4; a single frame is too short to tell the Doppler closely."""
    frame_format = FrameFormat(4)
    estimates = [observe(frame_format, *y).doppler / SYMBOL for _, *y in frames(frame_format, 4, doppler, snr_db, 12)]
    assert np.median(estimates) == pytest.approx(doppler, abs=150)


@pytest.mark.parametrize("delay_spread", [50e-9, 100e-9, 300e-9])
@pytest.mark.parametrize(("num_tx", "fft_size"), [(4, 64), (2, 256)])
def test_delay_spread_within_a_factor_of_1_6(delay_spread, num_tx, fft_size):
    """Half of the frames, at 20 dB: what the filters need, see test_the_statistics_cost_little."""
    frame_format = FrameFormat(num_tx, fft_size)
    found = [
        observe(frame_format, *y).delay_spread
        for _, *y in frames(frame_format, num_tx, 200, 20, 9, delay_spread=delay_spread)
    ]
    ratio = np.median(found) / (delay_spread * SPACING * fft_size)
    assert 1 / 1.6 < ratio < 1.6


def test_j0():
    """From the tables of Abramowitz and Stegun, 9.4."""
    zero = 2.404825557695773
    table = [1, 0.7651976866, 0, -0.1775967713, -0.0142244728]
    np.testing.assert_allclose(j0([0, 1, zero, 5, 15]), table, atol=1e-9)


def test_the_told_error_is_the_error():
    """A detector is told noise and estimation error together: it has to know how far it can trust the symbols."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(3)
    for doppler, snr_db in ((0, 10), (400, 20), (1000, 20)):
        told, true = [], []
        estimator = ChannelEstimator(frame_format)
        for i in range(12):
            h = fading(frame_format, 2, PROFILES[i % 3], 150e-9, doppler, i)
            grid, guards, sent = receive(frame_format, h, 2 / from_db(snr_db), rng)
            data = estimator.data_symbols(grid, estimator.estimate(grid, guards))
            x = np.stack(
                [sent[t][:, p] for t, p in zip(DATA_SYMBOLS, frame_format.data_indices, strict=True)]
            ).swapaxes(1, 2)
            error = data.received.transpose(1, 2, 0) - (data.h @ x[..., None])[..., 0]
            told.append(data.noise_var)
            true.append(np.mean(np.abs(error) ** 2))
        assert db(np.mean(told) / np.mean(true)) == pytest.approx(0, abs=0.6)


# Phases


def test_a_phase_ramp_and_jumps_are_removed():
    """Phase noise of a cheap oscillator: each symbol has a phase of its own."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    h = fading(frame_format, 2, "tdl-b", 100e-9, 0.0, 5)
    phase = 0.2 * rng.standard_normal(NUM_SYMBOLS) + 0.05 * np.arange(NUM_SYMBOLS)
    turned = h * np.exp(1j * phase)[:, None, None, None]
    grid, guards, _ = receive(frame_format, turned, 2e-3, rng)
    estimate = ChannelEstimator(frame_format).estimate(grid, guards)
    data = np.array(DATA_SYMBOLS)
    error = (estimate.h * np.exp(1j * estimate.phase)[:, None, None, None] - turned)[data]
    assert np.mean(np.abs(error) ** 2) < 0.01 * np.mean(np.abs(h) ** 2)
    still = (estimate.h - turned)[data]
    assert np.mean(np.abs(still) ** 2) > 0.03 * np.mean(np.abs(h) ** 2)  # without the tracking


@given(snr_db=st.floats(-10, 30), deviation=st.floats(0, 0.5), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_tracking_is_no_worse_than_none_and_no_worse_than_plain_angles(snr_db, deviation, seed):
    """Shrinking by what is noise: mean squared error over many frames against both alternatives."""
    rng = np.random.default_rng(seed)
    shape = (100, 11, 8)
    expected = complex_normal(rng, shape)
    phase = deviation * rng.standard_normal(shape[:2])
    received = expected * np.exp(1j * phase)[..., None] + from_db(-snr_db / 2) * complex_normal(rng, shape)
    correlation = np.sum(np.conj(expected) * received, axis=-1)
    energies = np.sum(np.abs(expected) ** 2, axis=-1), np.sum(np.abs(received) ** 2, axis=-1)
    track = extension().common_phases
    tracked = np.stack([track(*frame, shape[-1]) for frame in zip(correlation, *energies, strict=True)])
    plain = np.angle(correlation)
    error = np.mean((tracked - phase) ** 2)
    noise = np.mean((plain - phase) ** 2)
    assert error < 1.15 * min(np.mean(phase**2), noise) + 0.35 * noise


# Interference


def interfere(frame_format, grid, guards, rng, power, carriers=None, direction=None):
    """Gaussian interference of this power on some carriers, or on all and the guards: from one direction."""
    num_rx = grid.shape[1]
    direction = complex_normal(rng, (num_rx,)) if direction is None else direction
    signal = power**0.5 * complex_normal(rng, (NUM_SYMBOLS, frame_format.num_active))
    beside = power**0.5 * complex_normal(rng, (NUM_SYMBOLS, guards.shape[2]))
    if carriers is not None:
        beside[:] = 0
        signal[:, ~np.isin(frame_format.active_carriers, carriers)] = 0
    add = direction[:, None]
    return grid + (add * signal[:, None]).astype(np.complex64), guards + (add * beside[:, None]).astype(np.complex64)


def detected_error(estimator, grid, guards, sent):
    """Mean squared error of LMMSE detection of each data carrier, (11, num_data)."""
    frame_format = estimator.frame_format
    data = estimator.data_symbols(grid, estimator.estimate(grid, guards))
    h_h = data.h.conj().swapaxes(-1, -2)
    gram = h_h @ data.h + data.noise_var * np.eye(frame_format.num_tx)
    x = np.linalg.solve(gram, np.einsum("sdtr,rsd->sdt", h_h, data.received)[..., None])[..., 0]
    truth = np.stack([sent[t][:, p].T for t, p in zip(DATA_SYMBOLS, frame_format.data_indices, strict=True)])
    return np.mean(np.abs(x - truth) ** 2, axis=-1)


@pytest.mark.parametrize("method", INTERPOLATORS)
@pytest.mark.parametrize("num_tx", [1, 2, 4])
def test_interference_on_four_carriers_leaves_the_others_alone(num_tx, method):
    """20 dB above the signal there. The carriers that it hits say little afterwards, and no longer mislead."""
    frame_format, jammed = FrameFormat(num_tx), np.arange(8, 12)
    rng = np.random.default_rng(num_tx)
    alone, beside, powers = [], [], []
    for i in range(10):
        estimator = ChannelEstimator(frame_format, method)
        h = fading(frame_format, num_tx + 1, "tdl-a", 100e-9, 100.0, i)
        grid, guards, sent = receive(frame_format, h, num_tx / from_db(20), rng)
        alone.append(detected_error(estimator, grid, guards, sent))
        grid, guards = interfere(frame_format, grid, guards, rng, 100 * num_tx, jammed)
        estimator = ChannelEstimator(frame_format, method)
        beside.append(detected_error(estimator, grid, guards, sent))
        found = estimator.estimate(grid, guards).interference
        assert -1 <= found.first - 8 <= 0 and 0 <= found.last - 11 <= 1
        powers.append(found.power_db + db(np.mean(np.abs(h) ** 2)))
    assert np.mean(powers) == pytest.approx(db(100 * 4 / 52), abs=2)
    hit = np.isin(frame_format.active_carriers[frame_format.data_indices], np.arange(7, 13))
    assert np.mean(np.array(beside)[:, ~hit]) < 1.5 * np.mean(np.array(alone)[:, ~hit])
    assert np.mean(np.array(beside)[:, hit]) < 1  # no worse than to say nothing


@pytest.mark.parametrize("method", INTERPOLATORS)
def test_interference_from_one_direction_is_cancelled(method):
    """With two antennas more than streams: 10 dB above the signal on all carriers costs one antenna."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    estimator, errors, wrong_db = ChannelEstimator(frame_format, method), [], []
    direction = complex_normal(rng, (4,))
    for i in range(10):
        h = fading(frame_format, 4, "tdl-a", 100e-9, 100.0, i)
        grid, guards, sent = receive(frame_format, h, 2 / from_db(20), rng)
        grid, guards = interfere(frame_format, grid, guards, rng, 20.0, direction=direction)
        errors.append(detected_error(estimator, grid, guards, sent).mean())
        found = estimator.estimate(grid, guards).interference
        assert (found.first, found.last) == (-26, 26)
        wrong_db.append(found.power_db - db(10 * np.mean(np.abs(direction) ** 2) / np.mean(np.abs(h) ** 2)))
    assert np.mean(errors) < 0.05
    assert abs(np.mean(wrong_db)) < 1


def test_noise_that_is_white_stays_as_it_is():
    """Whitening is for interference: what gains and noise figures do to antennas is no reason for it."""
    rng = np.random.default_rng(1)
    for num_tx, num_rx in ((1, 1), (2, 2), (2, 4), (4, 4)):
        frame_format = FrameFormat(num_tx)
        estimator = ChannelEstimator(frame_format)
        for i in range(40):
            h = fading(frame_format, num_rx, PROFILES[i % 3], 100e-9, 200.0, i % 9)
            noise_var = num_tx / from_db(5 + i % 4 * 8) * rng.uniform(0.5, 2, num_rx)
            grid, guards, _ = receive(frame_format, h, noise_var, rng)
            gains = np.float32(10.0) ** rng.uniform(-2, 2, (num_rx, 1)).astype(np.float32)
            assert estimator.estimate(gains * grid, gains * guards).whitening is None


def test_interference_everywhere_is_noise():
    """Independent at each antenna and on all carriers, it is what the noise is."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(2)
    h = fading(frame_format, 2, "tdl-a", 100e-9, 100.0, 1)
    estimate = ChannelEstimator(frame_format).estimate(*receive(frame_format, h, 4.0, rng)[:2])
    assert estimate.interference is None
    np.testing.assert_allclose(db(estimate.noise_var), db(4.0), atol=1.5)


@pytest.mark.parametrize("method", ["ls", "lmmse"])
def test_many_interfered_frames_are_what_each_is_alone(method):
    """What is known of the interference goes from frame to frame, in the kernel as in single steps."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(3)
    transforms = np.zeros((3, 6 * NUM_SYMBOLS, 64), np.complex64)
    alone, estimator = [], ChannelEstimator(frame_format, method)
    direction = complex_normal(rng, (3,))
    for i in range(6):
        h = fading(frame_format, 3, "tdl-a", 100e-9, 100.0, i)
        grid, guards, _ = receive(frame_format, h, 2e-2, rng)
        if i != 3:
            grid, guards = interfere(frame_format, grid, guards, rng, 3.0, np.arange(-20, -16), direction)
        if i > 3:
            grid, guards = interfere(frame_format, grid, guards, rng, 1.0)
        symbols = transforms[:, i * NUM_SYMBOLS : (i + 1) * NUM_SYMBOLS].swapaxes(0, 1)
        symbols[..., frame_format.active_carriers + 32] = grid / frame_format.advance_correction
        symbols[..., frame_format.guard_carriers + 32] = guards
        estimate = estimator.estimate(grid, guards)
        alone.append((estimate, estimator.data_symbols(grid, estimate)))
    received = np.empty((3, 6, frame_format.data_per_stream), np.complex64)
    channels = np.empty((6, frame_format.data_per_stream * 3 * 2), np.complex64)
    magnitudes = np.empty((6, 3 * 2 * frame_format.num_active), np.float32)
    reports = ChannelEstimator(frame_format, method).estimate_frames(
        transforms, range(0, 6 * NUM_SYMBOLS, NUM_SYMBOLS), received, channels, magnitudes
    )
    assert [report.interference is None for report in reports] == [i == 3 for i in range(6)]
    for i, ((estimate, data), report) in enumerate(zip(alone, reports, strict=True)):
        np.testing.assert_allclose(received[:, i].reshape(data.received.shape), data.received, atol=2e-3)
        np.testing.assert_allclose(channels[i].reshape(data.h.shape), data.h, atol=2e-3)
        shown = magnitudes[i].reshape(3, 2, -1)
        np.testing.assert_allclose(shown, db(np.abs(estimate.h[7]) ** 2).transpose(1, 2, 0), atol=0.05)
        assert report.data_noise_var == pytest.approx(data.noise_var, rel=1e-3)
        if report.interference:
            assert report.interference[:2] == estimate.interference[:2]
            assert report.interference.power_db == pytest.approx(estimate.interference.power_db, abs=0.01)


# Broken antennas


@pytest.mark.parametrize("method", INTERPOLATORS)
@pytest.mark.parametrize("broken", ["zeros", "noise", "nan", "inf", "huge", "tiny", "denormal", "other gain"])
def test_a_broken_antenna_leaves_the_others_alone(method, broken):
    """A cable comes off: the link lives on with fewer antennas, and everything stays finite."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    h = fading(frame_format, 3, "tdl-a", 100e-9, 100.0, 1)
    grid, guards, _ = receive(frame_format, h, 2e-2, rng)
    healthy = ChannelEstimator(frame_format, method).estimate(grid, guards)
    factor = {
        "zeros": 0,
        "noise": 0,
        "nan": np.nan,
        "inf": np.inf,
        "huge": 1e20,
        "tiny": 1e-25,
        "denormal": 1e-42,
        "other gain": 30,
    }[broken]
    with np.errstate(all="ignore"):
        grid[:, 1] *= np.float32(factor)
        guards[:, 1] *= np.float32(factor)
    if broken == "noise":
        grid[:, 1], guards[:, 1] = complex_normal(rng, grid[:, 1].shape), complex_normal(rng, guards[:, 1].shape)
    estimator = ChannelEstimator(frame_format, method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = estimator.estimate(grid, guards)
        data = estimator.data_symbols(grid, estimate)
    for values in (*vars(estimate).values(), *vars(data).values()):
        assert values is None or np.isfinite(values).all()
    error = np.mean(np.abs(estimate.h - healthy.h)[:, :, [0, 2]] ** 2)
    assert error < 0.3 * 2e-2
    if broken == "zeros":
        assert not data.received[1].any() and not data.h[:, :, 1].any()


@pytest.mark.parametrize("value", [2 * SATURATION, 2j * SATURATION, -1e30, np.inf, complex(0, np.nan)])
def test_samples_that_are_absurd_count_as_zero(value):
    samples = np.full((2, 50), SATURATION / 2, np.complex64)
    np.testing.assert_array_equal(without_errors(samples), samples)
    samples[1, 7] = value
    expected = samples.copy()
    expected[1, 7] = 0
    np.testing.assert_array_equal(without_errors(samples), expected)


def test_one_absurd_sample_among_zeros_counts_as_zero():
    samples = np.zeros((2, 50), np.complex64)
    samples[0, 3] = 2 * SATURATION
    assert not without_errors(samples).any()


@pytest.mark.parametrize("num_tx", [1, 4])
@pytest.mark.parametrize("method", INTERPOLATORS)
def test_a_frame_of_zeros(method, num_tx):
    """Nothing is received, and nothing is estimated: no NaN, and a noise variance that a detector takes."""
    frame_format = FrameFormat(num_tx)
    grid = np.zeros((NUM_SYMBOLS, 2, frame_format.num_active), np.complex64)
    estimator = ChannelEstimator(frame_format, method)
    estimate = estimator.estimate(grid, np.zeros((NUM_SYMBOLS, 2, 11), np.complex64))
    data = estimator.data_symbols(grid, estimate)
    assert not estimate.h.any() and not data.h.any() and not data.received.any()
    for values in (*vars(estimate).values(), *vars(data).values()):
        assert values is None or np.isfinite(values).all()
    assert np.all(data.noise_var > 0)


@pytest.mark.parametrize("method", INTERPOLATORS)
@pytest.mark.parametrize("noise", [0.0, 2e-2])
def test_frames_of_any_level(method, noise):
    """From denormal samples to the largest ones, also where there is no noise: estimates, and all of them finite."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    h = fading(frame_format, 3, "tdl-a", 100e-9, 100.0, 1)
    grid, guards, _ = receive(frame_format, h, noise, rng)
    for exponent in range(-45, 37):
        estimator = ChannelEstimator(frame_format, method)
        for number in range(2):
            level = np.float32(10.0**exponent)
            arrival = Arrival(1400 * number, 0.0)
            estimate = estimator.estimate(grid * level, guards * level, arrival)
            data = estimator.data_symbols(grid * level, estimate)
            for values in (*vars(estimate).values(), *vars(data).values()):
                assert values is None or np.isfinite(values).all(), (exponent, number)


@pytest.mark.parametrize("method", INTERPOLATORS)
def test_denormal_antennas_beside_one_with_interference(method):
    """They receive nothing; the noise is made white on the others alone."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    grid, guards, _ = receive(frame_format, fading(frame_format, 3, "tdl-a", 100e-9, 0.0, 1), 2e-2, rng)
    for samples in (grid, guards):
        samples[:, :2] = complex_normal(rng, samples[:, :2].shape) * np.float32(1e-42)
    grid[:, 2, 20:24] += 300 * complex_normal(rng, grid[:, 2, 20:24].shape)
    estimator = ChannelEstimator(frame_format, method)
    for number in range(3):
        estimate = estimator.estimate(grid, guards, Arrival(1400 * number, 0.0))
        data = estimator.data_symbols(grid, estimate)
        for values in (*vars(estimate).values(), *vars(data).values()):
            assert values is None or np.isfinite(values).all()
        assert not data.received[:2].any() and data.received[2].any()


def test_antennas_are_scaled_to_equal_noise():
    """A detector has one noise variance for all antennas; they may have different gains and noise figures."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(0)
    h = fading(frame_format, 3, "tdl-a", 100e-9, 0.0, 1)
    noise_var = np.array([1e-3, 1e-2, 1e-1])
    grid, guards, sent = receive(frame_format, h, noise_var, rng)
    estimator = ChannelEstimator(frame_format)
    data = estimator.data_symbols(grid, estimator.estimate(grid, guards))
    x = np.stack([sent[t][:, p] for t, p in zip(DATA_SYMBOLS, frame_format.data_indices, strict=True)]).swapaxes(1, 2)
    error = data.received.transpose(1, 2, 0) - (data.h @ x[..., None])[..., 0]
    each = np.mean(np.abs(error) ** 2, axis=(0, 1)) / data.noise_var
    np.testing.assert_allclose(db(each), 0, atol=2.5)


@pytest.mark.parametrize("shift", [-0.4, 0.4])
def test_the_filter_is_that_of_the_nearest_statistics(shift):
    """Whoever makes an observation need not know which statistics there are filters for."""
    frame_format = FrameFormat(2)
    ((_, grid, guards),) = frames(frame_format, 2, 500, 20, 1)
    step = 7
    on_grid = replace(
        observe(frame_format, grid, guards),
        delay_spread=float(DELAY_SPREADS[step]) * frame_format.fft_size,
        doppler=float(DOPPLERS[step]),
        diffuse=1.0,
    )

    def beside(steps):
        return float(steps[step] + shift * abs(steps[step + (1 if shift > 0 else -1)] - steps[step]))

    between = replace(on_grid, delay_spread=beside(DELAY_SPREADS) * frame_format.fft_size, doppler=beside(DOPPLERS))
    interpolate = WienerInterpolator(frame_format)
    np.testing.assert_array_equal(interpolate(between), interpolate(on_grid))


def test_any_interpolator_can_be_plugged_in():
    """The learned one is; and one that returns NaN does not get them into the flowgraph."""
    frame_format = FrameFormat(2)
    ((_, grid, guards),) = frames(frame_format, 2, 0, 20, 1)
    linear = LinearInterpolator(frame_format)
    same = ChannelEstimator(frame_format, linear).estimate(grid, guards)
    np.testing.assert_array_equal(same.h, ChannelEstimator(frame_format, "ls").estimate(grid, guards).h)
    broken = ChannelEstimator(frame_format, lambda observation: linear(observation) * np.float32(np.nan))
    assert np.isfinite(broken.estimate(grid, guards).h).all()
    with pytest.raises(ValueError, match="lmmse"):
        ChannelEstimator(frame_format, "wiener")


# Many frames


@pytest.mark.parametrize("method", INTERPOLATORS)
@pytest.mark.parametrize(("num_rx", "num_tx", "fft_size"), [(1, 1, 64), (2, 3, 64), (4, 4, 64), (5, 2, 256)])
def test_many_frames_are_what_each_is_alone(method, num_rx, num_tx, fft_size):
    """One after the other with something in between, as they come from the Fourier transforms."""
    frame_format, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(num_rx)
    middle, starts = fft_size // 2, [3, 17, 40, 54]
    transforms = complex_normal(rng, (num_rx, 70, fft_size)).astype(np.complex64)
    alone = []
    estimator = ChannelEstimator(frame_format, method)
    for i, start in enumerate(starts):
        h = fading(frame_format, num_rx, PROFILES[i % 3], 100e-9, 100.0 * i, i)
        grid, guards, _ = receive(frame_format, h, num_tx / from_db(5 + 8 * i), rng)
        if i == 2:
            grid[3, 0, :4] = np.nan, np.inf, 1e20, 1e-42
            guards[1, 0, 5] = np.nan
        symbols = transforms[:, start : start + NUM_SYMBOLS].swapaxes(0, 1)
        symbols[..., frame_format.active_carriers + middle] = grid / frame_format.advance_correction
        symbols[..., frame_format.guard_carriers + middle] = guards
        estimate = estimator.estimate(grid, guards)
        alone.append((estimate, estimator.data_symbols(grid, estimate)))
    received = np.empty((num_rx, len(starts), frame_format.data_per_stream), np.complex64)
    channels = np.empty((len(starts), frame_format.data_per_stream * num_rx * num_tx), np.complex64)
    magnitudes = np.empty((len(starts), num_rx * num_tx * frame_format.num_active), np.float32)
    reports = estimator.estimate_frames(transforms, starts, received, channels, magnitudes)
    for i, ((estimate, data), report) in enumerate(zip(alone, reports, strict=True)):
        np.testing.assert_allclose(received[:, i].reshape(data.received.shape), data.received, atol=2e-4)
        np.testing.assert_allclose(channels[i].reshape(data.h.shape), data.h, atol=2e-4)
        shown = magnitudes[i].reshape(num_rx, num_tx, -1)
        np.testing.assert_allclose(shown, db(np.abs(estimate.h[7]) ** 2).transpose(1, 2, 0), atol=0.05)
        expected = (
            estimate.noise_var.mean(), estimate.snr_db, estimate.delay_spread, estimate.doppler,
            estimate.carrier_offset, estimate.delay, data.noise_var, data.snr_db,
        )  # fmt: skip
        np.testing.assert_allclose(report[:8], expected, rtol=1e-4, atol=1e-6)
        assert report.interference is estimate.interference is None
