# SPDX-License-Identifier: GPL-3.0-or-later
"""The ZMQ blocks and their peers: which die, send too much, or hold what the block wants."""

import contextlib
import socket
import time

import numpy as np
import pytest
import zmq
from gnuradio import blocks, gr

from benchmarks.killed_peers import RECEIVERS, SENDERS, kill
from gr_kaq.blocks.qam_source import qam_source
from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source
from gr_kaq.testbed.endpoint import MAX_REQUEST_BYTES
from gr_kaq.testbed.zmq_frames import Tag, encode_frame
from tests.blocks.flowgraphs import run_to_end, wait_until


@contextlib.contextmanager
def peer(kind, high_water_mark=1000):
    """A socket at a free address."""
    with zmq.Context() as context, context.socket(kind) as bound:
        bound.setsockopt(zmq.LINGER, 0)
        bound.setsockopt(zmq.SNDHWM, high_water_mark)
        bound.setsockopt(zmq.SNDTIMEO, 20_000)
        bound.setsockopt(zmq.RCVTIMEO, 20_000)
        port = bound.bind_to_random_port("tcp://127.0.0.1")
        yield bound, f"tcp://127.0.0.1:{port}"


@contextlib.contextmanager
def receiving(source):
    """What has come out of a source."""
    tb, sink = gr.top_block(), blocks.vector_sink_c()
    tb.connect(source, sink)
    tb.start()
    yield lambda: np.array(sink.data(), np.complex64)
    tb.stop()
    tb.wait()


def numbered(first, count):
    return np.arange(first, first + count, dtype=np.complex64)


@pytest.mark.parametrize("kind", [*SENDERS, *RECEIVERS])
def test_a_peer_may_be_killed_at_any_time(kind):
    """By SIGKILL, also between request and answer. What arrived is delivered once and in order, and the next one is
    served."""
    outcome = kill(kind, 5)
    assert outcome.sound and outcome.kills == 5, outcome


@pytest.mark.parametrize("pattern", ["pull", "sub", "req"])
def test_too_long_a_message_ends_the_connection_and_no_more(pattern):
    """Memory is what it would take otherwise: 40 messages of 50 MB."""
    kinds = {"pull": zmq.PUSH, "sub": zmq.PUB, "req": zmq.REP}
    with peer(kinds[pattern]) as (sender, address):
        source = zmq_sample_source([address], 1, pattern, max_message_bytes=1000)

        def send(message):
            if pattern == "req":
                sender.recv()
            sender.send(message)

        with receiving(source) as received:
            if pattern == "sub":
                time.sleep(0.3)  # a PUB socket drops what nobody has subscribed to
            for turn in range(1, 4):
                send(numbered(100 * turn, 100).tobytes())
                wait_until(lambda turn=turn: len(received()) == 100 * turn)
                send(bytes(1001))
                wait_until(lambda turn=turn: source.lost_connections() == turn)
                if pattern == "sub":
                    time.sleep(0.3)
            send(numbered(400, 100).tobytes())
            wait_until(lambda: len(received()) == 400)
        np.testing.assert_array_equal(received(), numbered(100, 400))
    assert source.bad_messages() == source.internal_errors() == 0


@pytest.mark.parametrize(("pattern", "kind"), [("rep", zmq.REQ), ("pub", zmq.XSUB)])
def test_who_takes_samples_may_not_send_much(pattern, kind):
    """Requests and subscriptions were of any length: 40 of 50 MB filled the memory."""
    sink = zmq_sample_sink(["tcp://127.0.0.1:*"], 1, pattern)
    address = sink._sockets[0].getsockopt_string(zmq.LAST_ENDPOINT)
    tb = gr.top_block()
    tb.connect(qam_source(1), sink)
    tb.start()
    with zmq.Context() as context, context.socket(kind) as hostile, context.socket(zmq.PAIR) as monitor:
        hostile.setsockopt(zmq.LINGER, 0)
        hostile.monitor("inproc://hostile", zmq.EVENT_DISCONNECTED)
        monitor.connect("inproc://hostile")
        hostile.connect(address)
        hostile.send(b"\1" + bytes(MAX_REQUEST_BYTES))
        assert monitor.poll(20_000), "the connection goes on"
        hostile.disable_monitor()
    kinds = {"rep": zmq.REQ, "pub": zmq.SUB}
    with zmq.Context() as context, context.socket(kinds[pattern]) as taker:
        taker.setsockopt(zmq.LINGER, 0)
        taker.setsockopt(zmq.RCVTIMEO, 20_000)
        taker.connect(address)
        if pattern == "pub":
            taker.setsockopt(zmq.SUBSCRIBE, b"")
        if pattern == "rep":
            taker.send(b"\xff")
        assert len(taker.recv()) % 8 == 0
    tb.stop()
    tb.wait()
    assert sink.internal_errors() == 0


@pytest.mark.parametrize("num_tags", [0, 3])
def test_a_sink_that_passes_tags_is_told_from_samples(num_tags):
    """The header of GNU Radio's sinks may have the length of whole samples, and would be samples of 1e34 then."""
    tags = [Tag(0, "key", "x" * length) for length in range(num_tags)]
    with peer(zmq.PUSH) as (sender, address):
        source = zmq_sample_source([address], 1)
        with receiving(source) as received:
            for length in range(8):
                sender.send(encode_frame(numbered(0, 100).tobytes() + bytes(length), 0, tags))
            sender.send(numbered(0, 100).tobytes())
            wait_until(lambda: len(received()))
        np.testing.assert_array_equal(received(), numbered(0, 100))
    assert (source.bad_messages(), source.internal_errors()) == (8, 0)


def test_what_waits_is_bounded():
    """A flowgraph that does not take samples makes the sender wait, and not the memory grow."""
    message = bytes(1 << 20)
    with peer(zmq.PUSH, high_water_mark=1) as (sender, address):
        source = zmq_sample_source([address], 1, high_water_mark=4)  # it has connected, and is not started
        sent = 0
        sender.setsockopt(zmq.SNDTIMEO, 500)
        with contextlib.suppress(zmq.Again):
            while sent < 100:
                sender.send(message)
                sent += 1
        assert 4 <= sent < 50  # some are in the kernel's buffers
        sender.setsockopt(zmq.SNDTIMEO, 20_000)
        with receiving(source):
            for _ in range(50):
                sender.send(message)


@pytest.mark.parametrize(
    "arguments",
    [{"max_message_bytes": 0}, {"max_message_bytes": 1.5}, {"high_water_mark": 0}, {"high_water_mark": None}],
)
def test_limits_are_checked(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        zmq_sample_source(["tcp://127.0.0.1:1"], 1, **arguments)


def test_what_waits_survives_a_lock():
    """The sockets stay open when the flowgraph goes on at once; what waited in them comes next."""
    with peer(zmq.PUSH) as (sender, address):
        source = zmq_sample_source([address], 1)
        tb, sink = gr.top_block(), blocks.vector_sink_c()
        tb.connect(source, sink)
        tb.start()
        sender.send(numbered(0, 100).tobytes())
        wait_until(lambda: len(sink.data()) == 100)
        tb.lock()
        time.sleep(0.2)
        for first in range(100, 1000, 100):
            sender.send(numbered(first, 100).tobytes())
        tb.unlock()
        wait_until(lambda: len(sink.data()) == 1000)
        tb.stop()
        tb.wait()
    np.testing.assert_array_equal(sink.data(), numbered(0, 1000))
    assert source.lost_connections() == 0


def test_a_stopped_source_lets_its_peer_go():
    """Soon, or it would take messages that are for somebody else."""
    with peer(zmq.PUSH) as (sender, address), receiving(zmq_sample_source([address], 1)):
        assert sender.poll(20_000, zmq.POLLOUT)
    with peer(zmq.PUSH) as (sender, address):
        with receiving(zmq_sample_source([address], 1)):
            assert sender.poll(20_000, zmq.POLLOUT)
        wait_until(lambda: not sender.poll(0, zmq.POLLOUT))


def test_a_port_that_was_taken_meanwhile():
    """The flowgraph ends instead of hanging, and starts again once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sink = zmq_sample_sink([f"tcp://127.0.0.1:{port}"], 1, "pub")
    tb = gr.top_block()
    tb.connect(qam_source(1, num_items=1000), sink)
    run_to_end(tb)
    with socket.create_server(("127.0.0.1", port)):
        run_to_end(tb)
        assert (sink.failed_starts(), sink.internal_errors()) == (1, 0)
    run_to_end(tb)
    assert (sink.failed_starts(), sink.internal_errors()) == (1, 0)
