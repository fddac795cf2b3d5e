# SPDX-License-Identifier: GPL-3.0-or-later
"""Every frame format from payload to payload: sent over a channel, found, estimated, detected and decoded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.estimation.estimator import ChannelEstimator
from gr_kaq.estimation.observation import Arrival
from gr_kaq.frames.frame_format import FFT_SIZES, MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.frames.synchronization import Synchronizer

SPACING_HZ = 31250.0


def received_payloads(frame, seed, method="lmmse"):
    """Two payloads, and what a receiver with one antenna more than streams makes of them at 30 dB."""
    rng, coder = np.random.default_rng(seed), PayloadCoder(frame)
    payloads = [rng.bytes(max_payload(frame)) for _ in range(2)]
    pieces = []
    for payload in payloads:
        pieces += [
            np.zeros((frame.num_tx, int(rng.integers(300, 900)))),
            frame.modulate(frame.map_bits(coder.encode(payload))),
        ]
    sent = np.concatenate([*pieces, np.zeros((frame.num_tx, 2 * frame.frame_length))], axis=1).astype(np.complex64)
    channel = RadioChannel(
        frame.num_tx + 1, frame.num_tx, sample_rate=SPACING_HZ * frame.fft_size, profile="tdl-a", delay_spread=100e-9,
        doppler=10.0, snr_db=30.0, carrier_offset=float(rng.uniform(-5e3, 5e3)), clock_offset_ppm=5.0, seed=seed,
    )  # fmt: skip
    found = Synchronizer(frame, frame.num_tx + 1).push(channel.process(sent))
    estimator = ChannelEstimator(frame, method)
    detector = gr_kaq.load_detector("auto-fast", constellation=frame.constellation_name)
    decoded = []
    for each in found:
        spectrum = np.fft.fft(each.windows.astype(np.complex128), norm="ortho")
        grid = spectrum[..., frame.active_carriers % frame.fft_size] * frame.advance_correction
        guards = spectrum[..., frame.guard_carriers % frame.fft_size]
        data = estimator.data_symbols(grid, estimator.estimate(grid, guards, Arrival(each.start, each.carrier_offset)))
        h = data.h.reshape(frame.data_per_stream, *data.h.shape[2:])
        received = data.received.reshape(len(data.received), -1).T[:, None]
        llrs = detector.prepare(h, noise_var=data.noise_var).detect(np.ascontiguousarray(received)).llrs
        decoded.append(coder.decode(frame.collect_llrs(llrs)))
    return payloads, decoded


@settings(max_examples=12)
@given(
    num_tx=st.integers(1, MAX_STREAMS),
    fft_size=st.sampled_from(FFT_SIZES[:3]),
    constellation=st.sampled_from(["qpsk", "16qam"]),
    num_symbols=st.sampled_from(SYMBOL_COUNTS),
    seed=st.integers(0, 1000),
)
def test_payloads_come_back(num_tx, fft_size, constellation, num_symbols, seed):
    """At 30 dB with an antenna to spare: all of them."""
    if fft_size == 64:
        num_tx = min(num_tx, 4)
    sent, decoded = received_payloads(FrameFormat(num_tx, fft_size, constellation, num_symbols), seed)
    assert decoded == sent


@pytest.mark.parametrize("method", ["ls", "lmmse-frequency", "lmmse-memory"])
@pytest.mark.parametrize("size", [(6, 512, "qpsk"), (2, 64, "16qam", 56)])
def test_other_estimators_take_wide_and_long_frames(method, size):
    sent, decoded = received_payloads(FrameFormat(*size), 1, method)
    assert decoded == sent


@pytest.mark.long
@pytest.mark.parametrize("num_tx", [1, 4, 7])
@pytest.mark.parametrize("fft_size", FFT_SIZES[3:])
def test_the_widest_frames(num_tx, fft_size):
    sent, decoded = received_payloads(FrameFormat(num_tx, fft_size, "16qam"), 2)
    assert decoded == sent
