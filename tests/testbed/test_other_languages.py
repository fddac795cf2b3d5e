# SPDX-License-Identifier: GPL-3.0-or-later
"""The producers in C and in Octave: a detector in a flowgraph gets their samples and estimates, and detects all."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

gr = pytest.importorskip("gnuradio.gr")
from gnuradio import zeromq

import gr_kaq
from gr_kaq.testbed import Consumer

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKETS, ITEMS = 20, 14


def in_c(folder):
    compiler = shutil.which("cc")
    if not compiler or subprocess.run(["pkg-config", "--exists", "libzmq"], check=False).returncode:
        pytest.skip("needs a C compiler and libzmq3-dev")
    program = folder / "zmq_producer"
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([compiler, "-O2", *warnings, "-o", program, EXAMPLES / "zmq_producer.c", "-lzmq", "-lm"], check=True)
    return [program]


def in_octave(folder):
    octave = shutil.which("octave")
    if not octave or subprocess.run([octave, "--no-gui", "--eval", "pkg load zeromq"], check=False).returncode:
        pytest.skip("needs octave and octave-zeromq")
    return ["octave", "--no-gui", EXAMPLES / "zmq_producer.m"]


@pytest.mark.parametrize("language", [in_c, in_octave])
def test_what_it_sends_is_detected(language, tmp_path):
    command = language(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    flowgraph = gr.top_block()
    source = zeromq.pull_source(gr.sizeof_gr_complex, 2, address, 100, True)
    detector = gr_kaq.detector("auto", 2, 2, 1, "qpsk", vector_ports=True)
    sink = zeromq.push_sink(gr.sizeof_gr_complex, 2, "tcp://127.0.0.1:*", 100, True)
    flowgraph.connect(source, detector, sink)
    flowgraph.start()
    try:
        with Consumer(num_streams=2, address=sink.last_endpoint()) as consumer:
            with subprocess.Popen([*map(str, command), address, str(PACKETS)]) as producer:
                found = []
                while sum(map(len, found)) < PACKETS * ITEMS:
                    found.append(consumer.receive(timeout=300).items[:, :, 0])
            assert producer.returncode == 0
    finally:
        flowgraph.stop()
        flowgraph.wait()
    item = np.tile(np.arange(ITEMS), PACKETS)[:, None]
    stream = np.arange(2)
    sent = (1 - 2 * ((item + stream) % 2) + 1j * (1 - 2 * (item // 2 % 2))) / np.sqrt(2)
    np.testing.assert_allclose(np.concatenate(found), sent, atol=0.05)
    assert (detector.csi_updates(), detector.rejected_csi(), detector.items_without_csi()) == (PACKETS, 0, 0)
