# SPDX-License-Identifier: GPL-3.0-or-later
"""Each block in each state that a flowgraph may have: started again, locked, unable to start, idle, about to stop."""

import itertools
import threading
import time

import numpy as np
import pmt
import pytest
import zmq
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.beams.planar_array import Beam, PlanarArray
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.beam_driver import beam_driver
from gr_kaq.blocks.beam_pmt import beam_to_pmt
from gr_kaq.blocks.channel_estimator import channel_estimator
from gr_kaq.blocks.csi_recorder import csi_recorder
from gr_kaq.blocks.pdu import make_pdu
from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source
from gr_kaq.transport.transport_block import Segment, TransportBlock
from tests.blocks.flowgraphs import names_of_blocks, run_to_end, wait_until


class Feed(gr.sync_block):
    """Noise for each input of a block, as long as it is open."""

    def __init__(self, types):
        gr.sync_block.__init__(self, "feed", [], [(t.base, t.shape) if t.shape else t for t in types])
        self.rng, self.open = np.random.default_rng(1), True

    def work(self, input_items, output_items):
        time.sleep(1e-3)
        if not self.open:
            return 0
        count = min(20, len(output_items[0]))
        for items in output_items:
            items[:count] = self.rng.standard_normal(items[:count].shape)
        return count


class Sender(gr.basic_block):
    """Sends messages when it is told to."""

    def __init__(self):
        gr.basic_block.__init__(self, "sender", [], [])
        self.message_port_register_out(pmt.intern("out"))


class Peer:
    """What a ZMQ block talks to: sends, or asks and receives, for as long as it is open."""

    def __init__(self, kind):
        self.open, self._ended = True, False
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ended:
            time.sleep(1e-3)
            if self.open and self._socket.poll(10, zmq.POLLOUT):
                self._socket.send(np.ones(40, np.complex64).tobytes())

    def close(self):
        self._ended = True
        self._thread.join()
        self._context.destroy()


class Array:
    """One that does what it is told."""

    def __init__(self):
        self.array = PlanarArray(4, 4)

    def set_beam(self, beam):
        self.beam = beam


class Rig:
    """A block in a flowgraph, and what says that it is at work."""

    def __init__(self, name, tmp_path):
        (tmp_path / "file").write_bytes(bytes(100_000))
        self.peer = Peer(zmq.PUSH) if name == "zmq_sample_source" else None
        self.block = {
            "arq_receiver": lambda: gr_kaq.arq_receiver(session=9),
            "arq_sender": lambda: gr_kaq.arq_sender(2),
            "band_noise_source": lambda: gr_kaq.band_noise_source(2e6, (1e5, 2e5)),
            "beam_combiner": lambda: gr_kaq.beam_combiner((2, 2)),
            "beam_driver": lambda: beam_driver(Array()),
            "beam_search": lambda: gr_kaq.beam_search((4, 4), "exhaustive", 16),
            "beam_view": lambda: gr_kaq.beam_view((4, 4)),
            "ber_meter": lambda: gr_kaq.ber_meter(2),
            "channel_estimator": lambda: channel_estimator(2, 2),
            "channel_predictor": lambda: gr_kaq.channel_predictor(2, 2),
            "channel_simulator": lambda: gr_kaq.channel_simulator(2, 2),
            "csi_recorder": lambda: csi_recorder(2, 2),
            "data_aided_decoder": lambda: gr_kaq.data_aided_decoder(2, 2),
            "detector": lambda: gr_kaq.detector("lmmse", 2, 2, constellation="16qam"),
            "frame_decoder": lambda: gr_kaq.frame_decoder(2),
            "frame_explainer": lambda: gr_kaq.frame_explainer(2, 2),
            "frame_synchronizer": lambda: gr_kaq.frame_synchronizer(2, 2),
            "frame_transmitter": lambda: gr_kaq.frame_transmitter(2),
            "link_adapter": lambda: gr_kaq.link_adapter(2),
            "link_decoder": lambda: gr_kaq.link_decoder(2, 2),
            "pdu_file_sink": lambda: gr_kaq.pdu_file_sink(tmp_path / "received"),
            "pdu_file_source": lambda: gr_kaq.pdu_file_source(tmp_path / "file", 2),
            "qam_source": lambda: gr_kaq.qam_source(2),
            "receiver_publisher": lambda: gr_kaq.receiver_publisher(2, 2, address="tcp://127.0.0.1:*"),
            "receiver_status": lambda: gr_kaq.receiver_status(2),
            "zmq_sample_sink": lambda: zmq_sample_sink(["tcp://127.0.0.1:*"], 2, "pub"),
            "zmq_sample_source": lambda: zmq_sample_source([self.peer.address], 2),
        }[name]()
        self.tb = gr.top_block()
        inputs, outputs = list(self.block.in_sig()), list(self.block.out_sig())
        self.feed = Feed(inputs) if inputs else None
        for port in range(len(inputs)):
            self.tb.connect((self.feed, port), (self.block, port))
        for port, dtype in enumerate(outputs):
            self.tb.connect((self.block, port), blocks.null_sink(dtype.itemsize))
        self.messages = {  # one that is right on each port
            "beam": beam_to_pmt(Beam(1, 1)),
            "csi": pmt.init_c32vector(4, [1, 0, 0, 1]),
            "frames": python_to_pmt({"sample": 0, "snr": 10.0}),
            "interference": python_to_pmt({"power_db": -10.0}),
            "model": pmt.intern("zf"),
            "method": pmt.intern("ls"),
            "pdus": make_pdu(b"payload"),
            "blocks": make_pdu(TransportBlock(5, 9, 1, (Segment(0, 0, 0, b"payload", True),)).pack(99)),
            "pilots": pmt.from_long(1),  # which is refused, and counted
            "ready": pmt.from_long(1),
            "report": make_pdu(bytes(4)),
            "stats": pmt.from_long(1),  # which is refused, and counted
        }
        in_ports = pmt.to_python(self.block.message_ports_in())
        self.ports = sorted(port for port in in_ports if port in self.messages)
        self.sender = None
        if not inputs and self.ports:
            self.sender = Sender()
            self.tb.msg_connect(self.sender, "out", self.block, self.ports[0])

    def done(self):
        """Grows while the block is at work."""
        counters = self.block.stats()
        counts = ("pdus", "malformed", "blocks", "duplicate_blocks", "rejected_messages", "reports", "beams")
        messages = sum(counters.get(name, 0) for name in counts)
        if list(self.block.in_sig()):
            return self.block.nitems_read(0)
        return self.block.nitems_written(0) if list(self.block.out_sig()) else messages

    def works(self):
        before = self.done()
        if self.sender:
            self.sender.message_port_pub(pmt.intern("out"), self.messages[self.ports[0]])
        wait_until(lambda: self.done() > before)

    def end(self):
        self.tb.stop()
        waiting = threading.Thread(target=self.tb.wait, daemon=True)
        waiting.start()
        waiting.join(300)
        assert not waiting.is_alive(), "the flowgraph hangs"

    def set_open(self, is_open):
        for gate in filter(None, (self.feed, self.peer)):
            gate.open = is_open


@pytest.fixture(params=sorted(names_of_blocks()))
def rig(request, tmp_path):
    made = Rig(request.param, tmp_path)
    yield made
    if made.peer:
        made.peer.close()
    assert made.block.internal_errors() == 0


def test_started_again(rig):
    for _ in range(3):
        rig.tb.start()
        rig.works()
        rig.end()
    assert rig.block.failed_starts() == rig.block.dropped_items() == 0


def test_locked_and_unlocked(rig):
    rig.tb.start()
    for _ in range(3):
        rig.works()
        rig.tb.lock()
        rig.tb.unlock()
    rig.works()
    rig.end()
    assert rig.block.failed_starts() == 0


def test_unable_to_start(rig):
    """The flowgraph ends; it works when what was missing is there."""
    begin = rig.block.begin

    def fail():
        raise OSError("as told")

    rig.block.begin = fail
    if rig.sender:  # which nothing ends but who started it
        rig.tb.start()
        time.sleep(0.1)
        rig.end()
    else:
        run_to_end(rig.tb)
    assert rig.block.failed_starts() == 1
    rig.block.begin = begin
    rig.tb.start()
    rig.works()
    rig.end()
    assert rig.block.failed_starts() == 1


def test_messages_before_the_first_item(rig):
    """Right ones and others, before the start and before anything has come."""
    rig.set_open(False)
    for _ in range(2):
        for message in (None, pmt.PMT_NIL, pmt.intern("no such"), pmt.make_dict(), pmt.make_u8vector(1 << 20, 0)):
            for port in rig.ports:
                rig.block._post(pmt.intern(port), message)
                rig.block._post(pmt.intern(port), rig.messages[port])
        rig.tb.start()
        for port in rig.ports:
            rig.block._post(pmt.intern(port), rig.messages[port])
        rig.set_open(True)
        rig.works()
        rig.end()
        rig.set_open(False)


def test_idle_and_then_a_burst(rig):
    rig.tb.start()
    rig.works()
    for _ in range(2):
        rig.set_open(False)
        time.sleep(0.3)
        rig.set_open(True)
        rig.works()
    rig.end()


@pytest.mark.parametrize("name", ["detector", "channel_estimator", "data_aided_decoder"])
def test_swapped_while_it_stops(name, tmp_path):
    """What is called from another thread may come at any time."""
    rig, ended = Rig(name, tmp_path), False
    is_estimator = name == "channel_estimator"
    swap = rig.block.set_method if is_estimator else rig.block.set_model
    names = ["lmmse", "ls"] if is_estimator else ["lmmse", "zf"]

    def swap_all_the_time():
        while not ended:
            for each in names:
                swap(each)

    swapping = threading.Thread(target=swap_all_the_time)
    swapping.start()
    try:
        for round in range(10):
            rig.tb.start()
            if round % 2:
                rig.works()
            rig.end()
    finally:
        ended = True
        swapping.join()
    assert rig.block.internal_errors() == 0


def test_what_unlock_drops_is_counted_to_the_item():
    """Also what the block in front gave out after this one had stopped."""
    first, second = (
        gr_kaq.detector("lmmse", 1, 1, constellation="qpsk", backend=name) for name in ("native", "reference")
    )
    feed, tb = Feed(list(first.in_sig())), gr.top_block()
    tb.connect(feed, first, second, blocks.null_sink(gr.sizeof_gr_complex))
    tb.start()
    try:
        for rounds in itertools.count():
            if rounds >= 30 and second.dropped_items():
                break
            before = second.items()
            wait_until(lambda before=before: second.items() > before)
            tb.lock()
            tb.unlock()
        feed.open = False
        wait_until(lambda: first.items() == second.items() + second.dropped_items())
    finally:
        tb.stop()
        tb.wait()
