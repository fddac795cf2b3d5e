# SPDX-License-Identifier: GPL-3.0-or-later
"""A file from one process to another over a simulated radio channel, bit for bit; peers without GNU Radio, too."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from gr_kaq import FrameFormat
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.frames.payload import max_payload
from gr_kaq.frames.synchronization import Synchronizer
from tests.examples.radio_link import bursts, fade
from tests.pages import programs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "zmq_virtual_radio.py"
sys.path.insert(0, str(SCRIPT.parent))
import zmq_virtual_radio

TIMEOUT = 300
LENGTH = 20000  # samples to look at
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@contextlib.contextmanager
def process(*command):
    """A Python program; what it prints is one text."""
    running = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=TIMEOUT)


def output_of(running, status=0):
    """What a process prints until it ends, with this status."""
    output = running.communicate(timeout=TIMEOUT)[0]
    assert running.returncode == status, output
    return output


@pytest.fixture()
def ports():
    """The first of four ports in a row that are free."""
    for first in range(20000 + os.getpid() % 5000 * 8, 65000, 8):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 4):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise AssertionError("no free ports")


@pytest.fixture()
def address(ports):
    return f"tcp://127.0.0.1:{ports}"


@pytest.fixture()
def message(tmp_path):
    """20 kB that are no text."""
    path = tmp_path / "message"
    path.write_bytes(np.random.default_rng(1).bytes(20_000))
    return path


def test_file_arrives(message, address, tmp_path):
    """2x2, TDL-A, 20 ppm, 5 kHz, 20 dB: the documented commands. The receiver is there first, and goes first."""
    with process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 60) as receiver:
        time.sleep(1)
        with process(SCRIPT, "transmit", message, "--address", address) as transmitter:
            received = output_of(receiver)
            sent = output_of(transmitter)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()
    assert "file 81/81" in received
    assert abs(float(re.findall(r"carrier ([+-]\d+) Hz", received)[-1]) - 5000) < 500
    assert "message in 81 blocks, at tcp://" in sent


def test_file_arrives_as_srsran_sends_samples(message, address, tmp_path):
    """One REQ/REP pair for each antenna. The transmitter is there first."""
    protocol = ["--protocol", "srsran", "--address", address]
    with process(SCRIPT, "transmit", message, *protocol) as transmitter:
        assert "in 81 blocks" in transmitter.stdout.readline()
        with process(SCRIPT, "receive", tmp_path / "received", *protocol, "--timeout", 60) as receiver:
            output_of(receiver)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()


@pytest.mark.parametrize("fft_size", [64, 256])
def test_file_arrives_4x4(message, address, tmp_path, fft_size):
    link = ["--num-rx", 4, "--num-tx", 4, "--fft-size", fft_size, "--address", address]
    with (
        process(SCRIPT, "transmit", message, *link),
        process(SCRIPT, "receive", tmp_path / "received", *link, "--timeout", 60) as receiver,
    ):
        output_of(receiver)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()


def test_sent_once(message, address, tmp_path):
    """The transmitter ends by itself, and the end of its last frame is not left in the channel."""
    channel = ["--profile", "tdl-e", "--doppler", 0, "--snr", 35]
    with (
        process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 30) as receiver,
        process(SCRIPT, "transmit", message, "--address", address, *channel, "--repeats", 1) as transmitter,
    ):
        received = output_of(receiver)
        sent = output_of(transmitter)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()
    assert re.findall(r"(\d+) frames, 0 block errors", received)[-1] == re.findall(r"(\d+) frames", sent)[-1] == "84"


def test_transmitter_killed_and_started_again(message, address, tmp_path):
    """What is on its way is lost; the receiver takes the file from the next transmitter."""
    with process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 60) as receiver:
        with process(SCRIPT, "transmit", message, "--address", address, "--snr", 0) as transmitter:
            while not re.search("[1-9][0-9]* frames", receiver.stdout.readline()):
                assert receiver.poll() is None
            transmitter.kill()
        with process(SCRIPT, "transmit", message, "--address", address):
            output_of(receiver)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()


@pytest.mark.usefixtures("control_c")
def test_signals_that_come_twice_end_it_in_order(message, address, tmp_path):
    """As `timeout` and impatient users send them: Python ended while blocks ran, and the process aborted."""
    with (
        process(SCRIPT, "transmit", message, "--address", address, "--constellation", "64qam") as transmitter,
        process(SCRIPT, "receive", tmp_path / "received", "--address", address) as receiver,
    ):
        while not re.search("[1-9][0-9]* frames", receiver.stdout.readline()):
            assert receiver.poll() is None
        for side, status in ((receiver, 1), (transmitter, 0)):
            side.terminate()
            time.sleep(0.01)
            side.terminate()
            assert side.wait(30) in (status, -signal.SIGTERM)  # the latter where it had ended already, all but Python


def test_what_keeps_it_from_receiving_is_said(message, address, tmp_path):
    with (
        process(SCRIPT, "transmit", message, "--address", address, "--constellation", "64qam"),
        process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 8) as receiver,
    ):
        output = output_of(receiver, status=1)
    assert 1 <= output.count("is 16qam the transmitter's constellation") <= 2  # when it is noticed, and at the end
    assert "SNR is too low" not in output  # nor in a fade


def test_a_jammer_does_not_stop_the_file(message, address, tmp_path):
    """On four of 52 carriers, 6 dB stronger there than a stream."""
    jammed = ["--interference", 300_000, 425_000, "--interference-db", -6]
    with (
        process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 60) as receiver,
        process(SCRIPT, "transmit", message, "--address", address, *jammed),
    ):
        output_of(receiver)
    assert (tmp_path / "received").read_bytes() == message.read_bytes()


def test_nobody_sends(address, tmp_path):
    with process(SCRIPT, "receive", tmp_path / "received", "--address", address, "--timeout", 1) as receiver:
        output = output_of(receiver, status=1)
    assert "stopped after 1 s" in output
    assert "0 frames, 0 block errors, file not announced" in output
    assert not (tmp_path / "received").exists()


@pytest.mark.usefixtures("control_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(message, ports, address, tmp_path, number):
    """Both ends stop at once, with a summary, also while they wait for each other."""
    with (
        process(SCRIPT, "receive", tmp_path / "received", "--address", address) as receiver,
        process(SCRIPT, "transmit", message, "--address", f"tcp://127.0.0.1:{ports + 1}") as transmitter,
    ):
        assert "file not announced" in receiver.stdout.readline()
        receiver.send_signal(number)
        assert "interrupted" in output_of(receiver, status=1)
        assert "in 81 blocks" in transmitter.stdout.readline()
        transmitter.send_signal(number)
        assert "frames" in output_of(transmitter)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["transmit", "nowhere"], "No such file or directory: 'nowhere'"),
        (["transmit", SCRIPT, "--num-tx", 5], "num_tx is 5; at most 4 expected with 64 carriers"),
        (["transmit", SCRIPT, "--num-rx", 0], "num_rx is 0; 1 to "),
        (["transmit", SCRIPT, "--doppler", 1e6], "doppler is 1000000.0; 0 to 2000"),
        (["transmit", SCRIPT, "--clock-offset-ppm", 1e6], "clock_offset_ppm is 1000000.0; "),
        (["transmit", SCRIPT, "--interference", 5, 9e6], "band is (5.0, 9000000.0); within -1e+06 to 1e+06 Hz"),
        (["transmit", SCRIPT, "--address", "nonsense"], "ZMQ address 'nonsense'"),
        (["transmit", SCRIPT, "--protocol", "srsran", "--address", "ipc:///a"], "--address is 'ipc:///a'"),
        (["receive", "nowhere/file"], "the directory nowhere does not exist"),
        (["receive", "--address", "nonsense"], "ZMQ address 'nonsense'"),
        (["receive", "--num-rx", 0], "num_rx is 0; 1 to "),
    ],
)
def test_wrong_arguments(arguments, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zmq_virtual_radio.py", *map(str, arguments)])
    assert zmq_virtual_radio.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zmq_virtual_radio: ") and text in line


def test_plain_zmq_peer_asks_as_srsran_does(message, address, ports):
    """Without GNU Radio: an octet 0xFF brings raw samples; the two antennas' are those of the same instants."""
    frame = FrameFormat(2, 64, "16qam")
    with process(SCRIPT, "transmit", message, "--protocol", "srsran", "--address", address), zmq.Context() as context:
        received = [[], []]
        with context.socket(zmq.REQ) as first, context.socket(zmq.REQ) as second:
            for place, request in enumerate((first, second)):
                request.setsockopt(zmq.RCVTIMEO, 1000 * TIMEOUT)
                request.connect(f"tcp://127.0.0.1:{ports + place}")
            while min(sum(map(len, antenna)) for antenna in received) < LENGTH:
                for request, antenna in zip((first, second), received, strict=True):
                    request.send(b"\xff")
                    antenna.append(np.frombuffer(request.recv(), "<c8"))
    samples = np.stack([np.concatenate(antenna)[:LENGTH] for antenna in received])
    starts = [found.start for found in Synchronizer(frame, 2).push(samples)]
    assert len(starts) >= 4
    assert set(np.diff(starts)) <= {1535, 1536, 1537}


def test_the_program_in_the_docs(message, ports, address):
    """At ports that are free, in place of the default ones. The channel stands still, so that its powers do."""
    (program,) = programs("docs/guide/virtual-radio.md")
    assert zmq_virtual_radio.ADDRESSES["srsran"].endswith(":2000") and program.count("2000") == 1
    program = program.replace("2000", str(ports))
    transmitter = [SCRIPT, "transmit", message, "--protocol", "srsran", "--address", address, "--doppler", 0]
    with process(*transmitter), process("-c", program) as peer:
        powers = [float(power) for power in output_of(peer).strip("[]\n").split(", ")]
    assert len(powers) == 2 and all(-10 < power < 6 for power in powers)


def test_plain_zmq_peer_answers_as_srsran_does(message, address, ports, tmp_path):
    """Without GNU Radio: samples for each request, in pieces of different lengths on the two antennas."""
    frame = FrameFormat(2, 64, "16qam")
    pdus = list(FileSender(message, max_payload(frame), repeats=1))
    samples = fade(frame, bursts(frame, pdus), 2, doppler=0, profile="tdl-e")
    ended = threading.Event()

    def answer(context, port, antenna, length):
        pieces = itertools.cycle(range(0, len(antenna), length))
        with context.socket(zmq.REP) as reply:
            reply.setsockopt(zmq.RCVTIMEO, 100)
            reply.bind(f"tcp://127.0.0.1:{port}")
            while not ended.is_set():
                with contextlib.suppress(zmq.Again):
                    assert reply.recv() == b"\xff"
                    first = next(pieces)
                    reply.send(antenna[first : first + length].tobytes())

    with zmq.Context() as context:
        peers = [
            threading.Thread(target=answer, args=(context, ports + place, samples[place], length))
            for place, length in enumerate((1920, 777))
        ]
        for peer in peers:
            peer.start()
        options = ["--protocol", "srsran", "--address", address, "--timeout", 60]
        try:
            with process(SCRIPT, "receive", tmp_path / "received", *options) as receiver:
                output_of(receiver)
        finally:
            ended.set()
            for peer in peers:
                peer.join()
    assert (tmp_path / "received").read_bytes() == message.read_bytes()
