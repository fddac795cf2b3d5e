# SPDX-License-Identifier: GPL-3.0-or-later
"""Radios as one block: recordings and ZMQ for real, hardware as far as it goes without any."""

import argparse
import contextlib
import importlib
import threading
import time

import numpy as np
import pytest

gr = pytest.importorskip("gnuradio.gr")
import zmq
from gnuradio import blocks

from gr_kaq import radios
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source
from gr_kaq.radios import RadioError
from gr_kaq.radios.sigmf import RecordingError, RecordingWriter, open_recording

TIMEOUT_S = 300


def noise(num_channels, count, seed=1):
    parts = np.random.default_rng(seed).uniform(-1, 1, (2, num_channels, count))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def options(*words):
    parser = argparse.ArgumentParser()
    radios.add_radio_arguments(parser)
    return parser.parse_args(words)


def receive(source, num_rx, count):
    """The first `count` items that come out of a source, (num_rx, count). Fails instead of hanging."""
    tb = gr.top_block()
    sinks = [blocks.vector_sink_c() for _ in range(num_rx)]
    for channel, sink in enumerate(sinks):
        tb.connect((source, channel), sink)
    tb.start()
    deadline = time.monotonic() + TIMEOUT_S
    while min(len(sink.data()) for sink in sinks) < count:
        assert time.monotonic() < deadline, "the samples stay away"
        time.sleep(0.01)
    tb.stop()
    wait(tb.wait)
    return np.stack([np.array(sink.data(), np.complex64)[:count] for sink in sinks])


def wait(function):
    """Call a function that fails instead of hanging."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"


class Peer:
    """Another process, played by threads: a socket for each address, bound to a free port."""

    def __init__(self, kind, count):
        self.sockets = [zmq.Context.instance().socket(kind) for _ in range(count)]
        for socket in self.sockets:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 1000 * TIMEOUT_S)
        self.addresses = [f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}" for socket in self.sockets]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for socket in self.sockets:
            socket.close()


# Recordings


@pytest.mark.parametrize("datatype", ["cf32_le", "ci16_le"])
@pytest.mark.parametrize("num_rx", [1, 2, 3])
def test_a_recording_plays_its_first_antennas(tmp_path, datatype, num_rx):
    samples = noise(3, 10_000)
    with RecordingWriter(tmp_path / "r", 3, 2e6, 1e9, datatype=datatype) as writer:
        writer.write(samples)
    source = radios.radio_source(
        options("--radio", "recording", "--args", str(tmp_path / "r"), "--antennas", str(num_rx))
    )
    assert (source.sample_rate, source.frequency) == (2e6, 1e9)
    assert np.array_equal(receive(source, num_rx, 10_000), open_recording(tmp_path / "r").read()[:num_rx])


@pytest.mark.parametrize("num_rx", [1, 3])
def test_what_is_recorded_can_be_read(tmp_path, num_rx):
    samples = noise(num_rx, 12_345)
    tb = gr.top_block()
    sink = radios.recording_sink(tmp_path / "r", num_rx, 2e6, 1e9)
    for channel in range(num_rx):
        tb.connect(blocks.vector_source_c(samples[channel].tolist()), (sink, channel))
    wait(tb.run)
    recording = open_recording(tmp_path / "r", num_rx)
    assert (recording.sample_rate, recording.frequency) == (2e6, 1e9)
    assert np.array_equal(recording.read(), samples)


def test_a_recording_with_too_few_antennas_is_refused(tmp_path):
    with RecordingWriter(tmp_path / "r", 2, 2e6) as writer:
        writer.write(noise(2, 10))
    with pytest.raises(RecordingError, match="core:num_channels is 2; at least 3"):
        radios.radio_source(options("--radio", "recording", "--args", str(tmp_path / "r"), "--antennas", "3"))


def test_a_recording_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        radios.recording_sink(tmp_path / "nowhere" / "r", 2, 2e6)
    (tmp_path / "r.sigmf-data").mkdir()
    with pytest.raises(OSError, match="sigmf-data|r:"):
        radios.recording_sink(tmp_path / "r", 2, 2e6)


# ZMQ


@pytest.mark.parametrize("own_address", [False, True])
@pytest.mark.parametrize("pattern", ["pull", "sub"])
def test_zmq_streams_come_out_aligned(pattern, own_address):
    """In messages of any length, all antennas in one, or each from its own socket."""
    samples = noise(3, 5000)
    with Peer(zmq.PUSH if pattern == "pull" else zmq.PUB, 3 if own_address else 1) as peer:
        source = radios.zmq_source(peer.addresses, 3, pattern, sample_rate=2e6)
        assert source.sample_rate == 2e6
        if pattern == "sub":
            time.sleep(0.3)  # a PUB socket drops what nobody has subscribed to
        for place, socket in enumerate(peer.sockets):
            own = samples[place : place + 1] if own_address else samples
            for piece in np.split(own, [1, 7, 3000 + place], axis=1):
                socket.send(np.ascontiguousarray(piece.T).tobytes())
        assert np.array_equal(receive(source, 3, 5000), samples)


def test_srsran_s_convention():
    """A REP socket per antenna, which answers each request, an octet 0xFF, with raw samples of any number."""
    samples = noise(2, 5000)
    requests = []

    def answer(socket, own):
        for piece in np.split(own, [100, 2000]):
            requests.append(socket.recv())
            socket.send(piece.tobytes())

    with Peer(zmq.REP, 2) as peer:
        threads = [
            threading.Thread(target=answer, args=pair, daemon=True) for pair in zip(peer.sockets, samples, strict=True)
        ]
        for thread in threads:
            thread.start()
        arguments = ["--radio", "zmq", "--args", ",".join(peer.addresses), "--pattern", "req"]
        assert np.array_equal(receive(radios.radio_source(options(*arguments)), 2, 5000), samples)
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert set(requests) == {b"\xff"}


def test_bad_messages_are_dropped_and_counted():
    """The next good one is received: nothing hangs, and the antennas stay apart."""
    samples = noise(2, 100)
    good = np.ascontiguousarray(samples.T).tobytes()
    with Peer(zmq.PUSH, 1) as peer:
        source = zmq_sample_source(peer.addresses, 2)
        for message in (b"", b"x", good[:-8], good[:-1]):
            peer.sockets[0].send(message)
        peer.sockets[0].send_multipart([good, good])
        peer.sockets[0].send(good)
        assert np.array_equal(receive(source, 2, 100), samples)
    assert source.bad_messages() == 5 and source.internal_errors() == 0


def test_a_flowgraph_without_a_peer_ends():
    """And goes on where it is started again."""
    with Peer(zmq.PUSH, 1) as peer:
        tb = gr.top_block()
        tb.connect(zmq_sample_source(peer.addresses, 1), blocks.null_sink(gr.sizeof_gr_complex))
        for _ in range(2):
            tb.start()
            time.sleep(0.05)
            tb.stop()
            wait(tb.wait)


@pytest.mark.parametrize("own_address", [False, True])
@pytest.mark.parametrize("pattern", ["push", "rep"])
def test_zmq_sinks_and_sources_fit(pattern, own_address, tmp_path):
    """rep is asked as srsRAN does, with an octet. A receiver that goes away does not hang the sender."""
    samples = noise(2, 50_000)
    addresses = [f"ipc://{tmp_path}/{i}" for i in range(2 if own_address else 1)]
    tb = gr.top_block()
    sink = radios.zmq_sink(addresses, 2, pattern)
    for stream in range(2):
        tb.connect(blocks.vector_source_c(samples[stream].tolist(), True), (sink, stream))
    tb.start()
    received = receive(radios.zmq_source(addresses, 2, "pull" if pattern == "push" else "req"), 2, 50_000)
    assert np.array_equal(received, samples)
    tb.stop()
    wait(tb.wait)


@pytest.mark.parametrize("own_address", [False, True])
@pytest.mark.parametrize("pattern", ["push", "rep"])
def test_all_that_a_flowgraph_sends_arrives(pattern, own_address, tmp_path):
    """To its end, though the receiver comes late and asks in any words."""
    samples = noise(2, 10_000)
    addresses = [f"ipc://{tmp_path}/{i}" for i in range(2 if own_address else 1)]
    tb = gr.top_block()
    sink = radios.zmq_sink(addresses, 2, pattern)
    for stream in range(2):
        tb.connect(blocks.vector_source_c(samples[stream].tolist()), (sink, stream))
    tb.start()
    time.sleep(0.2)
    received = [b""] * len(addresses)
    with contextlib.ExitStack() as stack:
        sockets = []
        for address in addresses:
            sockets.append(
                stack.enter_context(zmq.Context.instance().socket(zmq.PULL if pattern == "push" else zmq.REQ))
            )
            sockets[-1].setsockopt(zmq.LINGER, 0)
            sockets[-1].setsockopt(zmq.RCVTIMEO, 1000 * TIMEOUT_S)
            sockets[-1].connect(address)
        while len(received[-1]) < samples.nbytes // len(addresses):
            for place, socket in enumerate(sockets):
                if pattern == "rep":
                    socket.send(b"please")
                received[place] += socket.recv()
    wait(tb.wait)
    streams = [np.frombuffer(octets, np.complex64).reshape(-1, 2 // len(addresses)).T for octets in received]
    assert np.array_equal(np.concatenate(streams), samples)


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: radios.zmq_source(["nonsense"], 1), RadioError, "ZMQ address 'nonsense'"),
        (lambda: radios.zmq_source(["tcp://127.0.0.1:1"] * 2, 3), ValueError, "2 addresses; 1, or 3"),
        (lambda: radios.zmq_source(["tcp://127.0.0.1:1"], 1, "pair"), ValueError, "pull, sub, req expected"),
        (lambda: radios.zmq_source(["tcp://127.0.0.1:1"], 0), ValueError, "num_rx is 0"),
        (lambda: radios.zmq_sink(["nonsense"], 1), RadioError, "ZMQ address 'nonsense'"),
        (lambda: radios.zmq_sink(["tcp://127.0.0.1:*"] * 2, 3), ValueError, "2 addresses; 1, or 3"),
        (lambda: radios.zmq_sink(["tcp://127.0.0.1:*"], 1, "pair"), ValueError, "push, pub, rep expected"),
    ],
)
def test_bad_zmq_arguments_are_named(make, error, named):
    with pytest.raises(error) as raised:
        make()
    assert named in str(raised.value)


# Hardware, of which there is none here


def test_a_missing_usrp_is_said_in_one_line():
    pytest.importorskip("gnuradio.uhd")
    with pytest.raises(RadioError) as raised:
        radios.radio_source(options("--radio", "usrp", "--args", "serial=none", "--freq", "2.4e9", "--rate", "2e6"))
    expected = "no USRP found with args 'serial=none'; connect one, or see docs/guide/hardware.md"
    assert str(raised.value) == expected
    with pytest.raises(RadioError, match="no USRP found"):
        radios.usrp_sink("serial=none", 2, 2.4e9, 2e6)
    with pytest.raises(RadioError, match="no USRP found"):
        radios.usrp_sink("serial=none", 2, 2.4e9, 2e6, bursts=False)


def test_a_missing_soapy_device_is_said_in_one_line():
    pytest.importorskip("gnuradio.soapy")
    arguments = ["--radio", "soapy", "--freq", "2.4e9", "--rate", "2e6", "--args"]
    with pytest.raises(RadioError) as raised:
        radios.radio_source(options(*arguments, "driver=plutosdr"))
    assert str(raised.value) == (
        "no SoapySDR device found with args 'driver=plutosdr'; connect one, or see docs/guide/hardware.md"
    )
    with pytest.raises(RadioError, match="Unsupported number of channels"):  # SoapySDR's device without any
        radios.radio_source(options(*arguments, "driver=null"))


@pytest.mark.parametrize(("radio", "module"), [("usrp", "uhd"), ("soapy", "soapy"), ("zmq", "gr")])
def test_a_missing_part_of_gnu_radio_is_named(radio, module, monkeypatch):
    def without(name, package=None):
        if name == f"gnuradio.{module}":
            raise ImportError(f"No module named '{name}'")
        return importlib.__import__(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(RadioError, match=f"needs GNU Radio's {module}.*apt install gnuradio"):
        radios.radio_source(options("--radio", radio, "--args", "tcp://127.0.0.1:1", "--freq", "1e9", "--rate", "1e6"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["usrp"], "--freq is missing"),
        (["usrp", "--freq", "1e9"], "--rate is missing"),
        (["soapy", "--rate", "1e6"], "--freq is missing"),
        (["zmq"], "--args is empty"),
        (["recording"], "--args is empty"),
    ],
)
def test_a_missing_option_is_named(words, named):
    with pytest.raises(ValueError, match=named):
        radios.radio_source(options("--radio", *words))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--radio", "walkie-talkie"],
        ["--radio", "zmq", "--antennas", "0"],
        ["--radio", "zmq", "--antennas", "two"],
        ["--radio", "zmq", "--rate", "0"],
        ["--radio", "zmq", "--freq", "nan"],
        ["--radio", "zmq", "--gain", "loud"],
        ["--radio", "zmq", "--reference", "sundial"],
    ],
)
def test_bad_command_lines(words):
    with pytest.raises(SystemExit, match="2"):
        options(*words)
