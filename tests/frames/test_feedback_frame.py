# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames with acknowledgements: what goes in comes out, in the most robust MCS that holds it; nothing else is one."""

import pytest

from gr_kaq.frames.feedback_frame import feedback_frame, feedback_in
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FEEDBACK_PROCESS, FrameHeader
from gr_kaq.frames.modulation_coding import transport_block_bytes
from gr_kaq.transport.acknowledgement import Acknowledgement

FRAME = FrameFormat(2)


@pytest.mark.parametrize("length", [1, 30, 34, 35, 100, 255])
def test_what_goes_in_comes_out(length):
    data = bytes(range(length))
    header, block = feedback_frame(FRAME, data, 7)
    assert header.process == FEEDBACK_PROCESS and header.rank == 1 and header.redundancy_version == 0
    assert len(block) == transport_block_bytes(FRAME, header.mcs, 1)
    assert header.mcs == 0 or transport_block_bytes(FRAME, header.mcs - 1, 1) <= length
    assert feedback_in(header, block) == data


@pytest.mark.parametrize("frame", [FRAME, FrameFormat(4), FrameFormat(8, 256)])
def test_an_acknowledgement_with_a_report_fits_the_most_robust_frame(frame):
    said = Acknowledgement(1, 2, 3, 4, 5, 0, bytes(2 * frame.num_tx)).pack()
    header, block = feedback_frame(frame, said, 0)
    assert header.mcs == 0 and feedback_in(header, block) == said


def test_frames_differ_so_that_no_soft_buffer_adds_them():
    headers = [feedback_frame(FRAME, b"a", number)[0] for number in (0, 1, 2, 4096)]
    assert len({(header.new_data, header.sequence) for header in headers[:3]}) == 3
    assert headers[3] == headers[0]


@pytest.mark.parametrize("block", [None, b"", bytes(35), b"\xff" * 35, bytes([35]) + bytes(34)])
def test_what_is_none(block):
    assert feedback_in(FrameHeader(process=FEEDBACK_PROCESS), block) is None


def test_frames_of_data_carry_none():
    assert feedback_in(FrameHeader(process=3), b"\x01a") is None


@pytest.mark.parametrize("data", [b"", bytes(256)])
def test_what_no_frame_holds(data):
    with pytest.raises(ValueError, match=f"the feedback has {len(data)} bytes; 1 to 255 expected"):
        feedback_frame(FRAME, data, 0)
