# SPDX-License-Identifier: GPL-3.0-or-later
"""ARQ in flowgraphs: over the air and back, and whatever else arrives at both ends."""

import threading
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.header_pmt import header_from_pmt, header_to_pmt
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader
from gr_kaq.frames.modulation_coding import transport_block_bytes
from tests.blocks.flowgraphs import wait_until


class Tap(gr.basic_block):
    """Keeps the messages that arrive, and sends those of a test."""

    def __init__(self, out=(), lose=None):
        gr.basic_block.__init__(self, "tap", [], [])
        self.messages, self._lose = [], lose
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.handle)
        self.message_port_register_out(pmt.intern("out"))

    def handle(self, message):
        self.messages.append(message)
        if self._lose is not None and not self._lose():
            self.message_port_pub(pmt.intern("out"), message)

    def send(self, message):
        self.message_port_pub(pmt.intern("out"), message)

    def payloads(self):
        return [pdu_bytes(message) for message in list(self.messages) if not pmt.is_eof_object(message)]


class running:
    """A flowgraph for the length of a test."""

    def __init__(self, tb):
        self.tb = tb

    def __enter__(self):
        self.tb.start()
        return self.tb

    def __exit__(self, *exception):
        self.tb.stop()
        waiting = threading.Thread(target=self.tb.wait, daemon=True)
        waiting.start()
        waiting.join(300)
        assert not waiting.is_alive(), "the flowgraph hangs"


def test_file_over_the_air(tmp_path):
    """TDL-A at 20 Hz and 14 dB, 5 % of the acknowledgements lost: a file that is sent once arrives."""
    (tmp_path / "sent").write_bytes(np.random.default_rng(1).bytes(50_000))
    rng = np.random.default_rng(2)
    tb = gr.top_block()
    source = gr_kaq.pdu_file_source(tmp_path / "sent", 2, repeats=1)
    sender, receiver = gr_kaq.arq_sender(2, 64, "16qam"), gr_kaq.arq_receiver()
    transmitter = gr_kaq.frame_transmitter(2, 64, "16qam", idle="zeros")
    channel = gr_kaq.channel_simulator(2, 2, channel="tdl-a", doppler=20.0, snr_db=14.0, seed=3)
    radio = gr_kaq.mimo_receiver(2, 2)
    sink = gr_kaq.pdu_file_sink(tmp_path / "received")
    acks = Tap(lose=lambda: rng.random() < 0.05)
    for port in range(2):
        tb.connect((transmitter, port), (channel, port), (radio, port))
        tb.connect((radio, port), blocks.null_sink(8 * radio.frame_format.data_per_stream))
    for message in [
        (sender, "ready", source, "ready"),
        (source, "pdus", sender, "pdus"),
        (sender, "blocks", transmitter, "pdus"),
        (transmitter, "ready", sender, "ready"),
        (radio, "pdus", receiver, "blocks"),
        (receiver, "acks", acks, "in"),
        (acks, "out", sender, "acks"),
        (receiver, "pdus", sink, "pdus"),
    ]:
        tb.msg_connect(*message)
    with running(tb):
        wait_until(sink.complete)
        wait_until(lambda: sender.queued_pdus() == 0)
    assert (tmp_path / "received").read_bytes() == (tmp_path / "sent").read_bytes()
    assert sink.duplicates() == 0 and sink.early() == 0
    assert radio.decoder.block_errors() > 0 and sender.abandoned_blocks() > 0
    assert sender.internal_errors() == receiver.internal_errors() == 0


class Loop:
    """A sender and a receiver, and taps between them: nothing passes but what a test lets through."""

    def __init__(self, **arguments):
        self.sender, self.receiver = gr_kaq.arq_sender(2, **arguments), gr_kaq.arq_receiver(session=9)
        self.pdus, self.ready, self.acks, self.mcs, self.to_receiver = (Tap() for _ in range(5))
        self.blocks, self.outcomes, self.answers, self.delivered, self.report = (Tap() for _ in range(5))
        self.tb = gr.top_block()
        for tap, port in ((self.pdus, "pdus"), (self.ready, "ready"), (self.acks, "acks"), (self.mcs, "mcs")):
            self.tb.msg_connect(tap, "out", self.sender, port)
        self.tb.msg_connect(self.to_receiver, "out", self.receiver, "blocks")
        for tap, block, port in (
            (self.blocks, self.sender, "blocks"),
            (self.outcomes, self.sender, "outcomes"),
            (self.report, self.sender, "report"),
            (self.answers, self.receiver, "acks"),
            (self.delivered, self.receiver, "pdus"),
        ):
            self.tb.msg_connect(block, port, tap, "in")

    def __enter__(self):
        self.running = running(self.tb)
        self.running.__enter__()
        return self

    def __exit__(self, *exception):
        self.running.__exit__(*exception)
        assert self.sender.internal_errors() == self.receiver.internal_errors() == 0

    def pass_block(self, data=True):
        """Let the next block through, and its acknowledgement back; the block's header."""
        wait_until(lambda: self.blocks.messages)
        message = self.blocks.messages.pop(0)
        self.to_receiver.send(message if data else make_pdu(b"", pmt.car(message)))
        wait_until(lambda: self.answers.messages)
        self.acks.send(self.answers.messages.pop(0))
        return header_from_pmt(pmt.car(message)), pdu_bytes(message)

    def meet(self):
        """Have the sender know the receiver."""
        self.ready.send(pmt.from_long(4000))
        self.pass_block()
        wait_until(lambda: self.sender.receivers() == 1)


def test_redundancy_versions_and_outcomes():
    """Two failures of which only the headers are read, then the block; what the adapter is told of them."""
    with Loop(mcs=2, rank=1, traffic_class=1) as loop:
        loop.pdus.send(make_pdu(b"payload"))
        loop.meet()
        headers = [loop.pass_block(data)[0] for data in (False, False, True)]
        wait_until(lambda: len(loop.outcomes.messages) == 3)
        wait_until(lambda: loop.delivered.payloads() == [b"payload"])
        assert pmt.to_python(pmt.car(loop.delivered.messages[0])) == {"class": 1}
    assert [header.redundancy_version for header in headers] == [0, 1, 2]
    assert {(header.mcs, header.rank, header.traffic_class) for header in headers} == {(2, 1, 1)}
    assert len({(header.process, header.new_data, header.sequence) for header in headers}) == 1
    told = [pmt.to_python(message) for message in loop.outcomes.messages]
    assert [(one["attempt"], one["acknowledged"], one["redundancy_version"]) for one in told] == [
        (1, 0, 0),
        (2, 0, 1),
        (3, 1, 2),
    ]


def test_blocks_follow_mcs_and_rank():
    with Loop() as loop:
        loop.pdus.send(make_pdu(bytes(4000)))
        loop.meet()
        frame = FrameFormat(2)
        for mcs, rank in ((5, 1), (9, 2)):
            loop.mcs.send(python_to_pmt({"mcs": mcs, "rank": rank}))
            time.sleep(0.1)
            while loop.blocks.messages:
                loop.pass_block()
            loop.pdus.send(make_pdu(bytes(4000)))
            header, block = loop.pass_block()
            assert (header.mcs, header.rank) == (mcs, rank)
            assert len(block) == transport_block_bytes(frame, mcs, rank)


def test_deadline_and_class_of_a_pdu():
    """A PDU whose time has passed is not sent; the more urgent one goes first, whenever it came."""
    with Loop() as loop:
        loop.pdus.send(make_pdu(b"too late", python_to_pmt({"class": 0, "deadline": 0.05})))
        loop.pdus.send(make_pdu(b"second", python_to_pmt({"class": 2})))
        loop.pdus.send(make_pdu(b"first", python_to_pmt({"class": 1, "deadline": 100.0})))
        wait_until(lambda: loop.sender.pdus() == 3)
        wait_until(lambda: loop.sender.expired_pdus() == 1)
        loop.meet()
        loop.pass_block()
        wait_until(lambda: len(loop.delivered.messages) == 2)
        assert loop.delivered.payloads() == [b"first", b"second"]


def test_end_of_the_stream():
    """It is passed on when everything is there."""
    with Loop() as loop:
        loop.pdus.send(make_pdu(b"payload"))
        loop.pdus.send(pmt.PMT_EOF)
        loop.meet()
        loop.pass_block()
        wait_until(lambda: loop.blocks.messages)
        assert pmt.is_eof_object(loop.blocks.messages[0])


def test_report_travels_with_acknowledgements():
    with Loop() as loop:
        loop.receiver._post(pmt.intern("report"), make_pdu(b"18 dB"))
        loop.receiver._post(pmt.intern("report"), make_pdu(bytes(65)))
        loop.pdus.send(make_pdu(b"payload"))
        loop.meet()
        loop.pass_block()
        wait_until(lambda: loop.report.messages)
        assert loop.report.payloads() == [b"18 dB"]
        assert loop.receiver.bad_pdus() == 1


def refused(block, counter, port, messages):
    before = getattr(block, counter)()
    for place, message in enumerate(messages, 1):
        block._post(pmt.intern(port), message)
        wait_until(lambda expected=before + place: getattr(block, counter)() == expected)


NO_PDUS = [pmt.PMT_NIL, pmt.intern("a"), make_pdu(b""), pmt.cons(pmt.PMT_NIL, pmt.from_long(1))]


def test_messages_that_are_none():
    """Counted, said once; and then it works."""
    with Loop() as loop:
        wrong = [python_to_pmt(entries) for entries in ({"class": 4}, {"class": "x"}, {"deadline": float("nan")})]
        refused(loop.sender, "bad_pdus", "pdus", [*NO_PDUS, *(make_pdu(b"a", one) for one in wrong)])
        refused(loop.sender, "bad_pdus", "pdus", [make_pdu(bytes(65_536))])
        refused(loop.sender, "refused_pdus", "pdus", [make_pdu(b"a", python_to_pmt({"deadline": -1.0}))])
        wrong = [pmt.from_long(-1), pmt.from_long(5000), pmt.PMT_T]
        refused(loop.sender, "bad_messages", "ready", wrong)
        wrong = [{"mcs": 99, "rank": 1}, {"mcs": 1, "rank": 3}, {"mcs": 1}, {"mcs": "x", "rank": 1}]
        refused(loop.sender, "bad_messages", "mcs", [*map(python_to_pmt, wrong), pmt.PMT_T])
        refused(loop.sender, "malformed_acknowledgements", "acks", [*NO_PDUS, make_pdu(b"nonsense")])
        wrong = [python_to_pmt({"mcs": 1}), header_to_pmt(FrameHeader()), python_to_pmt({"process": 77})]
        wrong[1] = pmt.dict_add(wrong[1], pmt.intern("rank"), pmt.from_long(9))
        refused(loop.receiver, "bad_pdus", "blocks", [*NO_PDUS, *(make_pdu(b"a", one) for one in wrong)])
        refused(loop.receiver, "other_versions", "blocks", [make_pdu(b"nonsense")])
        refused(loop.receiver, "bad_pdus", "report", NO_PDUS[:2])
        loop.pdus.send(make_pdu(b"payload"))
        loop.meet()
        loop.pass_block()
        wait_until(lambda: loop.delivered.payloads() == [b"payload"])


def test_queue_is_bounded_without_anybody_to_send_to():
    with Loop() as loop:
        for _ in range(200):
            loop.pdus.send(make_pdu(bytes(60_000)))
        wait_until(lambda: loop.sender.pdus() + loop.sender.refused_pdus() == 200)
        assert loop.sender.pdus() == 69 and not loop.blocks.messages


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_tx": 9}, "num_tx is 9; 1 to 8"),
        ({"mcs": 99}, "mcs is 99; 0 to "),
        ({"rank": 3}, "rank is 3; 1 to 2"),
        ({"constellation": "8psk"}, "8psk"),
        ({"traffic_class": 4}, "traffic_class is 4; 0 to 3"),
        ({"lifetime_s": -1}, "lifetime_s is -1; a number from 0 on"),
        ({"min_shares": (1.0,)}, "1 min_shares and 4 rates; 4 of each"),
        ({"rates": (-1.0, 0, 0, 0)}, "rate is -1"),
        ({"num_processes": 0}, "num_processes is 0; 1 to 15"),
        ({"session": -1}, "session is -1; 0 to 4294967295"),
        ({"stats_interval_s": -1}, "stats_interval_s is -1"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        gr_kaq.arq_sender(**{"num_tx": 2} | arguments)
