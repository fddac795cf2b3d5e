# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/recorder.py: what the radio sends is in the recording, and what cannot be done is said."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import zmq

from gr_kaq.channels.flat import complex_normal
from gr_kaq.radios.sigmf import RecordingWriter, open_recording

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
import recorder

RATE, TIMEOUT_S = 1e6, 300


@pytest.fixture
def record(capfd):
    """The script: exit status, output, errors."""

    def run(*words):
        status = recorder.main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def samples():
    return 0.1 * complex_normal(np.random.default_rng(1), (3, 100_000))


class Radio:
    """A ZMQ testbed that sends the samples once."""

    def __init__(self, samples):
        self._message = np.ascontiguousarray(samples.T, np.complex64).tobytes()

    def __enter__(self):
        self._socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        threading.Thread(target=self._send, daemon=True).start()
        return self

    def _send(self):
        if self._socket.poll(1000 * TIMEOUT_S, zmq.POLLOUT):
            self._socket.send(self._message)

    def __exit__(self, *exception):
        self._socket.close()


def test_a_radio_is_recorded(tmp_path, samples, record):
    """Exactly as long as asked for, though the radio goes on, and with what is known of it."""
    with Radio(samples) as radio:
        words = ["--radio", "zmq", "--args", radio.address, "--antennas", 3, "--rate", RATE, "--freq", 1e9]
        status, output, errors = record(*words, "--output", tmp_path / "r", "--seconds", 0.08)
    assert status == 0, errors
    assert "80000 samples (0.080 s) of 3 antennas" in output and "antenna 2: -20." in output
    recording = open_recording(tmp_path / "r", 3)
    assert (recording.sample_rate, recording.frequency) == (RATE, 1e9)
    assert np.array_equal(recording.read(), samples[:, :80_000])


def test_a_part_of_a_recording_is_copied(tmp_path, samples, record):
    """It is shorter than asked for: what there is."""
    with RecordingWriter(tmp_path / "r", 3, RATE, datatype="ci16_le") as writer:
        writer.write(samples)
    words = ["--radio", "recording", "--args", tmp_path / "r", "--antennas", 2]
    assert record(*words, "--output", tmp_path / "copy")[0] == 0
    copy = open_recording(tmp_path / "copy")
    assert copy.num_channels == 2 and np.abs(copy.read() - samples[:2]).max() < 1e-4


@pytest.mark.usefixtures("control_c")
def test_control_c_keeps_what_was_recorded(tmp_path, samples):
    with Radio(samples) as radio:
        words = ["--radio", "zmq", "--args", radio.address, "--antennas", 3, "--rate", RATE, "--seconds", 100]
        with subprocess.Popen(
            [sys.executable, EXAMPLES / "recorder.py", *map(str, words), "--output", tmp_path / "r"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            process.stderr.readline()  # a line a second
            process.send_signal(signal.SIGINT)
            shown, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    recorded = open_recording(tmp_path / "r", 3).read()
    assert recorded.shape[1] > 50_000 and np.array_equal(recorded, samples[:, : recorded.shape[1]])
    assert f"{recorded.shape[1]} samples" in shown


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--radio", "zmq", "--args", "tcp://127.0.0.1:1"], "--rate is missing"),
        (["--radio", "usrp", "--args", "serial=none", "--freq", "1e9", "--rate", "1e6"], "no USRP found"),
        (["--radio", "recording", "--args", "nothing"], "nothing.sigmf-meta: cannot be read"),
        (["--radio", "zmq", "--args", "tcp://127.0.0.1:1", "--rate", "1e6", "--output", "no/r"], "no/r"),
    ],
)
def test_what_cannot_be_done(tmp_path, words, named, record):
    status, _, errors = record("--output", tmp_path / "r", *words)
    assert status == 2 and "recorder: error: " in errors and named in errors


def test_a_bad_command_line(tmp_path, record):
    with pytest.raises(SystemExit, match="2"):
        record("--radio", "zmq", "--args", "tcp://127.0.0.1:1", "--output", tmp_path / "r", "--seconds", "0")
