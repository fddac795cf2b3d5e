# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder that estimates frames again, in a flowgraph of its own: what it needs to know, and what it bears."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.blocks.data_aided_decoder import data_aided_decoder
from gr_kaq.blocks.pdu import pdu_bytes
from tests.blocks.flowgraphs import run_to_end
from tests.estimation.test_data_aided import Frame

FRAME = Frame(snr_db=30.0)  # that has to be estimated again, as its LLRs below tell little


def tag(item, key, value):
    made = gr.tag_t()
    made.offset, made.key, made.value, made.srcid = item, pmt.intern(key), value, pmt.PMT_F
    return made


def frame_value(**entries):
    value = pmt.make_dict()
    for key, number in entries.items():
        value = pmt.dict_add(value, pmt.intern(key), pmt.from_double(number))
    return value


def some_llrs():
    """Of the right bits, 8 % of them wrong: too many to decode, and a code word near the right one is found."""
    bits = FRAME.coder.encode(FRAME.payload)[FRAME.format.interleaver]
    wrong = np.random.default_rng(4).random(bits.size) < 0.08
    llrs = (2.0 * bits - 1) * np.where(wrong, -1, 1)
    return llrs.reshape(FRAME.format.data_per_stream, FRAME.format.num_tx, -1).astype(np.float32)


def decode(tags, count, received=None):
    """The decoder and its payloads after the same LLRs so many times."""
    frame, llrs = FRAME.format, some_llrs()
    received = FRAME.received if received is None else received
    tb, block, store = gr.top_block(), data_aided_decoder(2, 2, detector="lmmse"), blocks.message_debug()
    for stream in range(2):
        data = np.tile(llrs[:, stream].ravel(), count).tolist()
        width = llrs[:, stream].size
        tb.connect(blocks.vector_source_f(data, False, width, tags if stream == 0 else []), (block, stream))
    for antenna in range(2):
        data = np.tile(received[:, antenna], count).tolist()
        tb.connect(blocks.vector_source_c(data, False, frame.data_per_stream), (block, 2 + antenna))
    tb.msg_connect(block, "pdus", store, "store")
    run_to_end(tb)
    assert block.internal_errors() == 0
    return block, [pdu_bytes(store.get_message(i)) for i in range(store.num_messages())]


def test_only_frames_whose_channel_is_known_are_estimated_again():
    _, delay_spread, doppler = FRAME.statistics
    known = frame_value(delay_spread=delay_spread, doppler=doppler)
    channel = channel_to_pmt(FRAME.estimate, FRAME.noise_var)
    tags = [
        *(tag(0, "frame", known), tag(0, "mimo_channel", channel)),
        tag(1, "frame", known),
        tag(2, "mimo_channel", channel),
        *(tag(3, "frame", known), tag(3, "mimo_channel", channel_to_pmt(FRAME.estimate))),
        *(tag(4, "frame", frame_value(delay_spread=delay_spread)), tag(4, "mimo_channel", channel)),
        *(tag(5, "frame", frame_value(delay_spread=np.nan, doppler=0)), tag(5, "mimo_channel", channel)),
        *(tag(6, "frame", known), tag(6, "mimo_channel", channel_to_pmt(FRAME.estimate[:-1], 0.1))),
        *(tag(7, "frame", pmt.intern("no dict")), tag(7, "mimo_channel", channel)),
    ]
    block, payloads = decode(tags, 9)
    assert payloads == [FRAME.payload]
    assert (block.frames(), block.block_errors()) == (9, 8)
    assert (block.refined_frames(), block.rescued_frames(), block.frames_without_csi()) == (1, 1, 8)
    assert block.malformed_tags() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_no_radio_gives(value):
    known = frame_value(delay_spread=0.2, doppler=0.008)
    tags = [tag(0, "frame", known), tag(0, "mimo_channel", channel_to_pmt(FRAME.estimate, FRAME.noise_var))]
    block, _ = decode(tags, 1, np.full_like(FRAME.received, value))
    assert block.refined_frames() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_rx": 0}, "num_rx is 0"),
        ({"num_tx": 5}, "num_tx is 5"),
        ({"passes": 0}, "passes is 0; 1 to 8 expected"),
        ({"detector": "nope"}, "nope"),
        ({"detector": 5}, "model is a int"),
        ({"detector": "admm5-qpsk"}, "16qam"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        data_aided_decoder(**{"num_rx": 2, "num_tx": 2} | arguments)
