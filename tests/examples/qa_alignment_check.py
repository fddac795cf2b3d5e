# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/alignment_check.py finds the misalignments that were put in, and nothing else."""

import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import zmq

from gr_kaq.channels.flat import complex_normal
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.radios.sigmf import RecordingWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import alignment_check

RATE = 2e6


@pytest.fixture
def check(capsys):
    """The script: exit status, output, errors."""

    def run(*words):
        status = alignment_check.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def received(num_rx, num_frames=40, snr_db=25, noise=None):
    """Frames of two streams over a flat channel that stays, with a carrier offset, (num_rx, n)."""
    rng = np.random.default_rng(1)
    frame = FrameFormat(2)
    data = frame.constellation.points[rng.integers(0, 16, (num_frames, 11, frame.num_data, 2))]
    sent = np.concatenate([np.pad(frame.modulate(d), ((0, 0), (300, 400))) for d in data], axis=1)
    h = complex_normal(rng, (num_rx, 2))
    h /= np.linalg.norm(h, axis=1, keepdims=True) / 2**0.5
    samples = h @ sent * np.exp(2j * np.pi * 1e-3 * np.arange(sent.shape[1]))
    return samples + 10 ** (-snr_db / 20) * 2**0.5 * complex_normal(rng, samples.shape)


def delayed(samples, delay):
    """By a fraction of a sample, around the end."""
    turns = np.fft.fftfreq(len(samples)) * delay
    return np.fft.ifft(np.fft.fft(samples) * np.exp(-2j * np.pi * turns))


def write(path, samples):
    with RecordingWriter(path, len(samples), RATE) as writer:
        writer.write(samples)
    return ["--radio", "recording", "--args", path, "--antennas", len(samples)]


def rows(output):
    """Per antenna: start, offset, drift, phase, gain, SNR, frames, dead, saturated."""
    lines = re.findall(r"^ +\d+ +([-\d. ]+?)(?:  not aligned)?$", output, re.MULTILINE)
    return [[float(x) for x in line.split()] for line in lines]


def test_aligned_antennas_are_aligned(tmp_path, check):
    status, output, _ = check(*write(tmp_path / "r", received(4)))
    assert status == 0 and output.endswith("\naligned\n"), output
    for start, _, drift, phase, gain, snr, frames, dead, saturated in rows(output):
        assert abs(start) < 0.1 and abs(drift) < 2 and phase < 5 and abs(gain) < 0.5 and abs(snr - 25) < 2
        assert (frames, dead, saturated) == (40, 0, 0)


def test_misalignments_are_measured(tmp_path, check):
    """Late and early starts, with a fraction; another oscillator; another gain."""
    samples = received(5)
    time = np.arange(samples.shape[1])
    samples[1] = delayed(samples[1], 37.25)
    samples[2] = delayed(samples[2], -150)
    samples[3] *= np.exp(2j * np.pi * 40 / RATE * time)
    samples[4] *= 0.5
    status, output, _ = check(*write(tmp_path / "r", samples))
    assert status == 1 and "NOT aligned" in output
    measured = rows(output)
    assert [row[0] for row in measured] == pytest.approx([0, 37.25, -150, 0, 0], abs=0.1)
    assert [row[2] for row in measured] == pytest.approx([0, 0, 0, 40, 0], abs=2)
    assert [row[4] for row in measured] == pytest.approx([0, 0, 0, 0, -6], abs=0.5)
    assert [line.endswith("not aligned") for line in output.splitlines()[2:7]] == [0, 1, 1, 0, 0]


def test_another_reference_is_not_aligned(tmp_path, check):
    """At 2.4 GHz, 1 ppm is 2.4 kHz: the phase turns by more than once between frames."""
    samples = received(2)
    samples[1] *= np.exp(2j * np.pi * 2400 / RATE * np.arange(samples.shape[1]))
    status, output, _ = check(*write(tmp_path / "r", samples))
    assert status == 1
    assert rows(output)[1][1] == pytest.approx(2400, rel=0.1)


def test_dead_and_saturated_antennas_are_named(tmp_path, check):
    samples = received(3)
    samples[1] = 0
    samples[2] = np.clip(samples[2].real, -0.3, 0.3) + 1j * np.clip(samples[2].imag, -0.3, 0.3)
    status, output, _ = check(*write(tmp_path / "r", samples))
    assert status == 1
    dead, saturated = output.splitlines()[3:5]
    assert "hears no frame" in dead and dead.split()[-4:] == ["40", "0", "not", "aligned"]
    assert saturated.split()[-2:] == ["0", "40"]


@pytest.mark.parametrize("level", [0, 1e-4])
def test_a_reference_that_hears_nothing(tmp_path, check, level):
    """The others are compared with the first one that hears the frames."""
    samples = received(3)
    samples[0] = level * complex_normal(np.random.default_rng(2), samples[0].shape)
    status, output, _ = check(*write(tmp_path / "r", samples))
    assert status == 1 and "compared with antenna 1; antenna 0 hears none" in output
    dead, reference, other = output.splitlines()[2:5]
    assert "hears no frame" in dead and dead.split()[-2:] == ["not", "aligned"]
    assert not any("not aligned" in row for row in (reference, other))


def test_from_a_radio(check):
    """It listens for so many seconds."""
    samples = received(2)
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        message = np.ascontiguousarray(samples.T, np.complex64).tobytes()
        sender = threading.Thread(target=socket.send, args=[message], daemon=True)
        sender.start()
        seconds = 0.9 * samples.shape[1] / RATE
        words = ["--radio", "zmq", "--args", address, "--rate", RATE]
        status, output, errors = check(*words, "--seconds", seconds)
        assert status == 0 and "36 frames" in output, output + errors
        assert "--rate is missing" in check(*words[:4])[2]


def test_nothing_to_compare(tmp_path, check):
    noise = complex_normal(np.random.default_rng(1), (2, 20_000))
    status, output, _ = check(*write(tmp_path / "r", noise))
    assert status == 1 and "no frame found" in output
    status, _, errors = check("--radio", "recording", "--args", tmp_path / "nothing")
    assert status == 2 and errors.startswith("alignment_check: error: ")
    status, _, errors = check(*write(tmp_path / "r", noise)[:4], "--antennas", 3)
    assert status == 2 and "core:num_channels is 2; at least 3 expected" in errors
