# SPDX-License-Identifier: GPL-3.0-or-later
"""Producer and Consumer against GNU Radio's own ZMQ blocks, over real sockets, and against a hostile peer."""

import contextlib
import faulthandler
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pmt
import pytest
import zmq
from gnuradio import blocks, gr, zeromq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.soak import malloc_mib
from gr_kaq.testbed import Consumer, Producer, Tag
from gr_kaq.testbed.endpoint import WatchedSocket
from gr_kaq.testbed.zmq_frames import Uint64, encode_frame, encode_pmt

NUM_RX, NUM_TX, NUM_SUBCARRIERS = 3, 2, 5
ITEM = NUM_RX * NUM_SUBCARRIERS
ANY_PORT = "tcp://127.0.0.1:*"


@pytest.fixture(autouse=True)
def a_hang_fails():
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture()
def rng():
    return np.random.default_rng(1)


def random_complex(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def wait_until(condition, timeout=300.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


@contextlib.contextmanager
def running(flowgraph):
    flowgraph.start()
    try:
        yield flowgraph
    finally:
        flowgraph.stop()
        flowgraph.wait()


class Receiver(gr.top_block):
    """ZMQ source -> one stream of vectors per antenna -> sinks."""

    def __init__(self, address, source=zeromq.pull_source):
        super().__init__()
        self.split = blocks.vector_to_streams(gr.sizeof_gr_complex * NUM_SUBCARRIERS, NUM_RX)
        self.sinks = [blocks.vector_sink_c(NUM_SUBCARRIERS) for _ in range(NUM_RX)]
        self.connect(source(gr.sizeof_gr_complex, ITEM, address, 20, True), self.split)
        for antenna, sink in enumerate(self.sinks):
            self.connect((self.split, antenna), sink)

    @property
    def num_items(self):
        return min(len(sink.data()) for sink in self.sinks) // NUM_SUBCARRIERS

    @property
    def samples(self):
        """(T, num_rx, num_subcarriers)."""
        return np.stack([np.reshape(sink.data(), (-1, NUM_SUBCARRIERS)) for sink in self.sinks], axis=1)

    def tags(self, antenna=0):
        return [(t.offset, pmt.to_python(t.key), t.value) for t in self.sinks[antenna].tags()]


def assert_estimate(value, h, noise_var, seq):
    def entry(key):
        return pmt.dict_ref(value, pmt.intern(key), pmt.PMT_NIL)

    assert pmt.is_c32vector(entry("h")) and pmt.is_uint64(entry("seq"))
    np.testing.assert_array_equal(pmt.c32vector_elements(entry("h")), h.ravel())
    assert pmt.to_python(entry("shape")) == h.shape
    assert pmt.to_python(entry("noise_var")) == noise_var
    assert pmt.to_uint64(entry("seq")) == seq


def test_producer_to_flowgraph(rng):
    lengths = [1, 7, 100]
    h = random_complex(rng, len(lengths), NUM_SUBCARRIERS, NUM_RX, NUM_TX)
    y = [random_complex(rng, length, NUM_RX, NUM_SUBCARRIERS) for length in lengths]
    with (
        Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT) as producer,
        running(Receiver(producer.address)) as receiver,
    ):
        for i in range(3):
            producer.send(y[i], h=h[i], noise_var=0.25 * i, snr_db=float(i), tags=[Tag(lengths[i] - 1, "end", None)])
        assert (producer.num_items, producer.num_estimates) == (108, 3)
        wait_until(lambda: receiver.num_items == 108)
    np.testing.assert_array_equal(receiver.samples, np.concatenate(y))
    for antenna in range(NUM_RX):
        tags = sorted(receiver.tags(antenna), key=lambda tag: tag[:2])
        starts = [0, 1, 8]
        for i, start in enumerate(starts):
            (found,) = [value for offset, key, value in tags if (offset, key) == (start, "mimo_channel")]
            assert_estimate(found, h[i], 0.25 * i, i)
        assert [(t, pmt.to_python(v)) for t, key, v in tags if key == "snr"] == [(0, 0.0), (1, 1.0), (8, 2.0)]
        assert [t for t, key, _ in tags if key == "end"] == [0, 7, 107]


def test_publisher_to_flowgraph(rng):
    sent = []
    with (
        Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT, pattern="pub") as producer,
        running(Receiver(producer.address, zeromq.sub_source)) as receiver,
    ):

        def send_until_it_arrives():
            sent.append(random_complex(rng, 2, NUM_RX, NUM_SUBCARRIERS))
            producer.send(sent[-1], snr_db=float(len(sent) - 1))
            return receiver.num_items >= 20

        wait_until(send_until_it_arrives)
    # a publisher's first frames find nobody; the flowgraph counts from the first that arrives
    lost = len(sent) - receiver.num_items // 2
    num_frames = receiver.num_items // 2
    first = round(pmt.to_python(receiver.tags()[0][2]))
    assert 0 <= first <= lost
    # a flowgraph that is stopped while frames still come may hold one more of them on some of the antennas
    for antenna, sink in enumerate(receiver.sinks):
        samples = np.reshape(sink.data(), (-1, NUM_SUBCARRIERS))[: 2 * num_frames]
        np.testing.assert_array_equal(samples, np.concatenate(sent[first : first + num_frames])[:, antenna])
    assert [(t, round(pmt.to_python(v))) for t, _, v in receiver.tags()][:num_frames] == [
        (2 * i, first + i) for i in range(num_frames)
    ]


def test_a_producer_that_stops_and_comes_back(rng):
    y = random_complex(rng, 3, 4, NUM_RX, NUM_SUBCARRIERS)
    h = random_complex(rng, 3, NUM_SUBCARRIERS, NUM_RX, NUM_TX)
    producer = Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT)
    with running(Receiver(producer.address)) as receiver:
        for run in range(3):
            producer.send(y[run], h=h[run], noise_var=1.0, seq=run)
            producer.close()
            wait_until(lambda n=4 * (run + 1): receiver.num_items == n)
            producer = Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=producer.address)
        producer.close()
    np.testing.assert_array_equal(receiver.samples, y.reshape(-1, NUM_RX, NUM_SUBCARRIERS))
    assert [tag[0] for tag in receiver.tags()] == [0, 4, 8]  # although each producer counted from 0
    for run, (_, _, value) in enumerate(receiver.tags()):
        assert_estimate(value, h[run], 1.0, run)


def test_closing_waits_for_the_last_frames(rng):
    y = random_complex(rng, 12, 1, NUM_RX, NUM_SUBCARRIERS)
    producer = Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT, high_water_mark=1)
    with running(Receiver(producer.address)) as receiver:
        for frame in y:
            producer.send(frame)
        producer.close()
        wait_until(lambda: receiver.num_items == 12)


def tagged_source(rng, num_items, num_streams=NUM_TX):
    """Streams of vectors with tags on the first: blocks to keep, items (T, num_streams, num_subcarriers), tags."""
    items = random_complex(rng, num_items, num_streams, NUM_SUBCARRIERS)
    h = random_complex(rng, NUM_SUBCARRIERS, NUM_RX, NUM_TX)
    expected = [
        Tag(0, "mimo_channel", {"h": h.ravel(), "shape": h.shape, "noise_var": 0.5, "seq": Uint64(9)}, "radio"),
        Tag(0, "snr", 20.5),
        Tag(num_items // 2, "snr", -3.0),
        Tag(num_items - 1, "rx_time", (Uint64(5), 0.25)),
    ]
    tags = []
    for tag in expected:
        value = pmt.deserialize_str(encode_pmt(tag.value))
        source = pmt.to_pmt(tag.source)
        tags.append(gr.tag_utils.python_to_tag((tag.offset, pmt.intern(tag.key), value, source)))
    sources = [
        blocks.vector_source_c(items[:, i].ravel().tolist(), False, NUM_SUBCARRIERS, tags if i == 0 else [])
        for i in range(num_streams)
    ]
    return sources, items, expected


def sending(sources, sink):
    flowgraph = gr.top_block()
    join = blocks.streams_to_vector(gr.sizeof_gr_complex * NUM_SUBCARRIERS, len(sources))
    for i, source in enumerate(sources):
        flowgraph.connect(source, (join, i))
    flowgraph.connect(join, sink)
    return running(flowgraph)


def receive_all(consumer, num_items):
    frames = []
    while sum(len(frame.items) for frame in frames) < num_items:
        frames.append(consumer.receive())
    return frames


def assert_tags(found, expected):
    def plain(tag):
        value = (
            {k: v.tolist() if k == "h" else v for k, v in tag.value.items()} if tag.key == "mimo_channel" else tag.value
        )
        return tag._replace(value=value)

    assert sorted(map(repr, map(plain, found))) == sorted(map(repr, map(plain, expected)))


def test_flowgraph_to_consumer(rng):
    sources, items, tags = tagged_source(rng, 5000)
    sink = zeromq.push_sink(gr.sizeof_gr_complex, NUM_TX * NUM_SUBCARRIERS, ANY_PORT, 100, True)
    with Consumer(NUM_TX, NUM_SUBCARRIERS, address=sink.last_endpoint()) as consumer, sending(sources, sink):
        frames = receive_all(consumer, 5000)
    np.testing.assert_array_equal(np.concatenate([frame.items for frame in frames]), items)
    assert [frame.offset for frame in frames] == np.cumsum([0] + [len(frame.items) for frame in frames[:-1]]).tolist()
    assert_tags([tag for frame in frames for tag in frame.tags], tags)
    assert consumer.num_rejected == 0


def test_flowgraph_to_subscriber_without_tags(rng):
    sources, items, _ = tagged_source(rng, 100)
    sink = zeromq.pub_sink(gr.sizeof_gr_complex, NUM_TX * NUM_SUBCARRIERS, ANY_PORT, 100, False)
    with Consumer(NUM_TX, NUM_SUBCARRIERS, address=sink.last_endpoint(), pattern="sub", pass_tags=False) as consumer:
        time.sleep(0.3)  # a publisher does not wait for its subscribers
        with sending(sources, sink):
            frames = receive_all(consumer, 100)
    np.testing.assert_array_equal(np.concatenate([frame.items for frame in frames]), items)
    assert all(frame.offset is None and frame.tags == [] for frame in frames)


def test_bytes_equal_gnu_radios(rng):
    sources, items, tags = tagged_source(rng, 10)
    sink = zeromq.push_sink(gr.sizeof_gr_complex, NUM_TX * NUM_SUBCARRIERS, ANY_PORT, 100, True)
    with zmq.Context() as context, context.socket(zmq.PULL) as raw:
        raw.setsockopt(zmq.RCVTIMEO, 10_000)
        raw.connect(sink.last_endpoint())
        with sending(sources, sink):
            frame = raw.recv()
    assert frame == encode_frame(items.tobytes(), 0, tags)


def valid_frame(num_items=2):
    return encode_frame(np.zeros((num_items, NUM_TX, NUM_SUBCARRIERS), np.complex64).tobytes(), 0, [Tag(1, "snr", 1.0)])


@pytest.fixture()
def hostile():
    """A raw socket, and the consumer that listens to it."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        peer.setsockopt(zmq.SNDTIMEO, 10_000)
        port = peer.bind_to_random_port("tcp://127.0.0.1")
        with Consumer(NUM_TX, NUM_SUBCARRIERS, address=f"tcp://127.0.0.1:{port}") as consumer:
            yield peer, consumer


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([b""], "cut short: the header"),
        ([valid_frame()[:-1]], "79 bytes of samples are no multiple of an item's 80|159 bytes"),
        ([valid_frame()[:30]], "cut short"),
        ([b"\0" * 80], "header with 0x5ff0"),
        ([valid_frame(1)], "outside of the frame"),
        ([valid_frame(), valid_frame()], "2 parts"),
    ],
)
def test_damaged_frames_are_counted_and_skipped(hostile, frame, message):
    peer, consumer = hostile
    peer.send_multipart(frame)
    with pytest.raises(TimeoutError, match="1 damaged frames were skipped, the last: ") as error:
        consumer.receive(timeout=0.3)
    assert consumer.num_rejected == 1
    assert any(part in str(error.value) and part in consumer.last_error for part in message.split("|"))
    peer.send(valid_frame())
    assert consumer.receive().tags == [Tag(1, "snr", 1.0)]


@st.composite
def anything(draw):
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    frame = bytearray(valid_frame())
    position = draw(st.integers(0, len(frame) - 1))
    frame[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(frames=st.lists(anything(), max_size=5))
def test_whatever_arrives_the_next_frame_is_received(hostile, frames):
    peer, consumer = hostile
    for frame in frames:
        peer.send(frame)
    peer.send(encode_frame(b"", 12345))
    rejected = consumer.num_rejected
    received = [consumer.receive()]
    while len(received) + consumer.num_rejected - rejected <= len(frames):
        received.append(consumer.receive())
    assert received[-1].offset == 12345


def test_too_long_a_frame_ends_the_connection_but_not_the_consumer(hostile):
    peer, consumer = hostile
    for _ in range(3):
        peer.send(valid_frame())
        assert len(consumer.receive().items) == 2
        peer.send(bytes(1 << 25))
        with pytest.raises(TimeoutError):
            consumer.receive(timeout=0.3)


def test_what_arrived_before_the_connection_was_lost_is_received(hostile):
    peer, consumer = hostile
    for _ in range(3):
        for _ in range(20):
            peer.send(valid_frame())
        peer.send(bytes(1 << 25))
        time.sleep(0.2)
        for _ in range(20):
            assert len(consumer.receive().items) == 2
        with pytest.raises(TimeoutError):
            consumer.receive(timeout=0.1)


def test_a_peer_that_comes_back_costs_no_frame():
    with Producer(NUM_TX, 1, NUM_SUBCARRIERS, address=ANY_PORT) as producer:
        address = producer.address
    with Consumer(NUM_TX, NUM_SUBCARRIERS, address=address) as consumer:
        for _ in range(5):
            with Producer(NUM_TX, 1, NUM_SUBCARRIERS, address=address) as producer:
                for _ in range(3):
                    producer.send(np.zeros((2, NUM_TX, NUM_SUBCARRIERS), np.complex64))
                time.sleep(0.05)
            for _ in range(3):
                assert len(consumer.receive().items) == 2


def test_a_peer_that_speaks_no_zmq():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        with Consumer(NUM_TX, NUM_SUBCARRIERS, address=f"tcp://127.0.0.1:{port}") as consumer:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"\xff" + bytes(8) + b"\x7f\3" + bytes(range(200)))
            with pytest.raises(TimeoutError):
                consumer.receive(timeout=0.3)
            server.close()
            with Producer(NUM_TX, 1, NUM_SUBCARRIERS, address=consumer.address) as producer:
                producer.send(np.zeros((2, NUM_TX, NUM_SUBCARRIERS), np.complex64))
                assert len(consumer.receive().items) == 2


def test_a_flood_of_damaged_frames_does_not_outlast_the_timeout(hostile):
    peer, consumer = hostile
    peer.send(b"flood")
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            with contextlib.suppress(zmq.Again):
                peer.send(b"flood", zmq.NOBLOCK)

    thread = threading.Thread(target=flood)
    thread.start()
    start = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match="damaged frames"):
            consumer.receive(timeout=0.3)
    finally:
        stop.set()
        thread.join()
    assert time.monotonic() - start < 3


def test_timeouts_say_where():
    with Producer(1, 1, address=ANY_PORT, timeout=0.05) as producer:
        with pytest.raises(TimeoutError, match=f"no receiver at {producer.address} took a frame within 0.05 s"):
            producer.send(np.ones((1, 1), np.complex64))
        assert producer.num_items == 0
        with Consumer(1, address=producer.address, timeout=0.05) as consumer:
            with pytest.raises(TimeoutError, match=f"no frame from {producer.address} within 0.05 s"):
                consumer.receive()
            with pytest.raises(TimeoutError):
                consumer.receive(timeout=0)


def test_the_high_water_mark_bounds_what_waits():
    y = np.ones((1 << 16, 1), np.complex64)
    with Producer(1, 1, address=ANY_PORT, high_water_mark=2, timeout=0.2) as producer:
        with Consumer(1, address=producer.address, high_water_mark=2), pytest.raises(TimeoutError):
            for _ in range(200):
                producer.send(y)
        assert producer.num_items < 200 * len(y)


H = np.ones((NUM_SUBCARRIERS, NUM_RX, NUM_TX), np.complex64)
Y = np.ones((2, NUM_RX, NUM_SUBCARRIERS), np.complex64)


@pytest.mark.parametrize(
    ("samples", "arguments", "message"),
    [
        (Y[:, :, :4], {}, r"samples have shape \(2, 3, 4\); \(T, 3, 5\) expected"),
        (Y[0], {}, "samples have shape"),
        (Y[:0], {}, "samples have shape"),
        (Y.real, {}, "samples are float32; complex expected"),
        (Y, {"h": H[:4]}, r"h has shape \(4, 3, 2\); \(5, 3, 2\)"),
        (Y, {"h": H[0]}, "h has shape"),
        (Y, {"h": H.real}, "h is float32; complex expected"),
        (Y, {"h": H * np.nan}, "h holds NaN or Inf"),
        (Y, {"h": H.astype(np.complex128) * 1e300}, "h holds NaN or Inf"),
        (Y, {"h": H, "noise_var": -1.0}, "noise variance of -1"),
        (Y, {"h": H, "noise_var": np.inf}, "noise variance of inf"),
        (Y, {"h": H, "seq": -1}, "64 bits"),
        (Y, {"noise_var": 1.0}, "belong to h"),
        (Y, {"noise_cov": np.eye(Y.shape[1])}, "belong to h"),
        (Y, {"h": H, "noise_var": np.ones(99)}, "noise_var has shape"),
        (Y, {"h": H, "noise_cov": -np.eye(Y.shape[1])}, "not positive definite"),
        (Y, {"h": H, "noise_cov": np.eye(Y.shape[1] + 1)}, "noise_cov has shape"),
        (Y, {"seq": 1}, "belong to h"),
        (Y, {"snr_db": 1000}, "SNR of 1000 dB"),
        (Y, {"snr_db": np.nan}, "SNR of nan dB"),
        (Y, {"tags": [Tag(2, "a", None)]}, "offset 2; a string and an item of the frame expected"),
        (Y, {"tags": [Tag(-1, "a", None)]}, "offset -1"),
        (Y, {"tags": [Tag(0, 5, None)]}, "key 5"),
        (Y, {"tags": [Tag(0, "a", object())]}, "object has no PMT"),
    ],
)
def test_bad_frames_are_not_sent(samples, arguments, message):
    with Producer(NUM_RX, NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT, timeout=0.05) as producer:
        with pytest.raises(ValueError, match=message):
            producer.send(samples, **arguments)
        assert (producer.num_items, producer.num_estimates) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_rx": 0}, "num_rx=0; a whole number"),
        ({"num_tx": 1.5}, "num_tx=1.5"),
        ({"num_subcarriers": -1}, "num_subcarriers=-1"),
        ({"pattern": "pull"}, "pattern='pull'; one of push, pub expected"),
        ({"high_water_mark": 0}, "high_water_mark=0"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"address": "nowhere"}, "cannot bind to 'nowhere'"),
    ],
)
def test_bad_arguments_of_the_producer(arguments, message):
    with pytest.raises(ValueError, match=message):
        Producer(**{"num_rx": 1, "num_tx": 1, "address": ANY_PORT, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_streams": 0}, "num_streams=0"),
        ({"num_subcarriers": True}, "num_subcarriers=True"),
        ({"pattern": "push"}, "pattern='push'; one of pull, sub expected"),
        ({"max_frame_bytes": 0}, "max_frame_bytes=0"),
        ({"address": "tcp://"}, "cannot connect to 'tcp://'"),
    ],
)
def test_bad_arguments_of_the_consumer(arguments, message):
    with pytest.raises(ValueError, match=message):
        Consumer(**{"num_streams": 1, **arguments})


def test_an_address_in_use():
    with Producer(1, 1, address=ANY_PORT, timeout=0.1) as producer, pytest.raises(OSError, match="in use"):
        Producer(1, 1, address=producer.address)


def test_a_consumer_may_bind():
    with Consumer(NUM_TX, NUM_SUBCARRIERS, address=ANY_PORT, bind=True) as consumer, zmq.Context() as context:
        for _ in range(2):
            with context.socket(zmq.PUSH) as peer:
                peer.connect(consumer.address)
                peer.send(valid_frame())
                assert len(consumer.receive().items) == 2


def test_one_subcarrier_needs_no_axis():
    with Producer(2, 1, address=ANY_PORT) as producer, Consumer(2, address=producer.address) as consumer:
        producer.send(np.array([[1, 2j]]), h=np.ones((2, 1), np.complex128), noise_var=0.1)
        received = consumer.receive()
    np.testing.assert_array_equal(received.items, np.array([[[1], [2j]]], np.complex64))
    assert received.tags[0].value["shape"] == (1, 2, 1)


def test_runs_without_gnu_radio():
    program = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("gnuradio", "pmt", "torch"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
import numpy as np
from gr_kaq.testbed import Consumer, Producer
with Producer(1, 1, address="tcp://127.0.0.1:*") as producer, Consumer(1, address=producer.address) as consumer:
    producer.send(np.ones((1, 1), complex), h=np.ones((1, 1), complex), noise_var=1.0)
    assert consumer.receive().items.shape == (1, 1, 1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_a_peer_that_is_away_does_not_stop_the_other_sockets():
    """ZMQ tells of each attempt to connect; its thread must not wait until somebody reads that."""
    timeout_ms = 5000
    context = zmq.Context.instance()
    waiting = context.socket(zmq.PULL)
    waiting.setsockopt(zmq.RECONNECT_IVL, 1)  # ms: what takes minutes otherwise
    watched = WatchedSocket(waiting)
    with context.socket(zmq.PUSH) as gone:
        port = gone.bind_to_random_port("tcp://127.0.0.1")
    waiting.connect(f"tcp://127.0.0.1:{port}")
    time.sleep(3)
    with context.socket(zmq.PUSH) as sender, context.socket(zmq.PULL) as receiver:
        port = sender.bind_to_random_port("tcp://127.0.0.1")
        sender.setsockopt(zmq.SNDTIMEO, timeout_ms)
        receiver.setsockopt(zmq.RCVTIMEO, timeout_ms)
        receiver.connect(f"tcp://127.0.0.1:{port}")
        sender.send(b"sample")
        assert receiver.recv() == b"sample"
    watched.close()
    assert waiting.closed


def test_a_peer_that_is_away_fills_no_memory():
    """What ZMQ tells of it is taken, also while nobody asks. Ten attempts a second were 5 MB an hour."""
    with Consumer(1, address=ANY_PORT, bind=True) as gone:
        address = gone.address
    context = zmq.Context()
    waiting = context.socket(zmq.PULL)
    waiting.setsockopt(zmq.RECONNECT_IVL, 1)  # ms
    watched = WatchedSocket(waiting)
    waiting.connect(address)
    time.sleep(0.5)
    before, _ = malloc_mib()
    time.sleep(2.5)  # a thousand attempts and more
    grown = malloc_mib()[0] - before
    watched.close()
    context.destroy()
    assert grown < 0.05


@pytest.mark.parametrize("peers", [1, 300])
def test_connections_that_end_while_nobody_asks(peers):
    """They are counted, and the last one is made again."""
    context = zmq.Context()
    receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    receiver.setsockopt(zmq.RECONNECT_IVL, 1)
    watched = WatchedSocket(receiver)
    address = f"tcp://127.0.0.1:{sender.bind_to_random_port('tcp://127.0.0.1')}"
    receiver.connect(address)
    for _ in range(peers):
        sender.send(b"sample")
        assert receiver.recv() == b"sample"
        sender.close()
        sender = context.socket(zmq.PUSH)
        wait_until(lambda sender=sender: bound(sender, address))
    ended = 0

    def all_ended():
        nonlocal ended
        more, lost = watched.watch()
        ended += more
        return ended == peers and not lost

    wait_until(all_ended)
    assert watched.watch() == (0, False)
    sender.send(b"sample")
    assert receiver.recv() == b"sample"
    watched.close()
    context.destroy()


def bound(sender, address):
    with contextlib.suppress(zmq.ZMQError):  # the port of one that has just closed
        sender.bind(address)
        return True
    return False


def test_sockets_that_are_forgotten_do_not_stop_the_others():
    """In a process of its own: what hangs there would hang all ZMQ here. The attempts to connect go on all the time."""
    program = """
import gc, random, time
import zmq
from gr_kaq.testbed.endpoint import WatchedSocket

context = zmq.Context.instance()
with context.socket(zmq.PUSH) as gone:
    port = gone.bind_to_random_port("tcp://127.0.0.1")
for _ in range(300):
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.RECONNECT_IVL, 1)
    watched = WatchedSocket(socket)
    socket.connect(f"tcp://127.0.0.1:{port}")
    time.sleep(random.uniform(0.001, 0.004))
    del socket, watched
    gc.collect()
with context.socket(zmq.PUSH) as sender, context.socket(zmq.PULL) as receiver:
    port = sender.bind_to_random_port("tcp://127.0.0.1")
    receiver.setsockopt(zmq.RCVTIMEO, 5000)
    receiver.connect(f"tcp://127.0.0.1:{port}")
    sender.send(b"sample")
    assert receiver.recv() == b"sample"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
