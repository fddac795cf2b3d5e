# SPDX-License-Identifier: GPL-3.0-or-later
"""The radio channel does to samples what its parameters say, however the stream is cut."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.channels.fading import PROFILES, TappedDelayLine
from gr_kaq.channels.radio_channel import SLIP, RadioChannel
from gr_kaq.frames.frame_format import FrameFormat

RATE = 2e6
EVERYTHING = {
    "profile": "tdl-a",
    "delay_spread": 300e-9,
    "doppler": 1000.0,
    "snr_db": 10.0,
    "carrier_offset": 3e3,
    "clock_offset_ppm": 20.0,
    "phase_noise": 100.0,
    "timing_offset": 3.3,
    "antenna_gains_db": [0.0, -6.0, 3.0],
}


def channel(num_rx=3, num_tx=2, **arguments):
    return RadioChannel(num_rx, num_tx, **({"sample_rate": RATE} | arguments))


def white(num_tx, count, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((num_tx, count)) + 1j * rng.standard_normal((num_tx, count))).astype(np.complex64)


def tone(cycles, count, num_tx=1):
    """On stream 0 only."""
    x = np.zeros((num_tx, count), np.complex64)
    x[0] = np.exp(2j * np.pi * cycles * np.arange(count))
    return x


@settings(max_examples=12)
@given(
    cuts=st.lists(st.integers(1, 4000), max_size=4),
    clock_offset_ppm=st.sampled_from([-150.0, 0.0, 20.0]),
    doppler=st.sampled_from([0.0, 100.0, 1000.0]),
)
def test_the_stream_may_be_cut_anywhere(cuts, clock_offset_ppm, doppler):
    """A scheduler does; results have to be reproducible all the same."""
    arguments = EVERYTHING | {"clock_offset_ppm": clock_offset_ppm, "doppler": doppler, "seed": 1}
    x = white(2, sum(cuts) + 3000)
    whole, pieces = channel(**arguments), channel(**arguments)
    parts = [pieces.process(part) for part in np.split(x, np.cumsum(cuts), axis=1)]
    y = whole.process(x)
    assert y.shape == (3, x.shape[1]) and y.dtype == np.complex64
    np.testing.assert_allclose(np.concatenate(parts, axis=1), y, atol=2e-5)


def test_single_samples():
    """And the seed decides."""
    x = white(2, 300)
    pieces = channel(**EVERYTHING, seed=2)
    y = np.concatenate([pieces.process(x[:, n : n + 1]) for n in range(300)], axis=1)
    np.testing.assert_allclose(channel(**EVERYTHING, seed=2).process(x), y, atol=2e-5)
    assert np.abs(channel(**EVERYTHING, seed=3).process(x) - y).max() > 0.1
    assert channel().process(x[:, :0]).shape == (3, 0)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("timing_offset", [0.0, 7.4])
def test_frequency_response(profile, timing_offset):
    """In the frame's band it is that of the tapped delay line; the second stream has channels of its own."""
    made = channel(profile=profile, delay_spread=100e-9, timing_offset=timing_offset, seed=4)
    line = TappedDelayLine(3, 2, profile=profile, delay_spread=100e-9, seed=np.random.SeedSequence(4).spawn(3)[0])
    steps = np.arange(-13, 14, 2) / 32
    expected = line.frequency_response([0.0], steps * RATE)[0]
    count = 200
    for stream in range(2):
        for cycles, response in zip(steps, expected[:, :, stream], strict=True):
            x = np.zeros((2, count), np.complex64)
            x[stream] = tone(cycles, count)
            y = made.process(x)[:, -32:]
            delay = made.latency + timing_offset
            sent = np.exp(2j * np.pi * cycles * (np.arange(count - 32, count) - delay))
            np.testing.assert_allclose(y, response[:, None] * sent, atol=0.01)


@pytest.mark.parametrize("doppler", [10.0, 300.0, 2000.0])
def test_fading_over_time(doppler):
    """The gains move from node to node as those of the tapped delay line do."""
    count = 20000
    made = channel(profile="tdl-c", delay_spread=0.0, doppler=doppler, seed=5)
    y = made.process(np.ones((2, count), np.complex64))[:, 100:]
    line = TappedDelayLine(
        3, 2, profile="tdl-c", delay_spread=0.0, doppler=doppler, seed=np.random.SeedSequence(5).spawn(3)[0]
    )
    expected = line.gains(np.arange(count) / RATE).sum(axis=(1, 3)).T[:, 100:]
    assert np.mean(np.abs(y - expected) ** 2) < 1e-5 * np.mean(np.abs(expected) ** 2)


@pytest.mark.parametrize("fft_size", [64, 256])
def test_a_frame_sees_the_frequency_response(fft_size):
    """What a receiver with perfect channel knowledge builds on: each carrier has the H of its frequency.

    Interpolation reaches 12 samples into the symbols before and after, of which the short prefix covers less.
    """
    frame = FrameFormat(2, fft_size, "16qam")
    data = frame.map_bits(np.random.default_rng(0).integers(0, 2, frame.coded_bits, np.uint8))
    line = TappedDelayLine(3, 2, profile="tdl-b", delay_spread=200e-9, seed=np.random.SeedSequence(9).spawn(3)[0])
    made = channel(profile="tdl-b", delay_spread=200e-9, seed=9)
    y = made.process(np.pad(frame.modulate(data), ((0, 0), (0, 100))))
    h = line.frequency_response([0.0], frame.active_carriers * (RATE / fft_size))[0]
    expected = np.einsum("fij,tjf->tif", h, frame.fill_grid(data))
    error = frame.demodulate(y, made.latency) - expected
    limit = {64: 10**-4.5, 256: 10**-6.5}[fft_size]
    assert np.mean(np.abs(error) ** 2) < limit * np.mean(np.abs(expected) ** 2)


def test_noise():
    """Of variance num_tx / SNR, white, and multiplied by the gain of the antenna, as the signal is."""
    gains_db = [0.0, 6.0, -math.inf]
    made = channel(snr_db=13.0, antenna_gains_db=gains_db, seed=6)
    assert made.noise_var == pytest.approx(2 / 10**1.3)
    noise = made.process(np.zeros((2, 40000), np.complex64))
    power = 10 ** (np.array(gains_db) / 10) * made.noise_var
    np.testing.assert_allclose(np.cov(noise), np.diag(power), atol=0.01)
    assert np.abs(np.mean(noise[0, 1:] * noise[0, :-1].conj())) < 0.002
    made.set_snr_db(math.inf)
    assert made.noise_var == 0 and not made.process(np.zeros((2, 100), np.complex64)).any()
    x = white(2, 5000)
    equal, unequal = channel(seed=7).process(x), channel(antenna_gains_db=gains_db, seed=7).process(x)
    np.testing.assert_allclose(unequal, np.sqrt(10 ** (np.array(gains_db) / 10))[:, None] * equal, atol=1e-5)


def test_the_same_seed_without_noise_gives_the_same_channel():
    """What a receiver with perfect channel knowledge needs: fading and phase noise do not depend on the noise."""
    x = white(2, 5000)
    noisy, clean = channel(**EVERYTHING, seed=8), channel(**(EVERYTHING | {"snr_db": math.inf}), seed=8)
    noise = noisy.process(x) - clean.process(x)
    power = noisy.noise_var * 10 ** (np.array(EVERYTHING["antenna_gains_db"]) / 10)
    np.testing.assert_allclose(np.mean(np.abs(noise) ** 2, axis=1), power, rtol=0.1)


def test_carrier_offset():
    """All antennas turn by the same angle, with a phase that goes on when the offset changes."""
    made = channel(carrier_offset=12.5e3, seed=9)
    still = channel(seed=9)
    x = white(2, 4000)
    first, reference = made.process(x), still.process(x)
    made.set_carrier_offset(-5e3)
    y = np.concatenate([first, made.process(x)], axis=1)
    reference = np.concatenate([reference, still.process(x)], axis=1)
    n = np.arange(8000)
    turns = np.where(n < 4000, n * 12.5e3, 4000 * 12.5e3 + (n - 4000) * -5e3) / RATE
    np.testing.assert_allclose(y, reference * np.exp(2j * np.pi * turns), atol=1e-3)


def test_phase_noise():
    """A Wiener process, common to all antennas, whose variance grows by 2 pi linewidth in a second."""
    linewidth, count = 200.0, 400000
    y = channel(2, 1, phase_noise=linewidth, seed=10).process(np.ones((1, count), np.complex64))[:, 100:]
    phase = np.unwrap(np.angle(y))
    np.testing.assert_allclose(np.abs(y), np.abs(y[:, :1]) * np.ones_like(phase), rtol=1e-4)
    np.testing.assert_allclose(phase[0] - phase[0, 0], phase[1] - phase[1, 0], atol=1e-3)
    for lag in (1, 100):
        steps = phase[0, lag::lag] - phase[0, :-lag:lag]
        assert np.var(steps) == pytest.approx(2 * np.pi * linewidth * lag / RATE, rel=0.1)


@pytest.mark.parametrize("ppm", [20.0, -20.0, 200.0, -200.0])
def test_clock_offset(ppm):
    """A tone comes out at (1 + offset) times its frequency, with the right phase all the time."""
    made = channel(1, 1, clock_offset_ppm=ppm, seed=11)
    count, cycles = 60000, 0.23
    y = np.concatenate([made.process(part) for part in np.array_split(tone(cycles, count), 7, axis=1)], axis=1)[0]
    n = np.arange(count)
    expected = np.exp(2j * np.pi * cycles * (n * (1 + ppm * 1e-6) - made.latency))
    settled = slice(made.latency + 20, None)
    ratio = y[settled] / expected[settled]
    np.testing.assert_allclose(ratio, np.mean(ratio), atol=2e-3 * np.abs(np.mean(ratio)))


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_clocks_slip(ppm):
    """By a whole buffer, now and then, in between with the right phase; and they go on for ever."""
    made = channel(1, 1, clock_offset_ppm=ppm, seed=12)
    count, cycles = 12_000_000, 0.1
    chunk = 1_000_000
    phases = []
    for first in range(0, count, chunk):
        n = np.arange(first, first + chunk)
        x = np.exp(2j * np.pi * cycles * n).astype(np.complex64)[None]
        y = made.process(x)[0, ::500]
        phases.append(y * np.exp(-2j * np.pi * cycles * n[::500] * (1 + ppm * 1e-6)))
    ratio = np.concatenate(phases)[10:]
    jumps = np.flatnonzero(np.abs(np.diff(ratio)) > 0.05 * np.abs(ratio[0]))
    per_slip = SLIP / 200e-6 / 500
    assert len(jumps) == 2
    np.testing.assert_allclose(jumps, [per_slip, 2 * per_slip], atol=50)


def test_long_delays():
    """An integer timing offset only delays; the first path of a long profile comes first, the last one last."""
    x = white(1, 70000)
    plain, late = channel(1, 1, seed=13).process(x), channel(1, 1, timing_offset=65536, seed=13).process(x)
    assert not late[:, :65536].any()
    np.testing.assert_allclose(late[:, 65536:], plain[:, : 70000 - 65536], atol=1e-5)
    pulse = np.zeros((1, 600), np.complex64)
    pulse[0, 0] = 1
    y = np.abs(channel(1, 1, profile="tdl-e", delay_spread=10e-6, seed=14).process(pulse)[0])
    assert y[12] > 0.5 and y[12 + 413] > 1e-3 and y[450:].max() < 1e-6


def test_input_that_is_not_finite():
    """It spoils the samples near it, and no more."""
    arguments = EVERYTHING | {"clock_offset_ppm": -20.0}
    x = white(2, 1000)
    x[1, 200], x[0, 300] = np.nan, np.inf
    good = np.isfinite(channel(**arguments).process(x))
    assert good[:, :200].all() and not good[:, 215].any() and not good[:, 315].any()
    assert good[:, 250:300].all() and good[:, 350:].all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_rx": 0}, "num_rx"),
        ({"num_tx": -1}, "num_tx"),
        ({"num_rx": 33, "num_tx": 32}, "1024"),
        ({"sample_rate": 0.0}, "sample_rate"),
        ({"sample_rate": math.nan}, "sample_rate"),
        ({"profile": "tdl-x"}, "tdl-x"),
        ({"delay_spread": -1.0}, "delay_spread"),
        ({"profile": "tdl-a", "delay_spread": 1.0}, "delay_spread"),
        ({"doppler": 3000.0}, "doppler.*2000"),
        ({"doppler": math.nan}, "doppler"),
        ({"snr_db": math.nan}, "snr_db"),
        ({"snr_db": -math.inf}, "snr_db"),
        ({"carrier_offset": 1.1e6}, "carrier_offset"),
        ({"carrier_offset": math.nan}, "carrier_offset"),
        ({"clock_offset_ppm": 201.0}, "clock_offset_ppm"),
        ({"phase_noise": -1.0}, "phase_noise"),
        ({"phase_noise": math.inf}, "phase_noise"),
        ({"timing_offset": -0.5}, "timing_offset"),
        ({"timing_offset": 1e9}, "timing_offset"),
        ({"antenna_gains_db": [0.0]}, "antenna_gains_db"),
        ({"antenna_gains_db": [0.0, 0.0, math.inf]}, "antenna_gains_db"),
        ({"antenna_gains_db": [0.0, 0.0, math.nan]}, "antenna_gains_db"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        channel(**arguments)


def test_wrong_input():
    for shape in ((3, 10), (10,), (2, 10, 1)):
        with pytest.raises(ValueError, match=r"\(2, n\)"):
            channel().process(np.zeros(shape, np.complex64))
