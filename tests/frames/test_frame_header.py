# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers come back from their bits, what is none is refused by name, and sizes of transport blocks ascend."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr_kaq.frames import frame_header
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import HEADER_BITS, FrameHeader, InvalidHeader, pack_header, unpack_header
from gr_kaq.frames.modulation_coding import (
    MCS_TABLE,
    header_places,
    num_payload_bits,
    payload_places,
    transport_block_bytes,
)

headers = st.builds(
    FrameHeader,
    mcs=st.integers(0, len(MCS_TABLE) - 1),
    rank=st.integers(1, 8),
    process=st.integers(0, 15),
    redundancy_version=st.integers(0, 3),
    new_data=st.integers(0, 1),
    traffic_class=st.integers(0, 3),
    sequence=st.integers(0, 4095),
)


@given(header=headers)
def test_round_trip(header):
    bits = pack_header(header)
    assert bits.shape == (HEADER_BITS,) == (42,) and bits.dtype == np.uint8
    assert unpack_header(bits) == header


@given(header=headers, places=st.sets(st.integers(0, HEADER_BITS - 1), min_size=1, max_size=3))
def test_up_to_three_wrong_bits_are_noticed(header, places):
    bits = pack_header(header)
    bits[list(places)] ^= 1
    with pytest.raises(InvalidHeader, match="the CRC of the header is") as caught:
        unpack_header(bits)
    assert caught.value.kind == "crc"


def test_noise_is_no_header():
    rng = np.random.default_rng(1)
    assert sum(_is_header(bits) for bits in rng.integers(0, 2, (20000, HEADER_BITS), dtype=np.uint8)) <= 10
    assert not _is_header(np.zeros(HEADER_BITS, np.uint8)) and not _is_header(np.ones(HEADER_BITS, np.uint8))


def _is_header(bits):
    try:
        unpack_header(bits)
    except InvalidHeader:
        return False
    return True


def test_headers_of_other_versions_are_refused_by_name(monkeypatch):
    with pytest.raises(InvalidHeader, match="of version 2; 1 expected") as caught:
        unpack_header(pack_header(FrameHeader(version=2)))
    assert caught.value.kind == "version"
    monkeypatch.setattr(frame_header, "MCS_TABLE", (*MCS_TABLE, *MCS_TABLE[:1]))
    bits = pack_header(FrameHeader(mcs=len(MCS_TABLE)))
    monkeypatch.undo()
    with pytest.raises(InvalidHeader, match=f"MCS {len(MCS_TABLE)}; 0 to {len(MCS_TABLE) - 1} expected") as caught:
        unpack_header(bits)
    assert caught.value.kind == "mcs"
    with pytest.raises(ValueError, match=r"shape \(7,\); \(42,\) expected"):
        unpack_header(bits[:7])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("mcs", len(MCS_TABLE), f"0 to {len(MCS_TABLE) - 1}"),
        ("rank", 0, "1 to 8"),
        ("rank", 9, "1 to 8"),
        ("process", 16, "0 to 15"),
        ("redundancy_version", 4, "0 to 3"),
        ("new_data", 2, "0 to 1"),
        ("traffic_class", -1, "0 to 3"),
        ("sequence", 4096, "0 to 4095"),
        ("version", 4, "0 to 3"),
    ],
)
def test_fields_out_of_range_are_refused(field, value, expected):
    with pytest.raises(ValueError, match=f"{field} is {value}; {expected} expected"):
        dataclasses.replace(FrameHeader(), **{field: value})


@pytest.mark.parametrize("frame", [FrameFormat(1), FrameFormat(2), FrameFormat(4, 64), FrameFormat(4, 2048)])
def test_transport_blocks_grow_with_mcs_and_rank(frame):
    sizes = [[transport_block_bytes(frame, mcs, rank) for mcs in range(14)] for rank in range(1, frame.num_tx + 1)]
    assert np.all(np.diff(sizes, axis=0) > 0) and np.all(np.diff(sizes, axis=1) > 0)
    for rank, row in enumerate(sizes, 1):
        for mcs, size in enumerate(row):
            wanted = num_payload_bits(frame, mcs, rank) * MCS_TABLE[mcs].rate
            assert wanted - 14 < 8 * (size + 4) + 6 <= wanted
    places = np.concatenate([header_places(frame), payload_places(frame)])
    assert np.array_equal(np.sort(places), np.arange(frame.data_per_stream))
    assert header_places(frame).max() < frame.num_data
    for mcs, rank, message in [(14, 1, "mcs is 14"), (-1, 1, "mcs is -1"), (0, 9, "rank is 9"), (0, 0, "rank is 0")]:
        with pytest.raises(ValueError, match=message):
            transport_block_bytes(frame, mcs, rank)
