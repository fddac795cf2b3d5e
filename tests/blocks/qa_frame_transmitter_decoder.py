# SPDX-License-Identifier: GPL-3.0-or-later
"""Bursts on the air, and payloads out of LLRs: transmitter, decoder and the file blocks in flowgraphs."""

import threading
import time
import tracemalloc

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

from gr_kaq.blocks.frame_decoder import frame_decoder
from gr_kaq.blocks.frame_transmitter import MAX_QUEUE, WANTED, frame_transmitter
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes
from gr_kaq.blocks.pdu_file_sink import pdu_file_sink
from gr_kaq.blocks.pdu_file_source import pdu_file_source
from gr_kaq.frames import payload
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.frames.frame_format import DATA_SYMBOLS, FrameFormat
from tests.blocks.flowgraphs import TIMEOUT_S, Gate, run_to_end, wait_until

GAP = 100
PORT = pmt.intern("pdus")
FRAME = FrameFormat(2, 64, "qpsk")


def post(block, *messages):
    for message in messages:
        block._post(PORT, message)


def payloads_of(frame, count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(rng.integers(1, payload.max_payload(frame) + 1))) for _ in range(count)]


def transmit(block, pdus=(), source=None):
    """The sinks behind a transmitter that ends after these PDUs, or after those of a source."""
    tb = gr.top_block()
    sinks = [blocks.vector_sink_c() for _ in range(block.frame_format.num_tx)]
    for port, sink in enumerate(sinks):
        tb.connect((block, port), sink)
    if source:
        tb.msg_connect(block, "ready", source, "ready")
        tb.msg_connect(source, "pdus", block, "pdus")
    else:
        post(block, *pdus, pmt.PMT_EOF)
    run_to_end(tb)
    return sinks


def tags_of(sink):
    return sorted((tag.offset, str(tag.key), pmt.to_python(tag.value)) for tag in sink.tags())


def symbols_of(frame, samples, start):
    """The data symbols (11, num_data, num_tx) of a burst, without a channel."""
    grid = frame.demodulate(samples, start)
    data = [grid[symbol][:, places] for symbol, places in zip(DATA_SYMBOLS, frame.data_indices, strict=True)]
    return np.stack(data).swapaxes(1, 2)


def hard_llrs(frame, symbols):
    return (2.0 * frame.constellation.decide(symbols) - 1).reshape(*symbols.shape, -1).astype(np.float32)


def received(frame, samples, starts):
    llrs = [frame.collect_llrs(hard_llrs(frame, symbols_of(frame, samples, start))) for start in starts]
    return payload.decode(frame, llrs)


# The transmitter


@pytest.mark.parametrize(
    "frame", [FrameFormat(1, 64, "qpsk"), FRAME, FrameFormat(3, 64, "16qam"), FrameFormat(4, 256, "256qam")]
)
def test_every_pdu_is_a_burst(frame):
    """Tags sample-exact on every port, zeros in the gap only, payloads back from the samples, then the end."""
    sent = payloads_of(frame, 5)
    block = frame_transmitter(frame.num_tx, frame.fft_size, frame.constellation_name, gap_length=GAP)
    sinks = transmit(block, map(make_pdu, sent))
    length = frame.frame_length + GAP
    samples = np.array([sink.data() for sink in sinks])
    assert samples.shape == (frame.num_tx, 5 * length)
    for sink in sinks:
        assert tags_of(sink) == sorted(
            (burst * length + item, key, value)
            for burst in range(5)
            for item, key, value in [(0, "packet_len", length), (0, "tx_sob", True), (length - 1, "tx_eob", True)]
        )
    bursts = samples.reshape(frame.num_tx, 5, length)
    assert not bursts[..., frame.frame_length :].any()
    np.testing.assert_array_equal(bursts[:, 0, : frame.preamble_length], frame.preamble)
    assert received(frame, samples, range(0, 5 * length, length)) == sent
    assert block.frames() == 5 and block.dropped_pdus() == block.bad_pdus() == block.internal_errors() == 0


@pytest.mark.parametrize("gap", [0, 10_000])
def test_any_gap(gap):
    sinks = transmit(frame_transmitter(2, 64, "qpsk", gap_length=gap), map(make_pdu, payloads_of(FRAME, 3)))
    length = FRAME.frame_length + gap
    starts = [item for item, key, value in tags_of(sinks[1]) if key == "packet_len"]
    assert starts == [0, length, 2 * length] and len(sinks[1].data()) == 3 * length
    samples = np.array([sink.data() for sink in sinks])
    assert received(FRAME, samples, starts) == payloads_of(FRAME, 3)


def test_zeros_while_there_is_nothing_to_send():
    """A simulated radio gets samples all the time; what is outside of bursts is zero and in no packet."""
    block = frame_transmitter(2, 64, "qpsk", gap_length=GAP, idle="zeros")
    tb = gr.top_block()
    sinks = [blocks.vector_sink_c() for _ in range(2)]
    for port, sink in enumerate(sinks):
        tb.connect((block, port), blocks.throttle(gr.sizeof_gr_complex, 1e6), sink)
    tb.start()
    sent = payloads_of(FRAME, 4)
    for number, data in enumerate(sent):
        filled = len(sinks[0].data())
        wait_until(lambda filled=filled: len(sinks[0].data()) > filled + 2000)
        post(block, make_pdu(data))
        wait_until(lambda number=number: block.frames() == number + 1)
    post(block, pmt.PMT_EOF)
    thread = threading.Thread(target=tb.wait, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"
    starts = [item for item, key, _ in tags_of(sinks[0]) if key == "packet_len"]
    assert len(starts) == 4 and starts[0] > 0
    count = min(len(sink.data()) for sink in sinks)
    samples = np.array([sink.data()[:count] for sink in sinks])
    assert received(FRAME, samples, starts) == sent
    for start in starts:
        samples[:, start : start + FRAME.frame_length] = 0
    assert not samples.any()


def test_without_pdus_it_waits():
    block = frame_transmitter(1, 64, "qpsk")
    tb = gr.top_block()
    sink = blocks.vector_sink_c()
    tb.connect(block, sink)
    tb.start()
    time.sleep(0.05)
    assert not sink.data()
    post(block, make_pdu(b"late"))
    wait_until(lambda: len(sink.data()) == FRAME.frame_length + 256)
    tb.stop()
    tb.wait()


def test_bad_pdus_are_counted_and_the_next_is_sent(caplog):
    frame = FrameFormat(1, 64, "qpsk")
    limit = payload.max_payload(frame)
    bad = [
        pmt.PMT_NIL,
        pmt.PMT_T,
        pmt.from_long(3),
        pmt.intern("text"),
        pmt.init_u8vector(3, [1, 2, 3]),
        pmt.cons(pmt.PMT_NIL, pmt.PMT_NIL),
        pmt.cons(pmt.make_dict(), pmt.init_f32vector(2, [1.0, 2.0])),
        pmt.dict_add(pmt.make_dict(), pmt.intern("key"), pmt.from_long(1)),
        make_pdu(b""),
        make_pdu(bytes(limit + 1)),
        make_pdu(bytes(100_000)),
    ]
    good = make_pdu(bytes(limit))
    block = frame_transmitter(1, 64, "qpsk", gap_length=0)
    (sink,) = transmit(block, [m for message in bad for m in (message, good)])
    assert block.bad_pdus() == len(bad) and block.frames() == len(bad) and block.internal_errors() == 0
    samples = np.array([sink.data()])
    assert received(frame, samples, range(0, samples.size, frame.frame_length)) == [bytes(limit)] * len(bad)


@pytest.mark.parametrize("make", [lambda path: frame_transmitter(1), lambda path: pdu_file_sink(path / "file")])
def test_a_pdu_that_is_too_long_is_not_copied(make, tmp_path):
    """100 MB took two seconds and 858 MB, to be refused then."""
    block, message = make(tmp_path), pmt.cons(pmt.make_dict(), pmt.make_u8vector(100_000_000, 0))
    tracemalloc.start()
    block.handle_pdu(message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert block.bad_pdus() == 1 and peak < 1_000_000


def test_bad_pdus_are_replaced():
    """One who sends on request would otherwise wait for ever after sending nothing but bad ones."""
    block, store = frame_transmitter(1, 64, "qpsk"), blocks.message_debug()
    tb = gr.top_block()
    tb.connect(block, blocks.null_sink(gr.sizeof_gr_complex))
    tb.msg_connect(block, "ready", store, "store")
    tb.start()

    def wanted():
        return sum(pmt.to_long(store.get_message(i)) for i in range(store.num_messages()))

    wait_until(lambda: wanted() == WANTED)
    post(block, *[make_pdu(b"")] * WANTED)
    wait_until(lambda: wanted() == 2 * WANTED)
    tb.stop()
    tb.wait()


def test_metadata_does_not_matter():
    frame = FrameFormat(1, 64, "qpsk")
    for metadata in (pmt.PMT_NIL, pmt.from_long(3), pmt.dict_add(pmt.make_dict(), pmt.intern("a"), pmt.PMT_T)):
        (sink,) = transmit(frame_transmitter(1, 64, "qpsk"), [pmt.cons(metadata, pmt.init_u8vector(2, [1, 2]))])
        assert received(frame, np.array([sink.data()]), [0]) == [b"\1\2"]


def test_a_full_queue_drops_and_counts():
    """What comes unasked must not fill the memory."""
    block = frame_transmitter(1, 64, "qpsk")
    for _ in range(MAX_QUEUE + 7):
        block.handle_pdu(make_pdu(b"x"))
    assert block.queued_pdus() == MAX_QUEUE and block.dropped_pdus() == 7
    block.handle_pdu(pmt.PMT_EOF)
    block.handle_pdu(make_pdu(b"x"))
    assert block.dropped_pdus() == 8


def test_amplitude():
    """A factor, from the next burst on; at 0.25 a DAC with full scale 1 does not clip."""
    pdus = list(map(make_pdu, payloads_of(FRAME, 100)))
    block, plain = (frame_transmitter(2, 64, "qpsk", amplitude=amplitude) for amplitude in (0.25, 1.0))
    quiet, loud = (np.array([sink.data() for sink in transmit(tx, pdus)]) for tx in (block, plain))
    np.testing.assert_allclose(4 * quiet, loud, rtol=1e-6)
    assert block.peak() == np.abs([quiet.real, quiet.imag]).max() < 1 < plain.peak()
    for amplitude in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="amplitude"):
            block.set_amplitude(amplitude)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tx": 0}, "num_tx is 0"),
        ({"num_tx": 2.5}, "num_tx is 2.5"),
        ({"fft_size": 100}, "fft_size is 100"),
        ({"constellation": "8psk"}, "8psk"),
        ({"amplitude": 0}, "amplitude is 0"),
        ({"gap_length": -1}, "gap_length is -1"),
        ({"idle": "sleep"}, "idle is 'sleep'; one of wait, zeros"),
    ],
)
def test_errors_name_what_was_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        frame_transmitter(**{"num_tx": 1} | arguments)


# Files


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sent"
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    return path


def test_a_slow_radio_loses_nothing_of_a_file(file):
    """Nothing throttles messages: the source sends only what the transmitter asks for."""
    frame = FrameFormat(1, 64, "qpsk")
    source = pdu_file_source(file, 1, 64, "qpsk", repeats=1)
    block, gate, sink = frame_transmitter(1, 64, "qpsk", gap_length=0), Gate(), blocks.vector_sink_c()
    tb = gr.top_block()
    tb.connect(block, gate, sink)
    tb.msg_connect(block, "ready", source, "ready")
    tb.msg_connect(source, "pdus", block, "pdus")
    tb.start()
    wait_until(lambda: block.frames() > 3 and block.queued_pdus() == WANTED)
    time.sleep(0.02)
    assert block.queued_pdus() == WANTED and source.pdus() < source.num_blocks() / 4
    gate.open.set()
    thread = threading.Thread(target=tb.wait, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"
    expected = list(FileSender(file, payload.max_payload(frame), repeats=1))
    assert source.pdus() == block.frames() == len(expected)
    assert block.dropped_pdus() == 0 and len(sink.data()) == len(expected) * frame.frame_length


def test_a_file_over_the_air(file, tmp_path):
    """From the file to samples, and from their LLRs to the file."""
    frame = FrameFormat(4, 64, "16qam")
    block = frame_transmitter(4, gap_length=0)
    samples = np.array([sink.data() for sink in transmit(block, source=pdu_file_source(file, 4, repeats=1))])
    starts = range(0, samples.shape[1], frame.frame_length)
    llrs = np.stack([hard_llrs(frame, symbols_of(frame, samples, start)) for start in starts])
    llrs = llrs.reshape(len(starts), frame.data_per_stream, frame.num_tx, -1)
    sink = pdu_file_sink(tmp_path / "received")
    decode(frame, llrs, frame_tags(len(starts)), sink=sink)
    assert sink.complete() and (tmp_path / "received").read_bytes() == file.read_bytes()
    assert set(sink.stats().values()) == {0} and sink.progress()[0] == sink.progress()[1] > 0


def test_started_again_it_begins_with_a_whole_burst(file):
    """The source goes on where it was, and one that has ended says so again."""
    frame = FrameFormat(1, 64, "qpsk")
    source = pdu_file_source(file, 1, 64, "qpsk", repeats=1)
    block = frame_transmitter(1, 64, "qpsk", gap_length=0)
    tb = gr.top_block()
    head, sink = blocks.head(gr.sizeof_gr_complex, 10 * frame.frame_length + 77), blocks.vector_sink_c()
    tb.connect(block, head, sink)
    tb.msg_connect(block, "ready", source, "ready")
    tb.msg_connect(source, "pdus", block, "pdus")
    expected = set(FileSender(file, payload.max_payload(frame), repeats=1))
    for _ in range(3):
        head.reset()
        sink.reset()
        run_to_end(tb)
        assert tags_of(sink)[0][:2] == (0, "packet_len")
        starts = range(0, 10 * frame.frame_length, frame.frame_length)
        assert set(received(frame, np.array([sink.data()]), starts)) <= expected
    assert block.dropped_pdus() == 0 and source.pdus() >= 30
    head.set_length(10**9)
    for _ in range(2):
        head.reset()
        run_to_end(tb)
    assert block.queued_pdus() == 0


def test_the_file_source_bears_any_request(file):
    source = pdu_file_source(file, 1, 64, "qpsk", repeats=1)
    bad = [pmt.PMT_NIL, pmt.intern("5"), pmt.from_double(5.0), pmt.from_long(-1), pmt.from_long(10**15)]
    for message in [None, *bad]:
        source.handle_ready(message)
    assert source.bad_messages() == 6 and source.pdus() == 0 and source.internal_errors() == 0
    for _ in range(2):
        source.handle_ready(pmt.from_long(4096))
    assert source.pdus() == len(list(FileSender(file, payload.max_payload(FrameFormat(1, 64, "qpsk")), repeats=1)))


def test_the_file_sink_bears_any_message(tmp_path, file):
    (tmp_path / "directory").mkdir()
    sink = pdu_file_sink(tmp_path / "directory")
    for message in (None, pmt.PMT_NIL, pmt.from_long(1), pmt.cons(pmt.PMT_NIL, pmt.PMT_NIL)):
        sink.handle_pdu(message)
    for data in FileSender(file, 100, repeats=1):
        sink.handle_pdu(make_pdu(data))
    assert sink.bad_pdus() == 4 and sink.failed_writes() == 1 and not sink.complete()
    assert sink.stats()["internal_errors"] == 0


# The decoder


def frame_tags(count):
    """Tags `frame` for so many frames."""
    return [frame_tag(number, number) for number in range(count)]


def frame_tag(item, seq=None, value=None):
    tag = gr.tag_t()
    tag.offset, tag.key, tag.srcid = item, pmt.intern("frame"), pmt.PMT_F
    tag.value = value if value is not None else pmt.dict_add(pmt.make_dict(), pmt.intern("seq"), pmt.from_uint64(seq))
    return tag


def llrs_of(frame, payloads, noise=0.0, seed=0):
    """LLRs (frames, data_per_stream, num_tx, bits) of QPSK symbols in white noise."""
    rng = np.random.default_rng(seed)
    llrs = []
    for bits in payload.encode(frame, payloads):
        levels = 2.0 * bits[frame.interleaver] - 1
        levels = (levels + noise * rng.standard_normal(bits.size)).astype(np.float32)
        llrs.append(levels.reshape(frame.data_per_stream, frame.num_tx, -1))
    return np.stack(llrs)


def decode(frame, llrs, tags, sink=None, max_items=8192):
    """The decoder and its PDUs, after all of these LLRs went through it."""
    tb = gr.top_block()
    block = frame_decoder(frame.num_tx, frame.fft_size, frame.constellation_name)
    width = llrs[0, :, 0].size
    for stream in range(frame.num_tx):
        data = np.ascontiguousarray(llrs[:, :, stream]).ravel()
        source = blocks.vector_source_f(data.tolist(), False, width, tags if stream == 0 else [])
        tb.connect(source, (block, stream))
    store = blocks.message_debug()
    tb.msg_connect(block, "pdus", store, "store")
    if sink:
        tb.msg_connect(block, "pdus", sink, "pdus")
    thread = threading.Thread(target=tb.run, args=(max_items,), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"
    assert block.internal_errors() == 0
    return block, [store.get_message(i) for i in range(store.num_messages())]


def seqs(pdus):
    return [(pmt.to_python(pmt.car(pdu)) or {}).get("seq") for pdu in pdus]


@pytest.mark.parametrize("max_items", [8192, 1, 7])
def test_payloads_with_the_metadata_of_their_frames(max_items):
    """However the scheduler cuts the stream."""
    sent = payloads_of(FRAME, 9)
    block, pdus = decode(FRAME, llrs_of(FRAME, sent), frame_tags(9), max_items=max_items)
    assert [pdu_bytes(pdu) for pdu in pdus] == sent and seqs(pdus) == list(range(9))
    assert block.frames() == 9 and block.block_errors() == 0


def test_frames_without_a_proper_tag_are_decoded():
    """No tag, a tag of another type, another tag: the payload is there, what is known of its frame is not."""
    sent = payloads_of(FRAME, 4)
    other = frame_tag(2, 9)
    other.key = pmt.intern("something else")
    tags = [frame_tag(0, 0), frame_tag(1, value=pmt.intern("no dict")), other, frame_tag(3, 3)]
    block, pdus = decode(FRAME, llrs_of(FRAME, sent), tags)
    assert [pdu_bytes(pdu) for pdu in pdus] == sent and seqs(pdus) == [0, None, None, 3]
    assert block.frames() == 4 and block.malformed_tags() == 1


def test_frames_in_error_are_counted():
    """All zero is what a detector without an estimate sends; NaN and Inf what a broken one does."""
    sent = payloads_of(FRAME, 6)
    llrs = llrs_of(FRAME, sent).reshape(6, -1)
    llrs[1], llrs[2], llrs[3] = 0, np.nan, np.inf
    llrs[4] *= np.where(np.random.default_rng(0).random(llrs[4].size) < 0.3, -1, 1)
    block, pdus = decode(FRAME, llrs.reshape(6, FRAME.data_per_stream, FRAME.num_tx, 2), frame_tags(6))
    assert [pdu_bytes(pdu) for pdu in pdus] == [sent[0], sent[5]] and seqs(pdus) == [0, 5]
    assert block.frames() == 6 and block.block_errors() == 4 and block.block_error_rate() == 4 / 6


def test_block_errors_rise_with_the_noise():
    """Eb/N0 of 5 dB and of 0 dB."""
    sent = payloads_of(FRAME, 60)
    rates = [
        decode(FRAME, llrs_of(FRAME, sent, 10 ** (-decibels / 20)), frame_tags(60))[0].block_error_rate()
        for decibels in (5, 0)
    ]
    assert rates[0] < 0.04 and rates[1] > 0.5


def test_counters_are_published():
    block = frame_decoder(1, 64, "qpsk", stats_interval_s=1e-9)
    tb, store = gr.top_block(), blocks.message_debug()
    width = 4 * block.frame_format.data_per_stream * 2
    tb.connect(blocks.null_source(width), blocks.head(width, 100), block)
    tb.msg_connect(block, "stats", store, "store")
    run_to_end(tb)
    stats = block.stats()
    assert all(stats[name] == getattr(block, name)() for name in stats)
    assert stats["block_errors"] == 100 and stats["block_error_rate"] == 1
    published = pmt.to_python(store.get_message(0))
    assert published.keys() == stats.keys() and 0 < published["block_errors"] <= 100


def test_decoder_arguments():
    for arguments, message in [((0,), "num_tx is 0"), ((1, 65), "fft_size is 65"), ((1, 64, "8psk"), "8psk")]:
        with pytest.raises(ValueError, match=message):
            frame_decoder(*arguments)
    with pytest.raises(ValueError, match="stats_interval_s is -1"):
        frame_decoder(1, stats_interval_s=-1)
