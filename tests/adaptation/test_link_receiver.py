# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver of frames with a header: any MCS and rank after the other, repeats, reports, and no header at all."""

import dataclasses

import numpy as np
import pytest

from gr_kaq.adaptation.link_receiver import LinkReceiver
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader, InvalidHeader
from gr_kaq.frames.link_frame import LinkFrame
from gr_kaq.frames.modulation_coding import MCS_TABLE
from gr_kaq.frames.transport_coding import transport_coder

FRAME = FrameFormat(2)


class Air:
    """A flat channel with two receive antennas, and noise."""

    def __init__(self, snr_db, seed=1, num_rx=2):
        self.rng, self.noise_var = np.random.default_rng(seed), FRAME.num_tx / 10 ** (snr_db / 10)
        matrix = np.linalg.qr(self.normal(max(2, num_rx), 2))[0][:num_rx] * 2**0.5
        self.h = np.ascontiguousarray(np.broadcast_to(matrix, (FRAME.data_per_stream, num_rx, 2)))
        self.link = LinkFrame(FRAME)

    def normal(self, *shape):
        parts = self.rng.standard_normal((2, *shape)) / 2**0.5
        return (parts[0] + 1j * parts[1]).astype(np.complex64)

    def send(self, header, block):
        coder = transport_coder(FRAME, header.mcs, header.rank)
        x = self.link.data_symbols(header, coder.encode(block)).reshape(-1, 2)
        y = np.einsum("cat,ct->ca", self.h, x) + self.noise_var**0.5 * self.normal(*self.h.shape[:2])
        return y.astype(np.complex64), self.h, self.noise_var

    def block(self, mcs, rank):
        return self.rng.bytes(transport_coder(FRAME, mcs, rank).block_bytes)


def test_each_frame_may_have_another_mcs_and_rank():
    air, receiver = Air(45.0), LinkReceiver(FRAME, 2)
    for number in range(2 * len(MCS_TABLE)):
        header = FrameHeader(number // 2, 1 + number % 2, process=number % 16, sequence=number)
        block = air.block(header.mcs, header.rank)
        received = receiver.receive(*air.send(header, block))
        assert (received.header, received.block, received.copies) == (header, block, 1)
        assert received.report.mutual_information.shape == (header.rank,)
        assert np.all(received.report.mutual_information > 0.98)


def test_repeats_are_added_up():
    air, receiver = Air(5.0), LinkReceiver(FRAME, 2, "lmmse")
    header = FrameHeader(5, 2, process=3)
    block = air.block(5, 2)
    results = []
    for version in range(4):
        sent = air.send(dataclasses.replace(header, redundancy_version=version), block)
        results.append(receiver.receive(*sent))
    assert results[0].block is None and results[-1].block == block
    assert [result.copies for result in results] == [1, 2, 3, 4]


@pytest.mark.parametrize("detector", ["auto", "lmmse"])
def test_reports_are_the_effective_snr_of_each_rank(detector):
    """On a channel with orthogonal columns that is known: of each stream, from the power that it has."""
    for snr_db in (2.0, 12.0, 22.0):
        air, receiver = Air(snr_db), LinkReceiver(FRAME, 2, detector)
        snrs = receiver.report(air.h, air.noise_var).effective_snrs_db
        expected = 10 * np.log10(4 / air.noise_var / np.array([1, 2]))  # |h|^2 = 2 of each column, power 2 / rank
        assert snrs == pytest.approx(expected, abs=1.2)


def test_reports_of_a_channel_with_one_path_ask_for_one_stream():
    air, receiver = Air(20.0), LinkReceiver(FRAME, 2)
    h = (air.normal(1, 2, 1) @ air.normal(1, 1, 2)).repeat(FRAME.data_per_stream, axis=0)
    one, two = receiver.report(h, air.noise_var).effective_snrs_db
    assert one > two + 6


def test_noise_has_no_header_and_changes_nothing():
    air, receiver = Air(20.0), LinkReceiver(FRAME, 2)
    for _ in range(20):
        with pytest.raises(InvalidHeader):
            receiver.receive(air.normal(*air.h.shape[:2]), air.h, 1.0)
    assert receiver.buffers.copies(0) == 0


def test_a_rank_beyond_the_antennas_is_refused():
    """A peer with more antennas: its header is right, its rank is none."""
    air, receiver = Air(30.0), LinkReceiver(FRAME, 2)
    received, h, noise_var = air.send(FrameHeader(1, 1), air.block(1, 1))
    coded = air.link._coded(FrameHeader(1, 5))
    places = np.arange(48)
    received[places] = 0
    symbols = air.link._amplitude * MCS_TABLE[0].constellation.modulate(coded)
    received[places] = h[places, :, places % 2] * symbols[:, None]
    with pytest.raises(ValueError, match="rank is 5; 1 to 2"):
        receiver.receive(received, h, noise_var)
