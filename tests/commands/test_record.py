# SPDX-License-Identifier: GPL-3.0-or-later
"""kaq record: from a radio, here a recording or a ZMQ peer, to channels that the rest of gr-kaq reads."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gnuradio.gr")
import zmq

import gr_kaq
from gr_kaq.channels.flat import RecordedChannels, complex_normal
from gr_kaq.commands.kaq import main
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.radios.sigmf import RecordingWriter, open_recording

RATE, NOISE_VAR = 2e6, 0.01
TIMEOUT_S = 300


def transmission(num_rx, num_tx, num_frames, seed=1, fft_size=64):
    """Frames over flat channels, one for each: samples (num_rx, n), channels (frames, num_rx, num_tx), starts."""
    rng = np.random.default_rng(seed)
    frame = FrameFormat(num_tx, fft_size)
    h = complex_normal(rng, (num_frames, num_rx, num_tx))
    pieces, starts, position = [], [], 0
    for channel in h:
        data = frame.constellation.points[rng.integers(0, 16, (11, frame.num_data, num_tx))]
        sent = np.pad(frame.modulate(data), ((0, 0), (300, 100 + int(rng.integers(50)))))
        starts.append(position + 300)
        position += sent.shape[1]
        pieces.append(channel @ sent)
    samples = np.concatenate(pieces, axis=1)
    return samples + np.sqrt(NOISE_VAR) * complex_normal(rng, samples.shape), h, np.array(starts)


@pytest.fixture(scope="module")
def transmitted():
    """12 frames of two streams at three antennas."""
    return transmission(3, 2, 12)


@pytest.fixture
def recorded(tmp_path, transmitted):
    """The path of a recording of it."""
    with RecordingWriter(tmp_path / "samples", 3, RATE, 2.4e9) as writer:
        writer.write(transmitted[0])
    return tmp_path / "samples"


def record(path, output, *words):
    return main(["record", "--radio", "recording", "--args", str(path), "--output", str(output), *words])


def alike(h, expected):
    """Whether channels (frames, carriers, rx, tx) are these flat ones, but for phase and scale."""
    for own, wanted in zip(h, expected, strict=True):
        correlations = [np.vdot(c, wanted) / np.linalg.norm(c) / np.linalg.norm(wanted) for c in own]
        assert np.mean(np.abs(correlations)) > 0.98


def test_channels_are_those_of_the_transmission(tmp_path, transmitted, recorded, capsys):
    assert record(recorded, tmp_path / "csi.npz", "--antennas", "3") == 0
    assert "12 frames of 3 antennas, 2 streams, 48 carriers" in capsys.readouterr().out
    _, h, starts = transmitted
    with np.load(tmp_path / "csi.npz") as archive:
        assert archive["h"].shape == (12, 48, 3, 2) and archive["h"].dtype == np.complex64
        alike(archive["h"], h)
        assert np.abs(archive["sample"] - starts).max() <= 2
        assert np.abs(archive["carrier_offset"]).max() < 1e-3
        snr_db = 10 * np.log10(np.mean(np.sum(np.abs(h) ** 2, axis=2), axis=1) / NOISE_VAR)
        assert np.median(np.abs(archive["snr_db"] - snr_db)) < 1
        assert archive["noise_var"] == pytest.approx(NOISE_VAR, rel=0.5)
        assert archive["delay_spread"].shape == archive["doppler"].shape == (12,)
        assert np.array_equal(np.abs(archive["carriers"]) <= 26, np.ones(48, bool))
        assert (archive["sample_rate"], archive["frequency"]) == (RATE, 2.4e9)


def test_the_archive_is_read_by_simulations(tmp_path, recorded, capsys):
    """By channel models, and so by `kaq ber`, the simulator block and training (test_fine_tuning.py)."""
    assert record(recorded, tmp_path / "csi.npz", "--antennas", "3") == 0
    drawn = RecordedChannels(tmp_path / "csi.npz", 3, 2, 48).draw(12)
    assert np.mean(np.abs(drawn) ** 2, axis=(1, 2, 3)) == pytest.approx(1)
    arguments = ["--channel", str(tmp_path / "csi.npz"), "--snr", "20", "--target-errors", "20", "--max-bits", "2e4"]
    assert main(["ber", "measured-3x2-16qam", *arguments]) == 0
    assert "3x2, 16qam, csi.npz" in capsys.readouterr().out


def test_256_carriers_and_one_stream(tmp_path):
    samples, h, _ = transmission(2, 1, 4, fft_size=256)
    with RecordingWriter(tmp_path / "samples", 2, RATE) as writer:
        writer.write(samples)
    words = ["--streams", "1", "--fft-size", "256", "--estimator", "ls"]
    assert record(tmp_path / "samples", tmp_path / "csi.npz", *words) == 0
    with np.load(tmp_path / "csi.npz") as archive:
        assert archive["h"].shape == (4, 192, 2, 1)
        alike(archive["h"], h)
        assert np.isnan(archive["frequency"])


def test_it_ends_after_so_many_frames(tmp_path, transmitted, recorded):
    assert record(recorded, tmp_path / "csi.npz", "--antennas", "3", "--frames", "5") == 0
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], transmitted[1][:5])


def test_it_ends_after_so_much_signal(tmp_path, transmitted, recorded):
    """And records the samples of that time."""
    samples, h, starts = transmitted
    words = ["--antennas", "3", "--seconds", str((starts[4] - 10) / RATE), "--samples", str(tmp_path / "copy")]
    assert record(recorded, tmp_path / "csi.npz", *words) == 0
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], h[:4])
    copy = open_recording(tmp_path / "copy", 3)
    assert np.array_equal(copy.read(), samples[:, : starts[4] - 10].astype(np.complex64))
    assert (copy.sample_rate, copy.frequency) == (RATE, 2.4e9)


def test_a_radio_that_never_ends(tmp_path, transmitted):
    """The end is after --frames; what the radio sends afterwards does not matter."""
    samples, h, _ = transmitted
    message = np.ascontiguousarray(samples.T, np.complex64).tobytes()
    over = threading.Event()
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"

        def send():
            while not over.is_set():
                if socket.poll(50, zmq.POLLOUT):
                    with contextlib.suppress(zmq.Again):  # the receiver has gone meanwhile
                        socket.send(message, zmq.NOBLOCK)

        thread = threading.Thread(target=send)
        thread.start()
        words = ["--radio", "zmq", "--args", address, "--antennas", "3", "--frames", "20"]
        try:
            assert main(["record", *words, "--output", str(tmp_path / "csi.npz")]) == 0
        finally:
            over.set()
            thread.join(TIMEOUT_S)
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], np.concatenate([h, h[:8]]))
        assert np.isnan(archive["sample_rate"])


def test_a_radio_that_falls_silent_after_it_has_sent_enough(tmp_path, transmitted):
    samples, h, _ = transmitted
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        sender = threading.Thread(target=socket.send, args=[np.ascontiguousarray(samples.T, np.complex64).tobytes()])
        sender.start()
        words = ["--radio", "zmq", "--args", address, "--antennas", "3", "--rate", str(RATE)]
        seconds = str((samples.shape[1] - 20) / RATE)
        assert main(["record", *words, "--seconds", seconds, "--output", str(tmp_path / "csi.npz")]) == 0
        sender.join(TIMEOUT_S)
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], h)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--output", "csi.txt"], "ends in .npz expected"),
        (["--output", "no/folder/csi.npz"], "the folder does not exist"),
        (["--samples", "no/folder/samples"], "the folder does not exist"),
        (["--args", "nothing"], "nothing.sigmf-meta: cannot be read"),
        (["--antennas", "4"], "core:num_channels is 3; at least 4 expected"),
        (["--estimator", "guess"], "guess"),
        (["--radio", "zmq", "--args", "tcp://127.0.0.1:1", "--seconds", "1"], "--rate is missing"),
        (["--radio", "zmq", "--args", "tcp://127.0.0.1:1", "--samples", "s"], "--rate is missing"),
        (["--radio", "usrp", "--args", "serial=none", "--freq", "1e9", "--rate", "1e6"], "no USRP found"),
        (["--radio", "soapy", "--args", "driver=lime", "--freq", "1e9", "--rate", "1e6"], "no SoapySDR device found"),
        (["--streams", "4", "--fft-size", "256"], "no frame found in"),
        (["--streams", "5"], "num_tx is 5; at most 4 expected with 64 carriers"),
        (["--seconds", "1e300"], "--seconds is 1e+300; at most"),
        (
            ["--radio", "zmq", "--args", "tcp://127.0.0.1:1", "--rate", "1e300", "--seconds", "1"],
            "--seconds is 1; at most",
        ),
    ],
)
def test_what_cannot_be_done(words, named, tmp_path, recorded, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert record(recorded, "csi.npz", "--antennas", "3", *words) == 2
    shown = capfd.readouterr().err
    assert "kaq record: error: " in shown and named in shown and "Traceback" not in shown
    assert not list(tmp_path.glob("csi*"))


@pytest.mark.parametrize("words", [["--frames", "0"], ["--frames", "x"], ["--seconds", "-1"], ["--streams", "9"]])
def test_bad_command_lines(words, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        record(tmp_path / "samples", "csi.npz", *words)


@pytest.mark.usefixtures("control_c")
def test_control_c_keeps_what_was_received(tmp_path, transmitted):
    """As a process, since it is the process that gets the signal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(gr_kaq.__file__).parents[1])}
    message = np.ascontiguousarray(transmitted[0].T, np.complex64).tobytes()
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        words = ["--radio", "zmq", "--args", address, "--antennas", "3", "--output", str(tmp_path / "csi.npz")]
        command = [sys.executable, "-m", "gr_kaq", "record", *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert socket.poll(1000 * TIMEOUT_S, zmq.POLLOUT)
            socket.send(message)
            for line in process.stderr:  # a line a second; the last frame waits for samples after it
                if not line.startswith("0 samples"):
                    break
            process.send_signal(signal.SIGINT)
            _, shown = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and "Traceback" not in shown
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], transmitted[1][: len(archive["h"])])


@contextlib.contextmanager
def receiving(tmp_path, samples):
    """The command as a process, at a peer that has sent these samples; it is killed if it is not over at the end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(gr_kaq.__file__).parents[1])}
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        words = ["--radio", "zmq", "--args", address, "--antennas", "3", "--output", str(tmp_path / "csi.npz")]
        command = [sys.executable, "-m", "gr_kaq", "record", *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            try:
                assert socket.poll(1000 * TIMEOUT_S, zmq.POLLOUT)
                socket.send(np.ascontiguousarray(samples.T, np.complex64).tobytes())
                yield process
            finally:
                process.kill()


def test_sigterm_keeps_what_was_received(tmp_path, transmitted):
    with receiving(tmp_path, transmitted[0]) as process:
        for line in process.stderr:  # a line a second; the last frame waits for samples after it
            if not line.startswith("0 samples"):
                break
        process.terminate()
        _, shown = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143 and "Traceback" not in shown
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], transmitted[1][: len(archive["h"])])
    assert not list(tmp_path.glob("*.part"))


def test_frames_are_kept_on_the_way(tmp_path, transmitted):
    """A power cut does not ask."""
    with receiving(tmp_path, transmitted[0]) as process:
        lines = 0
        for line in process.stderr:  # a line a second, before the frames are written
            lines += not line.startswith("0 samples")
            if lines == 2:
                break
        process.kill()
        process.wait(TIMEOUT_S)
    with np.load(tmp_path / "csi.npz") as archive:
        assert len(archive["h"]) >= 5
        alike(archive["h"], transmitted[1][: len(archive["h"])])


@contextlib.contextmanager
def full_disk(num_bytes):
    """Files become no longer than that; the error is another one than that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_frames_on_a_full_disk(tmp_path, transmitted, recorded, capfd):
    """As many as fit are there, and the error has both counts."""
    frame_bytes = 48 * 3 * 2 * 8
    with full_disk(8 * frame_bytes):
        assert record(recorded, tmp_path / "csi.npz", "--antennas", "3") == 2
    shown = capfd.readouterr()
    assert "csi.npz: File too large; 6 of 12 frames are in it" in shown.err
    assert "6 frames of 3 antennas" in shown.out
    with np.load(tmp_path / "csi.npz") as archive:
        alike(archive["h"], transmitted[1][:6])
    assert not list(tmp_path.glob("*.part"))


def test_samples_on_a_full_disk(tmp_path, transmitted, recorded, capfd):
    """GNU Radio's sink says nothing, and the command used to end with status 0."""
    num_samples = transmitted[0].shape[1]
    with full_disk(1 << 17):
        assert record(recorded, tmp_path / "csi.npz", "--antennas", "3", "--samples", str(tmp_path / "copy")) == 2
    left = (1 << 17) // 24
    assert f"{left} of {num_samples} samples are in the file; is the disk full?" in capfd.readouterr().err
    copy = open_recording(tmp_path / "copy", 3)
    assert np.array_equal(copy.read(), transmitted[0][:, :left].astype(np.complex64)) and copy.rest_bytes
    with np.load(tmp_path / "csi.npz") as archive:
        assert len(archive["h"]) == 12


def test_an_archive_that_cannot_be_written_is_said_at_the_start(tmp_path, recorded, capfd, monkeypatch):
    monkeypatch.setattr("gr_kaq.commands.record._Receiver", None)  # nothing is received
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "part.npz.part").mkdir()
    assert record(recorded, tmp_path / "folder.npz") == 2
    assert record(recorded, tmp_path / "part.npz") == 2
    shown = capfd.readouterr().err.splitlines()
    for line, said in zip(shown, ("is a folder", "Is a directory"), strict=True):
        assert line.startswith("kaq record: error: ") and said in line


def test_no_more_frames_than_a_recording_may_hold(tmp_path, recorded, capfd, monkeypatch):
    """What it writes can be read."""
    monkeypatch.setattr("gr_kaq.commands.record.MAX_ENTRIES", 7 * 48 * 3 * 2 + 1)
    assert record(recorded, tmp_path / "csi.npz", "--antennas", "3", "--frames", "8") == 2
    assert "at most 7 expected" in capfd.readouterr().err
    assert record(recorded, tmp_path / "csi.npz", "--antennas", "3") == 0
    with np.load(tmp_path / "csi.npz") as archive:
        assert len(archive["h"]) == 7
