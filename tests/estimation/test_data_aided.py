# SPDX-License-Identifier: GPL-3.0-or-later
"""A channel that is estimated again from data is better where the data is right, and saves frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq.channels.fading import TappedDelayLine
from gr_kaq.estimation.data_aided import DataAidedDecoder, refine_channel
from gr_kaq.frames.frame_format import DATA_SYMBOLS, FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload

SPREAD_S, DOPPLER_HZ, SPACING_HZ = 100e-9, 200.0, 31250.0


class Frame:
    """The data carriers of a frame on a fading channel, and an estimate of it that is off by `error_db`."""

    def __init__(self, num_tx=2, fft_size=64, snr_db=16.0, error_db=-14.0, delay=1.5, constellation="16qam", seed=0):
        frame = self.format = FrameFormat(num_tx, fft_size, constellation)
        rng, self.coder = np.random.default_rng([seed, num_tx]), PayloadCoder(frame)
        self.payload = rng.bytes(max_payload(frame))
        self.symbols = frame.map_bits(self.coder.encode(self.payload)).reshape(-1, num_tx)

        def fading(seed):
            line = TappedDelayLine(num_tx, num_tx, delay_spread=SPREAD_S, doppler=DOPPLER_HZ, seed=seed)
            times = np.array(DATA_SYMBOLS) * 1.25 / SPACING_HZ
            h = line.frequency_response(times, frame.active_carriers * SPACING_HZ)
            rows = np.arange(len(DATA_SYMBOLS))[:, None]
            return h[rows, frame.data_indices].reshape(-1, num_tx, num_tx)

        carriers = frame.active_carriers[frame.data_indices].reshape(-1, 1, 1)
        slope = np.exp(-2j * np.pi * delay / fft_size * carriers)
        self.channel = (fading(2 * seed) * slope).astype(np.complex64)
        error = 10 ** (error_db / 20) * fading(2 * seed + 1) * slope
        self.estimate = (self.channel + error).astype(np.complex64)
        self.noise_var = num_tx / 10 ** (snr_db / 10)
        shape = (frame.data_per_stream, num_tx)
        noise = (self.noise_var / 2) ** 0.5 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
        self.received = (np.einsum("dat,dt->da", self.channel, self.symbols) + noise).astype(np.complex64)
        self.statistics = self.noise_var, SPREAD_S * SPACING_HZ * fft_size, DOPPLER_HZ * 1.25 / SPACING_HZ

    def refined(self, symbols=None):
        symbols = self.symbols if symbols is None else symbols
        return refine_channel(self.format, self.received, self.estimate, symbols, *self.statistics)

    def error_db(self, h):
        return 10 * np.log10(np.mean(np.abs(h - self.channel) ** 2) / np.mean(np.abs(self.channel) ** 2))


@pytest.mark.parametrize("num_tx, fft_size", [(1, 64), (2, 64), (3, 64), (4, 64), (2, 256)])
def test_right_data_lower_the_error(num_tx, fft_size):
    """To that of training with all the frame's energy: below noise times unknowns over symbols, and a margin."""
    frames = [Frame(num_tx, fft_size, seed=seed) for seed in range(4)]
    errors = [frame.error_db(frame.refined()) for frame in frames]
    assert max(errors) < -26


def test_some_wrong_symbols_do_little_harm():
    """A tenth of them, taken for their neighbours."""
    frame, rng = Frame(4), np.random.default_rng(0)
    noise = rng.standard_normal((*frame.symbols.shape, 2)) @ [1, 1j]
    points = frame.format.constellation
    symbols = points.modulate(points.decide(frame.symbols + 0.16 * noise).ravel()).reshape(frame.symbols.shape)
    assert 0.05 < np.mean(np.abs(symbols - frame.symbols) > 0.1) < 0.15
    assert frame.error_db(frame.refined(symbols)) < frame.error_db(frame.estimate) - 5


def test_neither_the_gain_nor_the_order_of_antennas_matters():
    frame = Frame(3)
    args = frame.symbols, frame.noise_var, *frame.statistics[1:]
    usual = refine_channel(frame.format, frame.received, frame.estimate, *args)
    turned = refine_channel(frame.format, frame.received[:, ::-1], frame.estimate[:, ::-1], *args)
    np.testing.assert_allclose(turned, usual[:, ::-1], rtol=1e-4, atol=1e-6)
    louder = refine_channel(
        frame.format, 1e3 * frame.received, 1e3 * frame.estimate, frame.symbols, 1e6 * frame.noise_var, *args[2:]
    )
    np.testing.assert_allclose(louder, 1e3 * usual, rtol=1e-4, atol=1e-3)


def test_without_noise_or_channel_nothing_changes():
    frame = Frame()
    statistics = frame.statistics[1:]
    nothing = np.zeros_like(frame.estimate)
    for h, noise_var in ((frame.estimate, 0.0), (nothing, 0.1)):
        assert refine_channel(frame.format, frame.received, h, frame.symbols, noise_var, *statistics) is h


def decoded(frame, passes):
    """The payload after one detection, and after so many passes more."""
    detector = gr_kaq.load_detector("auto", constellation=frame.format.constellation_name)
    detection = detector.prepare(frame.estimate, noise_var=2 * frame.noise_var).detect(frame.received[:, None])
    llrs = frame.format.collect_llrs(detection.llrs)
    again = DataAidedDecoder(frame.format, detector, passes)
    return frame.coder.decode(llrs), again.decode(llrs, frame.received, frame.estimate, *frame.statistics)


def test_frames_are_saved():
    """Most of those that a wrong estimate spoilt; and what comes out is right."""
    frames = [Frame(4, snr_db=18.0, error_db=-12.0, seed=seed) for seed in range(12)]
    results = [(frame.payload, *decoded(frame, 2)) for frame in frames]
    assert all(payload in (None, sent) for sent, *found in results for payload in found)
    spoilt = [again for _, first, again in results if first is None]
    assert len(spoilt) > 4 and sum(again is not None for again in spoilt) > len(spoilt) / 2


@settings(max_examples=25)
@given(
    value=st.sampled_from([0.0, 1e-20, 1e9, 1e12, np.nan, np.inf]),
    share=st.floats(0, 1),
    noise_var=st.sampled_from([0.0, 1e-30, 1.0, 1e24]),
    delay_spread=st.sampled_from([0.0, -1.0, 1e9, 0.3]),
    doppler=st.sampled_from([0.0, -1.0, 1e9, 0.01]),
)
def test_whatever_is_received(value, share, noise_var, delay_spread, doppler):
    """A payload or none; no error."""
    frame = Frame(snr_db=0.0)
    received = frame.received.copy()
    with np.errstate(all="ignore"):
        received[np.random.default_rng(1).random(received.shape) < share] *= np.float32(value)
    detector = gr_kaq.load_detector("lmmse", constellation="16qam")
    llrs = np.random.default_rng(2).standard_normal(frame.format.coded_bits).astype(np.float32)
    again = DataAidedDecoder(frame.format, detector, 2)
    assert again.decode(llrs, received, frame.estimate, noise_var, delay_spread, doppler) in (None, frame.payload)
    assert again.decode(0 * llrs, received, frame.estimate, noise_var, delay_spread, doppler) is None
