# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame synchronizer in running flowgraphs: what the engine finds, through any buffers, lost samples included."""

import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.synchronization import Synchronizer
from tests.blocks.flowgraphs import NONE, TIMEOUT_S, Flowgraph, Gate, TaggedSource, run, run_to_end, wait_until
from tests.frames.test_synchronization import complex_normal, send

FRAME = FrameFormat(2)
STARTS = [0, 1300, 4000, 4400]
RATE = 1e6


def received(starts=STARTS, num_rx=3, length=4400 + FRAME.frame_length, seed=1):
    """Antenna samples (items, 1, num_rx), as the flowgraphs take them; the last frame ends with the last item."""
    samples = send(FRAME, num_rx, length, starts, np.random.default_rng(seed), offset=0.004)
    return samples.T[:, None, :].astype(np.complex64)


def synchronizer(num_rx=3, **arguments):
    return gr_kaq.frame_synchronizer(num_rx, 2, 64, **arguments)


def windows(found):
    """(14 for each frame, fft_size, num_rx), as `Flowgraph.output` has them."""
    return np.concatenate([frame.windows.swapaxes(1, 2) for frame in found])


def assert_found(flowgraph, found, samples=None):
    """The block gave out exactly these frames, with their tags, at (if they are not theirs) these samples."""
    np.testing.assert_allclose(flowgraph.output(), windows(found), atol=1e-5)
    tags = flowgraph.sinks[0].tags()
    assert [(tag.offset, str(tag.key)) for tag in tags] == [(14 * i, "frame") for i in range(len(found))]
    samples = samples or [frame.start for frame in found]
    for number, (tag, frame) in enumerate(zip(tags, found, strict=True)):
        assert pmt.is_uint64(pmt.dict_ref(tag.value, pmt.intern("seq"), pmt.PMT_NIL))
        values = pmt.to_python(tag.value)
        assert values["seq"] == number and values["sample"] == samples[number]
        assert values["carrier_offset"] == pytest.approx(frame.carrier_offset, abs=1e-9)
        assert values["metric"] == pytest.approx(frame.metric, abs=1e-6)
    assert not any(sink.tags() for sink in flowgraph.sinks[1:])
    assert flowgraph.block.frames() == len(found) and flowgraph.block.internal_errors() == 0


def time_tags(item, seconds, fraction, ports=(0, 1, 2), rate=None):
    """What UHD sets on every port when it begins, and after samples were lost."""
    value = pmt.make_tuple(pmt.from_uint64(seconds), pmt.from_double(fraction))
    tags = [(port, item, "rx_time", value) for port in ports]
    return tags + [(port, item, "rx_rate", pmt.from_double(rate)) for port in ports if rate]


@pytest.mark.parametrize("chunk", [None, 1, 100, 1279])
def test_equal_to_the_engine(chunk):
    """Whatever the buffers: also the frame that ends with the stream, and two that overlap."""
    samples = received()
    expected = Synchronizer(FRAME, 3).push(samples[:, 0].T)
    assert [frame.start for frame in expected] == STARTS
    block = synchronizer()
    assert_found(run(block, samples, chunk=chunk), expected)
    assert block.overlapping_frames() == 1 and block.incomplete_frames() == block.gaps() == 0


def test_outputs_that_are_full():
    """Frames that do not fit into the outputs wait, and are not lost when the stream ends meanwhile."""
    starts = [FRAME.frame_length * i for i in range(40)]
    samples = received(starts, 1, FRAME.frame_length * 40)
    block = synchronizer(1)
    source = TaggedSource(samples)
    source.limit = len(samples)
    slow, sink = SlowVectors(64), blocks.vector_sink_c(64)
    tb = gr.top_block()
    tb.connect(source, block, slow, sink)
    run_to_end(tb)
    assert len(sink.data()) == 40 * 14 * 64 and block.frames() == 40


class SlowVectors(gr.sync_block):
    """Takes three vectors at a time, so that the buffer in front of it is full."""

    def __init__(self, width):
        gr.sync_block.__init__(self, "slow", [(np.complex64, width)], [(np.complex64, width)])

    def work(self, input_items, output_items):
        count = min(3, len(output_items[0]))
        output_items[0][:count] = input_items[0][:count]
        time.sleep(0.001)
        return count


def test_frames_that_wait_are_given_out_after_unlock():
    """What the block has found while its output is full comes when the flowgraph is unlocked, in order."""
    samples = received([FRAME.frame_length * i for i in range(40)], 1, FRAME.frame_length * 40)
    block, source, gate, sink = synchronizer(1), TaggedSource(samples), Gate(64), blocks.vector_sink_c(64)
    source.limit = len(samples)
    tb = gr.top_block()
    tb.connect(source, block, gate, sink)
    tb.start()
    wait_until_still(lambda: source.nitems_written(0))  # all is full
    source.limit = 0
    tb.lock()
    tb.unlock()
    gate.open.set()
    source.limit = source.nitems_written(0) + 100  # without samples no block is called
    wait_until_still(lambda: len(sink.data()))
    tb.stop()
    tb.wait()
    came, sent = np.reshape(sink.data(), (-1, 64)), windows(Synchronizer(FRAME, 1).push(samples[:, 0].T))[..., 0]
    first = int(np.argmin(np.abs(sent - came[0]).max(1)))
    assert first % 14 == 0 and len(came) > 14
    np.testing.assert_allclose(came, sent[first : first + len(came)], atol=1e-5)


def wait_until_still(count):
    """Until it is above 0, and has stayed the same for a while."""

    def still():
        before = count()
        time.sleep(0.2)
        return 0 < count() == before

    wait_until(still)


@pytest.mark.parametrize("ports", [(0, 1, 2), (1,)])
def test_lost_samples(ports):
    """Where the radio's time jumps, a frame in progress is given up, counted, and the next one is received."""
    samples = received([500, 3000, 5000], length=7000)
    kept = np.delete(samples, slice(3400, 3500), axis=0)  # within the second frame
    tags = time_tags(0, 5, 0.9999, ports, RATE) + time_tags(1000, 6, 0.0009, ports)  # the latter goes on
    tags += time_tags(3400, 6, 0.0034, ports, RATE)
    block = synchronizer()
    flowgraph = run(block, kept, tags)
    expected = [frame for frame in Synchronizer(FRAME, 3).push(samples[:, 0].T) if frame.start != 3000]
    assert_found(flowgraph, expected, [500, 4900])
    assert block.gaps() == 1 and block.incomplete_frames() == 1 and block.rejected_tags() == 0


def test_a_rate_may_be_an_integer():
    tags = [*time_tags(0, 5, 0.0), (0, 0, "rx_rate", pmt.from_long(int(RATE))), *time_tags(600, 5, 600 / RATE)]
    block = synchronizer()
    run(block, received([100], length=2000), tags)
    assert (block.gaps(), block.rejected_tags()) == (0, 0)


@pytest.mark.parametrize("decimation", [2, 25])
def test_times_that_a_decimator_has_passed_on(decimation):
    """With the radio's rate: after two of them it is known how many samples go into an item."""
    tags = [(port, 0, "rx_rate", pmt.from_double(RATE)) for port in range(3)]
    for item in range(0, 6000, 600):
        tags += time_tags(item, 5, item * decimation / RATE)
    block = synchronizer()
    samples = received([700, 2500, 4100], length=7000)
    run(block, samples, tags)
    assert (block.gaps(), block.rejected_tags(), block.frames()) == (1, 0, 3)
    lost = [tag for tag in tags if tag[1] < 2000] + time_tags(3000, 5, (3000 * decimation + 77) / RATE)
    block = synchronizer()
    run(block, samples, lost)
    assert block.gaps() == 2 and block.frames() == 2  # what is lost is told all the same


def test_time_without_a_rate():
    """Nobody can tell whether it goes on: so it does not."""
    block = synchronizer()
    run(block, received([100], length=2000), time_tags(0, 5, 0.0) + time_tags(600, 5, 0.0006))
    assert block.gaps() == 1 and block.incomplete_frames() == 1 and block.frames() == 0


def test_gaps_everywhere():
    """A radio that loses samples all the time: no frame, no end of the flowgraph."""
    tags = [tag for i in range(60) for tag in time_tags(100 * i, i, 0.5, rate=RATE)]
    block = synchronizer()
    run(block, received([500, 3000], length=6000), tags)
    assert block.gaps() == 59 and block.frames() == 0 and block.internal_errors() == 0


MALFORMED = [
    ("rx_time", pmt.PMT_NIL),
    ("rx_time", pmt.from_double(3)),
    ("rx_time", pmt.make_tuple(pmt.from_uint64(1))),
    ("rx_time", pmt.make_tuple(pmt.from_double(1), pmt.from_double(0.5))),
    ("rx_time", pmt.make_tuple(pmt.from_uint64(1), pmt.from_double(float("nan")))),
    ("rx_time", pmt.make_tuple(pmt.from_uint64(1), pmt.intern("x"))),
    *(("rx_time", pmt.make_tuple(none, pmt.from_double(0.5))) for none in NONE),
    *(("rx_time", pmt.make_tuple(pmt.from_uint64(1), none)) for none in NONE),
    ("rx_rate", pmt.intern("fast")),
    ("rx_rate", pmt.from_double(0)),
    ("rx_rate", pmt.from_double(float("inf"))),
    ("rx_rate", pmt.from_complex(1j)),
]


def test_malformed_tags():
    """Are ignored and counted; tags of others do not matter."""
    tags = time_tags(0, 2**64 - 2, 0.5, rate=RATE) + [(1, 700 + i, *tag) for i, tag in enumerate(MALFORMED)]
    tags += [(0, 800, "rx_freq", pmt.from_double(1e9)), (2, 900, "mimo_channel", pmt.PMT_NIL)]
    block = synchronizer()
    flowgraph = run(block, received([500], length=2000), tags)
    assert flowgraph.tags() == [(0, "frame")]
    assert block.rejected_tags() == len(MALFORMED) and block.gaps() == 0


def test_the_end_comes_early():
    """Of a frame that lacks its end nothing is given out."""
    block = synchronizer()
    flowgraph = run(block, received([500, 2000], length=3000))
    assert flowgraph.tags() == [(0, "frame")]
    assert block.frames() == 1 and block.cut_frames() == 1 and block.incomplete_frames() == 0


def test_bad_antennas_and_samples():
    """Counted for each antenna, and the frame is given out all the same."""
    samples = received([500], 4, 2500)
    samples[:, 0, 1] = 0
    rms = np.sqrt(np.mean(np.abs(samples[500:1780, 0, 2]) ** 2))
    samples[:, 0, 2] = samples[:, 0, 2].real.clip(-rms, rms) + 1j * samples[:, 0, 2].imag.clip(-rms, rms)
    samples[100:110, 0, 3] = np.nan
    block = synchronizer(4)
    flowgraph = run(block, samples)
    assert flowgraph.tags() == [(0, "frame")]
    assert block.dead_antennas() == [0, 1, 0, 0] and block.saturated_antennas() == [0, 0, 1, 0]
    assert block.invalid_samples() == 10


def test_started_again():
    """A flowgraph that runs twice: samples are counted from 0 again, and half a frame from before is forgotten."""
    samples = received([500, 2000], length=3000)
    block, sink = synchronizer(), blocks.vector_sink_c(64)
    for _ in range(2):
        tb, source = gr.top_block(), TaggedSource(samples)
        source.limit = len(samples)
        for port in range(3):
            tb.connect((source, port), (block, port))
            tb.connect((block, port), sink if port == 0 else blocks.null_sink(64 * 8))
        run_to_end(tb)
        tb.disconnect_all()
    first, second = (pmt.to_python(tag.value) for tag in sink.tags())
    assert (first["seq"], first["sample"]) == (0, 500) and (second["seq"], second["sample"]) == (1, 500)
    assert block.cut_frames() == 2


def test_stats():
    """The counters are published while samples flow, and when the flowgraph has ended."""
    noise = complex_normal(np.random.default_rng(3), 2000, 1, 3)
    block, store = synchronizer(stats_interval_s=1e-3), blocks.message_debug()
    flowgraph = Flowgraph(block, np.concatenate([received([100], length=2000), noise]))
    flowgraph.tb.msg_connect((block, "stats"), (store, "store"))
    with flowgraph:
        flowgraph.source.limit = 3000
        flowgraph.wait_until(lambda: store.num_messages() > 0)
    deadline = time.monotonic() + TIMEOUT_S
    while (last := pmt.to_python(store.get_message(store.num_messages() - 1)))["frames"] != 1:
        assert time.monotonic() < deadline
    assert set(last) == {
        "frames",
        "gaps",
        "incomplete_frames",
        "cut_frames",
        "overlapping_frames",
        "dead_antennas",
        "saturated_antennas",
        "invalid_samples",
        "rejected_tags",
        "internal_errors",
        "failed_starts",
        "dropped_items",
    }
    assert list(last["dead_antennas"]) == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_rx": 0}, "num_rx is 0; 1 to 256 expected"),
        ({"num_tx": 5}, "num_tx is 5; at most 4 expected with 64 carriers"),
        ({"fft_size": 128}, "fft_size is 128; one of 64, 256, 512, 1024, 2048 expected"),
        ({"stats_interval_s": -1}, "stats_interval_s is -1; at least 0 expected"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        gr_kaq.frame_synchronizer(**({"num_rx": 2, "num_tx": 2} | arguments))
