# SPDX-License-Identifier: GPL-3.0-or-later
"""csi_recorder: the channel of each frame from tags, whatever the tags are."""

import numpy as np
import pmt
import pytest

from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.blocks.csi_recorder import MIDDLE, csi_recorder
from gr_kaq.channels.flat import complex_normal
from tests.blocks.flowgraphs import run, tag

NUM_RX, NUM_TX, NUM_DATA = 3, 2, 48


def frame_tag(item, **entries):
    value = pmt.make_dict()
    for key, number in entries.items():
        value = pmt.dict_add(value, pmt.intern(key), number)
    return tag(item, value, "frame")


def tags_of(frame, h):
    """The tags of frame number `frame`, whose channels are h (11, ...), as the estimator sets them."""
    return [
        frame_tag(frame, seq=pmt.from_uint64(frame), sample=pmt.from_uint64(1000 * frame), snr=pmt.from_double(20.5)),
        tag(frame, estimate(h)),
    ]


def estimate(h):
    return channel_to_pmt(h.reshape(-1, *h.shape[2:]), 0.1)


def channels(count):
    return complex_normal(np.random.default_rng(1), (count, 11, NUM_DATA, NUM_RX, NUM_TX))


def record(tags, num_items, chunk=None, **options):
    block = csi_recorder(NUM_RX, NUM_TX, 64, **options)
    run(block, np.zeros((num_items, 11 * NUM_DATA, 1)), tags, chunk)
    assert block.internal_errors() == 0
    return block


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_the_middle_symbol_of_each_frame_is_recorded(chunk):
    h = channels(6)
    block = record([t for frame in range(6) for t in tags_of(frame, h[frame])], 6, chunk)
    assert block.num_frames() == 6
    for number, frame in enumerate(block.frames()):
        assert np.array_equal(frame.h, h[number, MIDDLE])
        assert (frame.entries["seq"], frame.entries["sample"]) == (number, 1000 * number)
        assert frame.entries["snr"] == 20.5 and np.isnan(frame.entries["doppler"])


def test_later_frames_are_left_out():
    h = channels(4)
    block = record([t for frame in range(4) for t in tags_of(frame, h[frame])], 4, max_frames=2)
    assert block.num_frames() == 2 and np.array_equal(block.frames()[1].h, h[1, MIDDLE])


@pytest.mark.parametrize(
    "bad",
    [
        lambda h: pmt.intern("no channel"),
        lambda h: estimate(h[:, :, :2]),
        lambda h: estimate(h[:10]),
        lambda h: estimate(np.nan * h),
        lambda h: None,
    ],
)
def test_a_malformed_estimate_is_counted_and_the_next_frame_recorded(bad):
    h = channels(3)
    block = record([*tags_of(0, h[0]), frame_tag(1), tag(1, bad(h[1])), *tags_of(2, h[2])], 3)
    assert block.rejected_frames() == 1
    assert [int(frame.entries["seq"]) for frame in block.frames()] == [0, 2]


@pytest.mark.parametrize(
    "value",
    [
        None,
        pmt.intern("no dict"),
        pmt.cons(pmt.from_long(1), pmt.from_long(2)),
        pmt.dict_add(pmt.make_dict(), pmt.intern("snr"), pmt.from_complex(1j)),
        pmt.dict_add(pmt.make_dict(), pmt.intern("snr"), pmt.intern("20 dB")),
    ],
)
def test_a_frame_is_recorded_without_what_its_tag_does_not_say(value):
    h = channels(1)
    block = record([tag(0, value, "frame"), tag(0, estimate(h[0]))], 1)
    (frame,) = block.frames()
    assert np.array_equal(frame.h, h[0, MIDDLE]) and np.isnan(frame.entries["snr"])


def test_channels_of_no_frame_are_left_out():
    h = channels(2)
    (frame,) = record([tag(0, estimate(h[0])), *tags_of(1, h[1])], 2).frames()
    assert np.array_equal(frame.h, h[1, MIDDLE])


@pytest.mark.parametrize(
    "arguments", [(0, 2), (257, 2), (2, 5), (2, 0), (2, 2, 100), (2, 2, 64, -1), (1.5, 2), (2, 2, 64, "all")]
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match="expected"):
        csi_recorder(*arguments)
