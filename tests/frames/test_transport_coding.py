# SPDX-License-Identifier: GPL-3.0-or-later
"""Transport blocks come back from any version of their code words, from sums of several, and from the right buffer."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader
from gr_kaq.frames.modulation_coding import MCS_TABLE
from gr_kaq.frames.transport_coding import SoftBuffers, TransportCoder, transport_coder

FRAME = FrameFormat(2)
ALL_MCS = range(len(MCS_TABLE))


def llrs_of(bits, rng=None, noise=0.0):
    levels = 2.0 * bits - 1
    if noise:
        levels = levels + noise * rng.standard_normal(bits.shape)
    return (levels * 2 / max(noise, 0.5) ** 2).astype(np.float32)


@settings(max_examples=30)
@given(mcs=st.sampled_from(ALL_MCS), rank=st.integers(1, 2), version=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_round_trip(mcs, rank, version, seed):
    coder = transport_coder(FRAME, mcs, rank)
    block = np.random.default_rng(seed).bytes(coder.block_bytes)
    bits = coder.take(coder.encode(block), version)
    assert bits.shape == (coder.num_sent,) and bits.dtype == np.uint8
    decoded = coder.decode(coder.spread(llrs_of(bits), version))
    assert decoded == block or (decoded is None and version and MCS_TABLE[mcs].rate > 0.75)


@pytest.mark.parametrize("mcs", ALL_MCS)
def test_versions_send_all_bits_about_equally_often(mcs):
    """The bits that version 0 punctures come first in version 1: true incremental redundancy."""
    coder = TransportCoder(FRAME, mcs, 2)
    sent = np.zeros(coder.num_coded, int)
    places = np.arange(coder.num_coded)
    for version in range(4):
        marked = [coder.take((places >> bit & 1).astype(np.uint8), version).astype(int) for bit in range(15)]
        np.add.at(sent, sum(values << bit for bit, values in enumerate(marked)), 1)
        assert sent.max() - sent.min() <= 1
    assert 0 <= coder.num_sent - coder.num_coded * 0.5 / MCS_TABLE[mcs].rate < 16 / MCS_TABLE[mcs].rate


def test_versions_have_other_places_on_the_grid():
    """So that a bit that fell into a fade does so once."""
    coder = TransportCoder(FRAME, 1, 2)
    places = np.arange(coder.num_coded)

    def order(version):
        return sum(coder.take((places >> bit & 1).astype(np.uint8), version).astype(int) << bit for bit in range(15))

    assert np.mean(order(0) == order(1)) < 0.01


def test_wrong_blocks_are_noticed_and_wrong_arguments_refused():
    coder = TransportCoder(FRAME, 4, 1)
    rng = np.random.default_rng(3)
    assert all(coder.decode(rng.standard_normal(coder.num_coded)) is None for _ in range(50))
    assert coder.decode(np.zeros(coder.num_coded)) is None
    with pytest.raises(ValueError, match=f"has 3 bytes; {coder.block_bytes} expected"):
        coder.encode(b"abc")
    with pytest.raises(ValueError, match=rf"shape \(5,\); \({coder.num_sent},\) expected"):
        coder.spread(np.zeros(5, np.float32), 0)


class Sender:
    """Sends one block after the other in noise so strong that no copy is enough by itself."""

    def __init__(self, seed, mcs=3, noise=0.85):
        self.rng, self.coder, self.noise = np.random.default_rng(seed), transport_coder(FRAME, mcs, 2), noise
        self.header = FrameHeader(mcs, 2)

    def block(self):
        block = self.rng.bytes(self.coder.block_bytes)
        return block, self.coder.encode(block)

    def frame(self, word, **fields):
        header = dataclasses.replace(self.header, **fields)
        return header, llrs_of(self.coder.take(word, header.redundancy_version), self.rng, self.noise)


@pytest.mark.parametrize("versions", [(0, 0, 0, 0), (0, 1, 2, 3)])
def test_copies_that_fail_alone_are_decoded_together(versions):
    sender, buffers = Sender(1), SoftBuffers(FRAME)
    block, word = sender.block()
    results = []
    for version in versions:
        header, llrs = sender.frame(word, redundancy_version=version)
        assert SoftBuffers(FRAME).decode(header, llrs) is None
        results.append(buffers.decode(header, llrs))
    assert results[0] is None and results[-1] == block and buffers.copies(0) == 4
    assert buffers.copies(1) == 0


@pytest.mark.parametrize("fresh", [{"new_data": 1}, {"sequence": 9}, {"mcs": 2}, {"rank": 1}])
def test_a_new_block_begins_a_new_buffer(fresh):
    """Also where the frame that toggled the new-data bit was lost."""
    sender, buffers = Sender(2), SoftBuffers(FRAME)
    for _ in range(3):
        buffers.decode(*sender.frame(sender.block()[1]))
    coder = transport_coder(FRAME, fresh.get("mcs", 3), fresh.get("rank", 2))
    block = sender.rng.bytes(coder.block_bytes)
    header = dataclasses.replace(sender.header, **fresh)
    assert buffers.decode(header, llrs_of(coder.take(coder.encode(block), 0))) == block
    assert buffers.copies(0) == 1


def test_processes_have_buffers_of_their_own():
    sender, buffers = Sender(4), SoftBuffers(FRAME)
    blocks = [sender.block() for _ in range(16)]
    for version in range(4):
        for process, (block, word) in enumerate(blocks):
            decoded = buffers.decode(*sender.frame(word, process=process, redundancy_version=version))
            assert decoded in (None, block)
    assert decoded == block and buffers.copies(7) == 4


def test_sure_copies_outweigh_unsure_ones_and_nan_counts_for_nothing():
    sender, buffers = Sender(5), SoftBuffers(FRAME)
    block, word = sender.block()
    header, llrs = sender.frame(word)
    assert buffers.decode(header, -0.01 * llrs) is None
    llrs = llrs_of(sender.coder.take(word, 0))
    llrs[::50] = np.nan
    assert buffers.decode(header, llrs) == block
    assert buffers.decode(header, np.full_like(llrs, np.inf) * (2.0 * sender.coder.take(word, 0) - 1)) == block
