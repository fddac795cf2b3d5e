# SPDX-License-Identifier: GPL-3.0-or-later
"""frame_explainer: beside a receiver that loses frames, it says why, and keeps running whatever it is told."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.frame_explainer import KEPT, frame_explainer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from tests.blocks.flowgraphs import TaggedSource, run_to_end, wait_until

RATE = 2e6


def transmission(sent_format, num_frames, carrier_offset=0.0, seed=1):
    """Samples (n, 2) of so many frames over a fading channel, with pauses, and noise at the end."""
    rng, coder = np.random.default_rng(seed), PayloadCoder(sent_format)
    sent = np.zeros((2, 400 + num_frames * 2500 + 12000), np.complex64)
    for number in range(num_frames):
        frame = sent_format.modulate(sent_format.map_bits(coder.encode(rng.bytes(max_payload(sent_format)))))
        start = 400 + 2500 * number
        sent[:, start : start + frame.shape[1]] = frame
    channel = RadioChannel(
        2, 2, sample_rate=RATE, profile="tdl-a", delay_spread=1e-7, snr_db=28, carrier_offset=carrier_offset, seed=seed
    )
    return channel.process(sent).T


def receive(samples, until):
    """A receiver for 16-QAM with an explainer beside it; what that has published."""
    receiver = gr_kaq.mimo_receiver(2, 2)
    explainer, sink = gr_kaq.frame_explainer(2, 2), blocks.message_debug()
    source = TaggedSource(np.ascontiguousarray(samples)[:, None])
    source.limit = len(samples) - 1  # it does not end yet
    tb = gr.top_block()
    for antenna in range(2):
        tb.connect((source, antenna), (receiver, antenna))
        tb.connect((source, antenna), (explainer, antenna))
        tb.connect((receiver, antenna), blocks.null_sink(receiver.output_signature().sizeof_stream_item(antenna)))
    tb.msg_connect(receiver, "lost", explainer, "lost")
    tb.msg_connect(explainer, "explanations", sink, "store")
    tb.start()
    wait_until(lambda: until(receiver, explainer, sink))
    tb.stop()
    tb.wait()
    return receiver, explainer, [pmt.to_python(sink.get_message(i)) for i in range(sink.num_messages())]


def test_lost_frames_are_explained():
    """64-QAM is sent, 16-QAM is expected."""
    samples = transmission(FrameFormat(2, constellation_name="64qam"), 6)
    _, explainer, messages = receive(samples, lambda receiver, explainer, sink: sink.num_messages() >= 1)
    assert messages and messages[0]["cause"] == "constellation"
    assert messages[0]["detail"] == "64qam decodes; receive with --constellation 64qam"
    assert messages[0]["sample"] % 2500 in range(400, 430)
    assert explainer.internal_errors() == explainer.rejected_messages() == 0


def test_nothing_is_said_of_frames_that_arrive():
    receiver, explainer, messages = receive(
        transmission(FrameFormat(2), 6),
        lambda receiver, explainer, sink: receiver.decoder.frames() >= 6 and explainer.nitems_read(0) > 25000,
    )
    assert receiver.decoder.frames() == 6 and receiver.decoder.block_errors() == 0
    assert messages == [] and explainer.explained_frames() == explainer.skipped_frames() == 0


def dict_with(**entries):
    message = pmt.make_dict()
    for key, value in entries.items():
        message = pmt.dict_add(message, pmt.intern(key), value)
    return message


@pytest.mark.parametrize(
    "message",
    [None, pmt.PMT_NIL, pmt.intern("x"), dict_with(), dict_with(sample=pmt.from_double(3)), dict_with(sample=pmt.PMT_T),
     dict_with(sample=pmt.from_long(-1)), dict_with(sample=pmt.from_uint64(1 << 63))],
)  # fmt: skip
def test_messages_that_name_no_sample_are_refused(message):
    explainer = frame_explainer(1, 1)
    explainer.handle_lost(message)
    assert explainer.rejected_messages() == 1 and explainer.internal_errors() == 0


def run_with(explainer, num_samples, lost):
    """Noise, and messages before it."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((num_samples, 1, 1)) + 1j * rng.standard_normal((num_samples, 1, 1))
    source = TaggedSource(noise.astype(np.complex64))
    source.limit = num_samples
    tb = gr.top_block()
    tb.connect(source, explainer)
    for sample in lost:
        explainer.handle_lost(dict_with(sample=pmt.from_uint64(sample)))
    run_to_end(tb)


def test_samples_that_are_gone_and_samples_that_never_come():
    explainer = frame_explainer(1, 1)
    run_with(explainer, KEPT + 100_000, [])
    explainer._num_samples = KEPT + 100_000  # as while it runs
    explainer.handle_lost(dict_with(sample=pmt.from_uint64(5)))
    explainer._hand_over()
    assert explainer.skipped_frames() == 1
    explainer = frame_explainer(1, 1)
    run_with(explainer, 20_000, [1 << 40])
    assert explainer.explained_frames() == explainer.internal_errors() == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((0, 1), "num_rx is 0"), ((1, 9), "num_tx is 9"), ((1, 1, 100), "fft_size is 100"), ((1, 1, 64, "8psk"), "8psk")],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        frame_explainer(*arguments)
