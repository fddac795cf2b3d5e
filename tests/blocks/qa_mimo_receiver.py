# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole link in a flowgraph: PDUs -> frame_transmitter -> channel_simulator -> mimo_receiver -> PDUs."""

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

from gr_kaq.blocks.channel_simulator import channel_simulator
from gr_kaq.blocks.frame_transmitter import frame_transmitter
from gr_kaq.blocks.mimo_receiver import mimo_receiver
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes
from gr_kaq.detection.choice import choose
from gr_kaq.frames.frame_format import DATA_SYMBOLS, FrameFormat
from gr_kaq.frames.payload import max_payload
from tests.blocks.flowgraphs import TIMEOUT_S, run_to_end, wait_until

PARTS = ("synchronizer", "estimator", "detector", "decoder")
CHANNEL = {"channel": "tdl-a", "snr_db": 35.0, "delay_spread": 50e-9, "doppler": 5.0, "carrier_offset": 3e3, "seed": 3}


class message_list(gr.basic_block):
    """Keeps what arrives."""

    def __init__(self):
        gr.basic_block.__init__(self, "message list", [], [])
        self.messages = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.handle)

    def handle(self, message):
        self.messages.append(message)


class Link:
    """The flowgraph. What `idle` is makes the samples go on until `end`, or end with the PDUs sent before the start."""

    def __init__(self, num_rx=2, num_tx=2, fft_size=64, constellation="16qam", idle="wait", channel=None, **options):
        self.frame = FrameFormat(num_tx, fft_size, constellation, options.get("num_symbols", 14))
        self.rng = np.random.default_rng(5)
        self.tb = gr.top_block()
        length = {"num_symbols": options["num_symbols"]} if "num_symbols" in options else {}
        self.transmitter = frame_transmitter(num_tx, fft_size, constellation, idle=idle, **length)
        self.channel = channel_simulator(num_tx, num_rx, 1, **CHANNEL | (channel or {}))
        self.receiver = mimo_receiver(num_rx, num_tx, fft_size, constellation, **options)
        self.pdus, self.stats = message_list(), message_list()
        for stream in range(num_tx):
            self.tb.connect((self.transmitter, stream), (self.channel, stream))
        for antenna in range(num_rx):
            self.tb.connect((self.channel, antenna), (self.receiver, antenna))
        self.sinks = [blocks.vector_sink_c(self.frame.data_per_stream) for _ in range(num_tx)]
        if options.get("monitor"):
            self.sinks += [blocks.vector_sink_c(self.frame.data_per_stream) for _ in range(num_rx)]
            self.sinks.append(blocks.vector_sink_f(self.frame.num_active * num_rx * num_tx))
        for port, sink in enumerate(self.sinks):
            self.tb.connect((self.receiver, port), sink)
        self.tb.msg_connect(self.receiver, "pdus", self.pdus, "in")
        self.tb.msg_connect(self.receiver, "stats", self.stats, "in")

    def __enter__(self):
        self.tb.start()
        return self

    def __exit__(self, *exception):
        self.tb.stop()
        waiting = threading.Thread(target=self.tb.wait, daemon=True)
        waiting.start()
        waiting.join(TIMEOUT_S)
        assert not waiting.is_alive(), "the flowgraph hangs"

    def send(self, count):
        """Queue random payloads of any length, and return them."""
        payloads = [self.rng.bytes(int(self.rng.integers(1, max_payload(self.frame) + 1))) for _ in range(count)]
        for payload in payloads:
            self.transmitter._post(pmt.intern("pdus"), make_pdu(payload))
        return payloads

    def run(self):
        """Let what was sent through, to the end of the stream."""
        self.transmitter._post(pmt.intern("pdus"), pmt.PMT_EOF)
        run_to_end(self.tb)

    def wait_for_pdus(self, count):
        wait_until(lambda: len(self.pdus.messages) >= count)

    def received(self):
        return [pdu_bytes(message) for message in self.pdus.messages]

    def output(self, port):
        """(frames, 11, num_data)"""
        return np.array(self.sinks[port].data()).reshape(-1, len(DATA_SYMBOLS), self.frame.num_data)


@pytest.mark.parametrize(
    ("num_rx", "num_tx", "fft_size", "constellation", "detector", "estimator", "snr_db"),
    [
        (2, 2, 64, "16qam", "admm5-16qam", "lmmse", 35.0),
        (4, 3, 64, "qpsk", "auto-fast", "lmmse", 25.0),
        (3, 2, 64, "256qam", "auto", "lmmse", 45.0),
        (1, 1, 64, "64qam", "lmmse", "ls", 40.0),
        (4, 4, 256, "16qam", "auto", "lmmse-frequency", 40.0),
    ],
)
def test_payloads_arrive_intact_and_in_order(num_rx, num_tx, fft_size, constellation, detector, estimator, snr_db):
    """Over multipath, a carrier offset and noise; with what is known of each frame."""
    size = (num_rx, num_tx, fft_size, constellation)
    link = Link(*size, channel={"snr_db": snr_db}, detector=detector, estimator=estimator)
    sent = link.send(3)
    link.run()
    assert link.received() == sent
    metadata = pmt.to_python(pmt.car(link.pdus.messages[-1]))
    assert metadata["seq"] == 2
    assert metadata["sample"] == pytest.approx(2 * (link.frame.frame_length + 256), abs=link.frame.cp_length)
    assert metadata["carrier_offset"] == pytest.approx(3e3 / 2e6, abs=5e-5)
    assert 0.9 < metadata["metric"] <= 1
    assert metadata["snr"] == pytest.approx(snr_db, abs=10)  # this channel's
    assert metadata.keys() >= {"noise_var", "delay_spread", "doppler"}
    assert all(part["internal_errors"] == 0 for part in link.receiver.stats().values())
    assert link.receiver.block_error_rate() == 0
    assert len(link.output(0)) == 3


def test_model_and_estimator_are_replaced_while_it_runs():
    """By setters and, as GNU Radio Companion's callbacks do, by names that may be wrong."""
    with Link(idle="zeros", detector="admm5-16qam") as link:
        changes = (
            lambda: link.receiver.set_model("lmmse"),
            lambda: link.receiver.handle_model(pmt.intern("auto")),
            lambda: link.receiver.handle_model(pmt.intern("nope")),
            lambda: link.receiver.set_estimator("ls"),
            lambda: link.receiver.handle_estimator(pmt.intern("lmmse-frequency")),
            lambda: link.receiver.handle_estimator(pmt.intern("nope")),
        )
        sent, used = [], []
        for change in changes:
            change()
            sent += link.send(3)
            link.wait_for_pdus(len(sent))
            stats = link.receiver.stats()
            used.append((stats["detector"]["model_name"], stats["estimator"]["method"]))
    assert link.received() == sent
    models = ["lmmse", "auto", "auto", "auto", "auto", "auto"]
    assert used == list(zip(models, ["lmmse"] * 3 + ["ls"] + ["lmmse-frequency"] * 2, strict=True))
    assert stats["detector"]["rejected_messages"] == stats["estimator"]["rejected_messages"] == 1


def test_a_model_by_message():
    """What a control program sends, or an edit box in the flowgraph."""
    link = Link(idle="zeros")
    control = blocks.message_strobe(pmt.intern("lmmse"), 10)
    link.tb.msg_connect(control, "strobe", link.receiver, "model")
    with link:
        wait_until(lambda: link.receiver.stats()["detector"]["model_name"] == "lmmse")


def test_data_aided_passes_save_frames():
    """Of those with a wrong CRC; nothing else changes."""
    channel = {"snr_db": 15.5, "delay_spread": 100e-9, "doppler": 200.0}
    received, errors, symbols = [], [], []
    for passes in (0, 2):
        link = Link(4, 4, channel=channel, data_aided_passes=passes)
        sent = link.send(60)
        link.run()
        received.append(link.received())
        symbols.append(link.output(0))
        errors.append(link.receiver.decoder.block_errors())
        assert all(part["internal_errors"] == 0 for part in link.receiver.stats().values())
        assert received[-1] == [payload for payload in sent if payload in received[-1]]
        assert len(received[-1]) + errors[-1] == 60
    decoder = link.receiver.decoder
    assert set(received[0]) < set(received[1]) and np.array_equal(*symbols)
    assert (decoder.refined_frames(), decoder.rescued_frames()) == (errors[0], errors[0] - errors[1])


@pytest.mark.parametrize(("every", "doppler"), [(2, 100.0), (6, 20.0)])
def test_frames_between_estimates_are_forecast_through_offsets(every, doppler):
    """Carrier and clock offset are unknown, and frames begin where the synchronizer says."""
    channel = {"snr_db": 30.0, "doppler": doppler, "carrier_offset": 5e3, "clock_offset_ppm": 20.0}
    link = Link(channel=channel, estimator="lmmse-memory", estimate_every=every)
    sent = link.send(61)
    link.run()
    received, stats = link.received(), link.receiver.stats()
    assert received == [payload for payload in sent if payload in received] and len(received) > 58
    frames = [pmt.to_python(pmt.car(message)) for message in link.pdus.messages]
    assert sum(frame.get("forecast", False) for frame in frames) > 0.9 * 61 * (1 - 1 / every)
    assert stats["estimator"]["forecast_frames"] == 61 - -(-61 // every)
    assert all(part["internal_errors"] == 0 for part in stats.values())


@pytest.mark.parametrize("size", [(2, 2, 64), (8, 8, 256), (2, 1, 512)])
def test_long_frames(size):
    """Through every block, with ports for displays and a second chance."""
    link = Link(*size, channel={"snr_db": 40.0}, num_symbols=28, data_aided_passes=1, monitor=True)
    sent = link.send(3)
    link.run()
    assert link.received() == sent
    assert len(link.sinks[0].data()) == 3 * link.frame.data_per_stream == 3 * 25 * link.frame.num_data


def test_a_model_reaches_both_that_detect():
    link = Link(data_aided_passes=1)
    link.receiver.set_model("lmmse")
    link.receiver.handle_model(pmt.intern("nope"))
    stats = link.receiver.stats()
    for part in ("detector", "decoder"):
        assert stats[part]["model_name"] == "lmmse" and stats[part]["rejected_messages"] == 1


def test_the_default_takes_the_best_for_the_size():
    receiver = mimo_receiver(4, 4, constellation="64qam")
    detector = receiver.stats()["detector"]
    assert (detector["model_name"], detector["detector_name"]) == ("auto", choose("auto", "64qam", 4, 4).detector)


def test_every_part_publishes_its_counters():
    """While frames keep coming, however fast they are received."""
    with Link(idle="zeros") as link:
        expected = {name: part.keys() for name, part in link.receiver.stats().items()}
        assert tuple(expected) == PARTS

        def published():
            link.send(1)
            return all(any(pmt.to_python(m).keys() == keys for m in link.stats.messages) for keys in expected.values())

        wait_until(published)


def test_block_error_rate_begins_anew_with_the_condition():
    """So that rates of two detectors, or at two SNRs, do not mix."""
    with Link(idle="zeros", channel={"snr_db": 4.0}, condition=4.0) as link:
        assert np.isnan(link.receiver.block_error_rate())
        link.send(5)
        wait_until(lambda: link.receiver.decoder.frames() == 5)
        assert link.receiver.block_error_rate() == 1
        link.receiver.set_condition(4.0)
        assert link.receiver.block_error_rate() == 1
        link.receiver.set_condition(40.0)
        assert np.isnan(link.receiver.block_error_rate())
        link.channel.set_snr_db(40.0)
        time.sleep(0.1)  # what the buffers hold has the old SNR
        sent = link.send(5)
        wait_until(lambda: link.receiver.decoder.frames() == 10)
        assert link.receiver.block_error_rate() == 0
        link.wait_for_pdus(5)
        assert link.received() == sent


def test_monitor_ports():
    """Received carriers are H x, with the magnitudes of the channel port and the symbols of the detected ones."""
    num_rx, num_tx = 3, 2
    still = {"snr_db": 50.0, "delay_spread": 200e-9, "carrier_offset": 0.0, "doppler": 0.0}
    link = Link(num_rx, num_tx, channel=still, detector="lmmse", monitor=True)
    link.send(2)
    link.run()
    frame = link.frame
    detected = np.stack([link.output(port) for port in range(num_tx)], axis=-1)
    received = np.stack([link.output(num_tx + port) for port in range(num_rx)], axis=-1)
    channel_db = np.array(link.sinks[-1].data()).reshape(-1, num_rx, num_tx * frame.num_active)
    assert len(detected) == len(received) == len(channel_db) == 2

    sent = frame.constellation.modulate(frame.constellation.decide(detected[1]).reshape(-1)).reshape(detected[1].shape)
    carriers = [frame.data_indices == carrier for carrier in range(frame.num_active)]
    h = np.stack([np.linalg.lstsq(sent[at], received[1][at], rcond=None)[0].T for at in carriers], axis=-1)
    expected_db = 20 * np.log10(np.abs(h)).reshape(num_rx, -1)

    def shape(values):  # the received carriers are scaled to equal noise, by a factor for each antenna
        return values - np.median(values, axis=-1, keepdims=True)

    np.testing.assert_allclose(shape(channel_db[1]), shape(expected_db), atol=0.5)
    pairs = shape(expected_db).reshape(num_rx * num_tx, -1)
    distances = np.abs(pairs[:, None] - pairs).max(axis=-1)
    assert distances[~np.eye(len(pairs), dtype=bool)].min() > 2  # so that their order matters


def test_starts_again():
    """Frames are counted anew, and what was left of the first run does no harm."""
    link = Link()
    for _ in range(2):
        sent = link.send(3)
        link.run()
        assert link.received() == sent
        assert pmt.to_python(pmt.car(link.pdus.messages[-1]))["sample"] < 3 * link.transmitter._burst_length
        link.pdus.messages.clear()


def test_locked_and_unlocked_under_traffic():
    """GNU Radio empties all buffers: whole frames are lost, which is said and counted; those that arrive are right, and
    what comes later is received as before."""
    with Link(idle="zeros") as link:
        sent = []
        for _ in range(3):
            before = len(link.pdus.messages)
            sent += link.send(10)
            wait_until(lambda before=before: len(link.pdus.messages) > before)
            link.tb.lock()
            link.tb.unlock()
        sent += (last := link.send(5))
        wait_until(lambda: link.received()[-5:] == last)
    received = link.received()
    assert received == [payload for payload in sent if payload in received]
    stats = link.receiver.stats()
    dropped = sum(part["dropped_items"] for part in stats.values()) + link.channel.dropped_items()
    assert len(received) == len(sent) or dropped or stats["synchronizer"]["cut_frames"]
    assert all(part["internal_errors"] == 0 for part in stats.values())
    assert all("unlocked" in part._warned for part in (link.receiver.synchronizer, link.receiver.decoder))


def test_outlives_the_last_reference():
    """A flowgraph holds what was connected, and nothing that it needs is in the receiver's Python object alone."""
    link = Link()
    sent = link.send(3)
    link.receiver = None
    gc.collect()
    link.run()
    assert link.received() == sent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_rx": 0}, "num_rx is 0"),
        ({"num_rx": "two"}, "num_rx is 'two'"),
        ({"num_tx": 5}, "num_tx is 5"),
        ({"fft_size": 128}, "fft_size is 128"),
        ({"constellation": "8psk"}, "8psk"),
        ({"detector": "nope"}, "nope"),
        ({"detector": "admm5-qpsk"}, "16qam"),
        ({"detector": "admm5-16qam", "num_rx": 1}, "num_rx=1"),
        ({"estimator": "nope"}, "nope"),
        ({"num_symbols": 15}, "num_symbols is 15"),
        ({"data_aided_passes": 9}, "data_aided_passes is 9; 0 to 8 expected"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mimo_receiver(**{"num_rx": 2, "num_tx": 2} | arguments)


def test_receivers_are_freed_with_their_buffers():
    """GNU Radio keeps a hierarchical block whose message ports are connected inside for good; some 40 took all memory
    that the system shares among buffers."""

    def mappings_after(count):
        for _ in range(count):
            Link().run()
        gc.collect()
        return len(Path("/proc/self/maps").read_text().splitlines())

    before = mappings_after(5)
    assert mappings_after(6) < before + 6 * 10
