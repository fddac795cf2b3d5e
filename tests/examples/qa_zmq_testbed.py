# SPDX-License-Identifier: GPL-3.0-or-later
"""The ZMQ testbed: the script, the GRC flowgraph between real processes, and the program that the docs print."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gr_kaq.testbed.zmq_frames import Tag, encode_frame
from tests.blocks.flowgraphs import wait_until
from tests.pages import programs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "zmq_testbed.py"
DOCS = (ROOT / "docs" / "guide" / "zmq-testbed.md").read_text()
TIMEOUT = 300


def run(*command, **options):
    return subprocess.run(
        [sys.executable, *map(str, command)], check=False, capture_output=True, text=True, timeout=TIMEOUT, **options
    )


@contextlib.contextmanager
def process(*command):
    running = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=TIMEOUT)


@pytest.fixture(scope="session")
def flowgraph(tmp_path_factory):
    """The GRC flowgraph, compiled."""
    directory = tmp_path_factory.mktemp("grc")
    environment = os.environ | {"GRC_BLOCKS_PATH": str(ROOT / "grc")}
    command = ["grcc", "-o", directory, ROOT / "examples" / "zmq_testbed.grc"]
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=TIMEOUT)
    assert result.returncode == 0, result.stdout + result.stderr
    return directory / "zmq_testbed_flowgraph.py"


@pytest.fixture()
def addresses():
    """Two that are free."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return [f"tcp://127.0.0.1:{server.getsockname()[1]}" for server in (first, second)]


def ber(output):
    found = re.search(r"^BER (\S+) ", output, re.MULTILINE)
    assert found, output
    return float(found[1])


def test_script():
    result = run(SCRIPT, "--estimates", 20, "--num-subcarriers", 3, "--snr", 18, "--timeout", 20)
    assert result.returncode == 0, result.stderr
    assert 1e-4 < ber(result.stdout) < 4e-2
    assert "vectors/s" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--snr", -10], "the BER is above 0.05"),
        (["--detector", "nonsense"], "no detector 'nonsense'"),
        (["--num-rx", 7, "--detector", "zf"], "detector zf needs num_rx >= num_tx"),
        (["--vectors", 0], "1 or more expected"),
    ],
)
def test_script_fails(arguments, message):
    result = run(SCRIPT, "--estimates", 5, "--timeout", 20, *arguments)
    assert result.returncode == 1
    assert message in result.stderr


def test_help():
    for command in ([SCRIPT], ["-m", "gr_kaq.testbed"], ["-m", "gr_kaq.testbed", "produce"]):
        result = run(*command, "--help")
        assert result.returncode == 0
        assert "usage" in result.stdout


LINK = ["--num-tx", 8, "--vectors", 14, "--seed", 7]
PRODUCE = ["-m", "gr_kaq.testbed", "produce", "--num-rx", 8, "--snr", 18, *LINK]
CONSUME = ["-m", "gr_kaq.testbed", "consume", *LINK]


def test_grc_flowgraph_survives_a_producer_that_stops_and_comes_back(flowgraph, addresses):
    source, sink = addresses
    with (
        process(flowgraph, "--source-address", source, "--sink-address", sink) as running,
        process(*CONSUME, "--address", sink, "--estimates", 60, "--timeout", 20) as consumer,
    ):
        for first in (0, 20, 40):
            result = run(*PRODUCE, "--address", source, "--estimates", 20, "--first-estimate", first)
            assert result.returncode == 0, result.stderr
        output = consumer.communicate(timeout=TIMEOUT)[0]
        assert consumer.returncode == 0, output
        assert 1e-4 < ber(output) < 4e-2
        assert running.poll() is None


def test_grc_flowgraph_survives_a_producer_that_is_killed(flowgraph, addresses):
    source, sink = addresses
    with (
        process(flowgraph, "--source-address", source, "--sink-address", sink) as running,
        process(*CONSUME, "--address", sink, "--estimates", 1000, "--timeout", 20) as consumer,
    ):
        with process(*PRODUCE, "--address", source, "--rate", 2000) as producer:
            assert "sending" in producer.stdout.readline()
            time.sleep(0.5)
        # what was sent in vain costs its own symbols only, because the estimates are numbered
        result = run(*PRODUCE, "--address", source, "--first-estimate", 1000)
        assert result.returncode == 0, result.stderr
        output = consumer.communicate(timeout=TIMEOUT)[0]
        assert consumer.returncode == 0, output
        assert 1e-4 < ber(output) < 4e-2
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=TIMEOUT) == 0


def test_flowgraph_stops_while_nobody_takes_what_it_sends(flowgraph, addresses):
    source, sink = addresses
    with process(flowgraph, "--source-address", source, "--sink-address", sink) as running:
        result = run(*PRODUCE, "--address", source, "--estimates", 100)
        assert result.returncode == 0, result.stderr
        wait_until(lambda: catches(running.pid, signal.SIGTERM))  # ZMQ takes what is sent before that
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=TIMEOUT) == 0


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(mask, 16) >> (number - 1) & 1


def test_nobody_there(addresses):
    for command in (PRODUCE, CONSUME):
        result = run(*command, "--address", addresses[0], "--timeout", 0.2)
        assert result.returncode == 1
        assert re.search("no (receiver|frame) .* within 0.2 s", result.stderr)


def test_the_program_in_the_docs(flowgraph, addresses):
    """At addresses that are free, in place of the default ones."""
    (program,) = programs("docs/guide/zmq-testbed.md")
    for end, address in zip(("Producer(num_rx=8, num_tx=8", "Consumer(num_streams=8"), addresses, strict=True):
        assert program.count(f"{end})") == 1
        program = program.replace(end, f"{end}, address={address!r}")
    with process(flowgraph, "--source-address", addresses[0], "--sink-address", addresses[1]):
        result = run("-c", program)
    assert result.returncode == 0, result.stderr
    errors = int(re.fullmatch(r"(\d+) of 8960 bits wrong\n", result.stdout)[1])
    assert errors < 0.04 * 8960


def test_the_frame_in_the_docs():
    printed = re.search(r"is\n\n((?:    [0-9a-f ]+\n)+)", DOCS)[1]
    samples = np.array([1, 1j], np.complex64)
    assert encode_frame(samples.tobytes(), 0, [Tag(0, "snr", 20.0)]) == bytes.fromhex(printed)
