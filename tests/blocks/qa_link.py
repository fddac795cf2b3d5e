# SPDX-License-Identifier: GPL-3.0-or-later
"""A link that adapts in a flowgraph: header, decoder, reports, ARQ and the adapter; and whatever else arrives."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, fft, gr

import gr_kaq
from gr_kaq.adaptation.link_receiver import Report, pack_report, unpack_report
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.header_pmt import header_from_pmt, header_to_pmt
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader
from gr_kaq.frames.modulation_coding import MCS_TABLE, transport_block_bytes
from tests.blocks.flowgraphs import run_to_end, wait_until
from tests.blocks.qa_arq import Tap, running

FRAME = FrameFormat(2)


class Radio:
    """A transmitter of frames with headers, a channel, and a receiver of them."""

    def __init__(self, tb, **channel):
        self.transmitter = gr_kaq.frame_transmitter(2, 64, "", idle="zeros")
        self.channel = gr_kaq.channel_simulator(2, 2, **{"channel": "tdl-a", "snr_db": 40.0, "seed": 3, **channel})
        self.synchronizer = gr_kaq.frame_synchronizer(2, 2)
        self.estimator = gr_kaq.channel_estimator(2, 2)
        self.decoder = gr_kaq.link_decoder(2, 2)
        for port in range(2):
            transform = fft.fft_vcc(64, True, [1 / 8] * 64, True)
            tb.connect((self.transmitter, port), (self.channel, port), (self.synchronizer, port), transform)
            tb.connect(transform, (self.estimator, port), (self.decoder, port))


def connect_link(tb, radio, sender, receiver, adapter):
    """All but the way of the acknowledgements, and of PDUs."""
    for message in [
        (sender, "blocks", radio.transmitter, "pdus"),
        (radio.transmitter, "ready", sender, "ready"),
        (radio.decoder, "pdus", receiver, "blocks"),
        (radio.decoder, "report", receiver, "report"),
        (sender, "report", adapter, "report"),
        (sender, "outcomes", adapter, "outcomes"),
        (adapter, "mcs", sender, "mcs"),
    ]:
        tb.msg_connect(*message)


SIZE = transport_block_bytes(FRAME, 1, 1)
NO_MCS = pmt.dict_add(header_to_pmt(FrameHeader(1, 1)), pmt.intern("mcs"), pmt.from_long(99))


def blocks_of(headers, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.bytes(transport_block_bytes(FRAME, header.mcs, header.rank)) for header in headers]


def test_every_mcs_and_rank_over_the_air():
    """One flowgraph, nothing is rebuilt: each frame says what it is."""
    tb = gr.top_block()
    radio, pdus, reports = Radio(tb), Tap(), Tap()
    tb.msg_connect(radio.decoder, "pdus", pdus, "in")
    tb.msg_connect(radio.decoder, "report", reports, "in")
    headers = [FrameHeader(n // 2, 1 + n % 2, process=n % 15, sequence=n) for n in range(2 * len(MCS_TABLE))]
    sent = blocks_of(headers)
    for header, block in zip(headers, sent, strict=True):
        radio.transmitter._post(pmt.intern("pdus"), make_pdu(block, header_to_pmt(header)))
    radio.transmitter._post(pmt.intern("pdus"), pmt.PMT_EOF)
    run_to_end(tb)
    wait_until(lambda: len(pdus.messages) == len(headers))
    assert [header_from_pmt(pmt.car(message)) for message in pdus.messages] == headers
    assert pdus.payloads() == sent
    assert pmt.dict_has_key(pmt.car(pdus.messages[0]), pmt.intern("snr"))
    assert {len(report) for report in reports.payloads()} == {4}
    decoder = radio.decoder
    assert decoder.frames() == len(headers) and decoder.block_error_rate() == 0 == decoder.repeats()
    assert (decoder.mcs(), decoder.rank()) == (headers[-1].mcs, 2) and len(decoder.effective_snrs_db()) == 2
    assert decoder.internal_errors() == decoder.lost_headers() == 0


def test_a_file_arrives_over_a_link_that_adapts(tmp_path):
    """TDL-A at 10 Hz and 15 dB: the sender climbs from the most robust MCS, and nothing is lost."""
    (tmp_path / "sent").write_bytes(np.random.default_rng(1).bytes(120_000))
    tb = gr.top_block()
    radio = Radio(tb, snr_db=15.0, doppler=10.0)
    source = gr_kaq.pdu_file_source(tmp_path / "sent", 2, repeats=1)
    sender, receiver, adapter = gr_kaq.arq_sender(2), gr_kaq.arq_receiver(), gr_kaq.link_adapter(2)
    sink = gr_kaq.pdu_file_sink(tmp_path / "received")
    connect_link(tb, radio, sender, receiver, adapter)
    for message in [
        (sender, "ready", source, "ready"),
        (source, "pdus", sender, "pdus"),
        (receiver, "acks", sender, "acks"),
        (receiver, "pdus", sink, "pdus"),
    ]:
        tb.msg_connect(*message)
    with running(tb):
        wait_until(sink.complete)
    assert (tmp_path / "received").read_bytes() == (tmp_path / "sent").read_bytes()
    assert sink.duplicates() == 0
    assert adapter.reports() > 50 and adapter.first_transmissions() > 50
    assert adapter.first_error_rate() < 0.5
    assert radio.decoder.frames() < 120_000 / transport_block_bytes(FRAME, 1, 1), "it climbed"
    for block in (radio.transmitter, radio.decoder, sender, receiver, adapter):
        assert block.internal_errors() == 0


def test_acknowledgements_go_in_frames_of_their_own_the_newest_first():
    """They wait for no queue, hardly delay it, and go where data do not."""
    tb = gr.top_block()
    radio, pdus, acks, both = Radio(tb), Tap(), Tap(), Tap()
    for port, taps in (("pdus", (pdus, both)), ("acks", (acks, both))):
        for tap in taps:
            tb.msg_connect(radio.decoder, port, tap, "in")
    headers = [FrameHeader(3, 2, process=n % 15, sequence=n) for n in range(12)]
    sent = blocks_of(headers)
    for header, block in zip(headers, sent, strict=True):
        radio.transmitter._post(pmt.intern("pdus"), make_pdu(block, header_to_pmt(header)))
    for data in (b"old", b"newer", b"newest"):
        radio.transmitter._post(pmt.intern("acks"), make_pdu(data))
    with running(tb):
        wait_until(lambda: len(acks.messages) == 1 and len(pdus.messages) == 12)
        for number in range(3):
            radio.transmitter._post(pmt.intern("acks"), make_pdu(bytes([number])))
            wait_until(lambda: len(acks.messages) == 2 + number)  # noqa: B023 - waits here
    assert acks.payloads() == [b"newest", b"\0", b"\1", b"\2"] and pdus.payloads() == sent
    assert both.payloads()[:4] == [*sent[:3], b"newest"], "of four frames that wait, one is an acknowledgement"
    decoder, transmitter = radio.decoder, radio.transmitter
    assert decoder.feedback_frames() == transmitter.feedback_frames() == 4
    assert decoder.frames() == transmitter.frames() == 16
    assert decoder.internal_errors() == transmitter.internal_errors() == 0


@pytest.mark.parametrize(
    ("constellation", "message"),
    [("qpsk", make_pdu(b"a")), ("", make_pdu(b"")), ("", make_pdu(bytes(256))), ("", pmt.PMT_NIL)],
)
def test_acknowledgements_that_no_frame_carries_are_refused(constellation, message):
    tb = gr.top_block()
    transmitter = gr_kaq.frame_transmitter(2, 64, constellation)
    for port in range(2):
        tb.connect((transmitter, port), blocks.null_sink(gr.sizeof_gr_complex))
    transmitter._post(pmt.intern("acks"), message)
    transmitter._post(pmt.intern("pdus"), pmt.PMT_EOF)
    run_to_end(tb)
    assert (transmitter.bad_messages(), transmitter.frames(), transmitter.internal_errors()) == (1, 0, 0)


@pytest.mark.parametrize("offsets", [{}, {"carrier_offset": 700.0, "clock_offset_ppm": 5.0}])
def test_reports_that_are_forecast_are_nearer_to_what_comes(offsets):
    """Two decoders of the same frames, one of which says what it expects four frames later."""
    tb, horizon, begin, count = gr.top_block(), 4, 60, 200
    radio = Radio(tb, snr_db=20.0, doppler=50.0, sample_rate=2e6, **offsets)
    forecaster = gr_kaq.link_decoder(2, 2, horizon=horizon)
    taps = Tap(), Tap()
    for port in range(2):
        tb.connect((radio.estimator, port), (forecaster, port))
    for decoder, tap in zip((radio.decoder, forecaster), taps, strict=True):
        tb.msg_connect(decoder, "report", tap, "in")
    headers = [FrameHeader(0, 1, process=n % 15, sequence=n) for n in range(count)]
    for header, block in zip(headers, blocks_of(headers), strict=True):
        radio.transmitter._post(pmt.intern("pdus"), make_pdu(block, header_to_pmt(header)))
    radio.transmitter._post(pmt.intern("pdus"), pmt.PMT_EOF)
    run_to_end(tb)
    wait_until(lambda: all(len(tap.messages) == count for tap in taps))
    measured, expected = (np.array([unpack_report(data, 2) for data in tap.payloads()]) for tap in taps)
    later = measured[begin + horizon :]
    errors = [np.sqrt(np.mean((said[begin:-horizon] - later) ** 2)) for said in (expected, measured)]
    assert errors[0] < 0.6 * errors[1], errors
    assert forecaster.internal_errors() == 0


@pytest.mark.parametrize("urgent_class", [0, 3])
def test_the_urgent_class_overtakes_over_the_air_in_both_directions(urgent_class):
    """Two radios, one for each direction. What is urgent comes last, and arrives first; in the same class, last."""
    tb = gr.top_block()
    there, back = Radio(tb, snr_db=15.0, doppler=10.0), Radio(tb, snr_db=15.0, doppler=10.0, seed=4)
    sender, receiver, adapter, pdus = gr_kaq.arq_sender(2), gr_kaq.arq_receiver(), gr_kaq.link_adapter(2), Tap()
    connect_link(tb, there, sender, receiver, adapter)
    tb.msg_connect(receiver, "acks", back.transmitter, "acks")
    tb.msg_connect(back.decoder, "acks", sender, "acks")
    tb.msg_connect(receiver, "pdus", pdus, "in")
    rng = np.random.default_rng(1)
    bulk, urgent = [rng.bytes(600) for _ in range(150)], [rng.bytes(60) for _ in range(10)]
    for data, traffic_class in [*((data, 3) for data in bulk), *((data, urgent_class) for data in urgent)]:
        sender._post(pmt.intern("pdus"), make_pdu(data, python_to_pmt({"class": traffic_class})))
    with running(tb):
        wait_until(lambda: len(pdus.messages) == 160)
    arrived = pdus.payloads()
    assert [data for data in arrived if data in bulk] == bulk and [data for data in arrived if data in urgent] == urgent
    last = arrived.index(urgent[-1])
    assert last < 60 if urgent_class == 0 else last == 159
    assert (sender.delay()[0] > 0) == (urgent_class == 0) and sender.delay()[3] > 0
    assert back.decoder.feedback_frames() > 20
    for block in (there.transmitter, back.transmitter, there.decoder, back.decoder, sender, receiver):
        assert block.internal_errors() == 0


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        (b"abc", header_to_pmt(FrameHeader(1, 1))),
        (bytes(SIZE), pmt.make_dict()),
        (bytes(SIZE), python_to_pmt({"mcs": 1, "rank": 1})),
        (bytes(SIZE), NO_MCS),
        (bytes(100), header_to_pmt(FrameHeader(1, 3))),
    ],
)
def test_blocks_that_fit_no_frame_are_refused(data, metadata):
    tb = gr.top_block()
    transmitter = gr_kaq.frame_transmitter(2, 64, "")
    for port in range(2):
        tb.connect((transmitter, port), blocks.null_sink(gr.sizeof_gr_complex))
    good = make_pdu(bytes(transport_block_bytes(FRAME, 1, 1)), header_to_pmt(FrameHeader(1, 1)))
    for message in (make_pdu(data, metadata), good, pmt.PMT_EOF):
        transmitter._post(pmt.intern("pdus"), message)
    run_to_end(tb)
    assert (transmitter.bad_pdus(), transmitter.frames(), transmitter.internal_errors()) == (1, 1, 0)


def test_frames_without_header_or_channel_are_counted():
    """Frames of a transmitter without headers, and items whose tags say nothing."""
    plain = gr.top_block()
    samples = [blocks.vector_sink_c() for _ in range(2)]
    transmitter = gr_kaq.frame_transmitter(2, 64, "qpsk")
    for port, sink in enumerate(samples):
        plain.connect((transmitter, port), sink)
    for message in [make_pdu(b"plain")] * 3 + [pmt.PMT_EOF]:
        transmitter._post(pmt.intern("pdus"), message)
    run_to_end(plain)
    tb = gr.top_block()
    decoder, estimator, synchronizer = (
        gr_kaq.link_decoder(2, 2),
        gr_kaq.channel_estimator(2, 2),
        gr_kaq.frame_synchronizer(2, 2),
    )
    for port, sink in enumerate(samples):
        transform = fft.fft_vcc(64, True, [1 / 8] * 64, True)
        noise = np.random.default_rng(port).normal(0, 0.01, (2, len(sink.data()) + 5000))
        received = np.pad(sink.data(), (0, 5000)) + noise[0] + 1j * noise[1]
        tb.connect(blocks.vector_source_c(received.tolist()), (synchronizer, port), transform, (estimator, port))
        tb.connect((estimator, port), (decoder, port))
    run_to_end(tb)
    assert (decoder.lost_headers(), decoder.frames(), decoder.internal_errors()) == (3, 0, 0)
    tb = gr.top_block()
    decoder = gr_kaq.link_decoder(2, 2)
    for port in range(2):
        tb.connect(blocks.vector_source_c([0] * 1056, False, 528), (decoder, port))
    run_to_end(tb)
    assert (decoder.frames_without_csi(), decoder.frames(), decoder.internal_errors()) == (2, 0, 0)


class Adapter:
    """An adapter, and what a test sends to it."""

    def __init__(self, **arguments):
        self.adapter = gr_kaq.link_adapter(2, **arguments)
        self.report, self.outcomes, self.mcs, self.tb = Tap(), Tap(), Tap(), gr.top_block()
        self.tb.msg_connect(self.report, "out", self.adapter, "report")
        self.tb.msg_connect(self.outcomes, "out", self.adapter, "outcomes")
        self.tb.msg_connect(self.adapter, "mcs", self.mcs, "in")

    def __enter__(self):
        self.running = running(self.tb)
        self.running.__enter__()
        wait_until(lambda: self.mcs.messages)
        return self

    def __exit__(self, *exception):
        self.running.__exit__(*exception)
        assert self.adapter.internal_errors() == 0

    def tell(self, snrs_db, count=1):
        for _ in range(count):
            self.report.send(make_pdu(pack_report(Report(np.array(snrs_db), np.empty(0)))))

    def choice(self):
        return pmt.to_python(self.mcs.messages[-1])


def test_the_adapter_follows_reports_and_outcomes():
    with Adapter() as loop:
        assert loop.choice() == {"mcs": 0, "rank": 1}
        loop.tell([13.0, 10.5])
        wait_until(lambda: loop.choice()["mcs"] > 2)
        chosen = loop.choice()
        assert chosen["rank"] == 2
        for _ in range(12):  # 0.2 dB each
            loop.outcomes.send(python_to_pmt({**chosen, "attempt": 1, "acknowledged": 0}))
        wait_until(lambda: loop.adapter.first_errors() == 12)
        wait_until(lambda: loop.choice() != chosen)
        assert loop.adapter.offset_db() == pytest.approx(-2.4)
        loop.outcomes.send(python_to_pmt({**chosen, "attempt": 2, "acknowledged": 0}))
        wait_until(lambda: loop.adapter.outcomes() == 13)
        assert loop.adapter.offset_db() == pytest.approx(-2.4) and loop.adapter.first_error_rate() == 1


def test_the_adapter_refuses_what_makes_no_sense_and_goes_on():
    with Adapter(policy="illa") as loop:
        for data in (b"", b"abc", bytes(8), b"\xff\x7f\xff\x7f"):
            loop.report.send(make_pdu(data))
        loop.report.send(pmt.PMT_NIL)
        known = {"rank": 1, "attempt": 1, "acknowledged": 1}
        for entries in ({}, {"mcs": 1}, {"mcs": 99, **known}, {"mcs": 0.5, **known}):
            loop.outcomes.send(python_to_pmt(entries))
        loop.outcomes.send(pmt.intern("no dict"))
        wait_until(lambda: loop.adapter.rejected_messages() == 10)
        loop.tell([30.0, 30.0], 2)
        wait_until(lambda: loop.choice() == {"mcs": 13, "rank": 2})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gr_kaq.link_adapter(2, policy="best"), "unknown policy 'best'"),
        (lambda: gr_kaq.link_adapter(2, target=1.5), "target is 1.5"),
        (lambda: gr_kaq.link_adapter(2, delay=-1), "delay is -1"),
        (lambda: gr_kaq.link_decoder(2, 2, horizon=-1), "horizon is -1"),
        (lambda: gr_kaq.link_adapter(5), "at most 4 expected"),
        (lambda: gr_kaq.link_decoder(2, 9), "num_tx is 9"),
        (lambda: gr_kaq.link_decoder(0, 2), "num_rx is 0"),
        (lambda: gr_kaq.link_decoder(2, 2, detector="admm5-16qam"), "is for 16qam"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_reports_survive_being_packed():
    report = Report(np.array([-14.99, 39.99, 7.125]), np.empty(0))
    assert unpack_report(pack_report(report), 3) == pytest.approx(report.effective_snrs_db, abs=0.006)
    assert pdu_bytes(make_pdu(pack_report(report))) == pack_report(report)
