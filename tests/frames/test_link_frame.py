# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames with a header: their power, their streams, and headers that come back through channels and noise."""

import numpy as np
import pytest

from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader, InvalidHeader
from gr_kaq.frames.link_frame import HEADER_ENERGY, LinkFrame, precoders
from gr_kaq.frames.modulation_coding import MCS_TABLE, header_places, payload_places
from gr_kaq.frames.transport_coding import transport_coder

FORMATS = [
    FrameFormat(1),
    FrameFormat(2),
    FrameFormat(3, 64),
    FrameFormat(4, 256),
    FrameFormat(8, 512),
    FrameFormat(2, 64, num_symbols=56),
]


def sent(frame, header, rng):
    coder = transport_coder(frame, header.mcs, header.rank)
    return LinkFrame(frame).data_symbols(header, coder.encode(rng.bytes(coder.block_bytes)))


def normal(rng, *shape):
    parts = rng.standard_normal((2, *shape)) / 2**0.5
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


@pytest.mark.parametrize("frame", FORMATS)
def test_power_is_that_of_all_streams_whatever_the_rank(frame):
    rng = np.random.default_rng(1)
    for rank in range(1, frame.num_tx + 1):
        data = sent(frame, FrameHeader(1, rank), rng).reshape(-1, frame.num_tx)
        power = np.sum(np.abs(data) ** 2, axis=1)
        of_payload = power[payload_places(frame)]
        assert np.mean(of_payload) == pytest.approx(frame.num_tx, rel=0.1)
        of_header = power[header_places(frame)]
        copies = len(header_places(frame)) / 48
        assert np.allclose(of_header, HEADER_ENERGY / copies * frame.num_tx, rtol=1e-5)
        of_antennas = np.mean(np.abs(data[payload_places(frame)]) ** 2, axis=0)
        assert np.allclose(of_antennas, 1, atol=0.3)


@pytest.mark.parametrize("frame", FORMATS)
def test_streams_are_orthogonal_and_see_all_antennas(frame):
    for rank in range(1, frame.num_tx + 1):
        p = precoders(frame, rank)
        gram = p.conj().swapaxes(1, 2) @ p
        assert np.allclose(gram, frame.num_tx / rank * np.eye(rank), atol=1e-5)
    for rank in (0, frame.num_tx + 1):
        with pytest.raises(ValueError, match=f"rank is {rank}; 1 to {frame.num_tx}"):
            precoders(frame, rank)
    first = precoders(frame, 1)[..., 0]
    if frame.num_tx > 1:  # over the carriers, every direction
        assert np.linalg.matrix_rank(first[: frame.num_tx]) == frame.num_tx


def test_the_full_rank_is_what_frames_without_header_send():
    frame, rng = FrameFormat(2, 64, "16qam"), np.random.default_rng(2)
    header = FrameHeader(5, 2)
    coder = transport_coder(frame, 5, 2)
    word = coder.encode(rng.bytes(coder.block_bytes))
    data = LinkFrame(frame).data_symbols(header, word).reshape(-1, 2)[payload_places(frame)]
    bits = MCS_TABLE[5].constellation.decide(data)
    assert np.array_equal(bits.reshape(-1), coder.take(word, 0))


@pytest.mark.parametrize("frame", FORMATS)
def test_headers_come_back_through_channel_and_noise(frame):
    """At an SNR at which the most robust payload hardly does: 0 dB, with one receive antenna more than in it."""
    rng, num_rx, noise_var = np.random.default_rng(3), 2, frame.num_tx
    link, wrong = LinkFrame(frame), 0
    for number in range(40):
        header = FrameHeader(
            mcs=number % 14,
            rank=1 + number % frame.num_tx,
            process=number % 16,
            redundancy_version=number % 4,
            new_data=number % 2,
            sequence=17 * number,
        )
        x = sent(frame, header, rng).reshape(-1, frame.num_tx)
        h = np.broadcast_to(normal(rng, 1, num_rx, frame.num_tx), (len(x), num_rx, frame.num_tx))
        y = np.einsum("cat,ct->ca", h, x) + noise_var**0.5 * normal(rng, len(x), num_rx)
        try:
            wrong += link.decode_header(y, h, noise_var) != header
        except InvalidHeader:
            wrong += 1
    assert wrong <= 4


def test_what_holds_no_header_is_none():
    frame, rng = FrameFormat(2), np.random.default_rng(4)
    link = LinkFrame(frame)
    h = normal(rng, frame.data_per_stream, 2, 2)
    for received in (normal(rng, frame.data_per_stream, 2), 0 * h[..., 0], np.full_like(h[..., 0], np.nan)):
        with pytest.raises(InvalidHeader, match="CRC"):
            link.decode_header(received, h, 1.0)
