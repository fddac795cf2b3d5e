# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver that the scripts share, from recordings: a file comes out, and bad input costs its own frames only.

What a radio delivers on a bad day (lost samples, an antenna that is dead, saturated or swapped, noise, two transmitters
at once, an early end) is counted, and the frame that follows is received.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

from gr_kaq import FrameFormat
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.frames.payload import max_payload
from gr_kaq.radios.sigmf import RecordingWriter
from tests.blocks.flowgraphs import run_to_end
from tests.examples.radio_link import GAP, bursts, fade

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))
import receiver_script

from gr_kaq.radios import recording_source

FRAME = FrameFormat(2, 64, "qpsk")
LENGTH = FRAME.frame_length + GAP
FRAMES = 6
NUM_RX = 3
TIMEOUT = 300


def options(**values):
    link = {"num_tx": 2, "fft_size": 64, "constellation": "qpsk"}
    receiver = {"detector": "lmmse", "estimator": "lmmse", "output": None, "publish": None}
    return argparse.Namespace(**link | receiver | values)


def payload(number):
    return bytes([number]) * max_payload(FRAME)


def on_air(num_rx=NUM_RX, **channel):
    """Samples (num_rx, n) of FRAMES frames, and where each begins."""
    samples = fade(FRAME, bursts(FRAME, [payload(number) for number in range(FRAMES)]), num_rx, **channel)
    return samples, [12 + 1024 + number * LENGTH for number in range(FRAMES)]


class Received:
    """Which payloads came out of the receiver, and what it counted."""

    def __init__(self, radio, num_rx=NUM_RX):
        flowgraph = receiver_script.receiver_flowgraph(radio, num_rx, options())
        store = blocks.message_debug()
        flowgraph.msg_connect(flowgraph.receiver, "pdus", store, "store")
        run_to_end(flowgraph)
        messages = [store.get_message(place) for place in range(store.num_messages())]
        payloads = [bytes(pmt.u8vector_elements(pmt.cdr(message))) for message in messages]
        self.numbers = [data[0] for data in payloads]
        assert payloads == [payload(number) for number in self.numbers]
        self.counters = flowgraph.receiver.stats()
        self.summary = receiver_script.summary(flowgraph)
        for part, counters in self.counters.items():
            assert not counters.get("internal_errors"), part


@pytest.fixture()
def receive(tmp_path):
    """Records samples, and receives the recording."""

    def receive(samples):
        with RecordingWriter(tmp_path / "air", len(samples), 2e6, 2.45e9) as writer:
            writer.write(samples)
        return Received(recording_source(tmp_path / "air", len(samples)), len(samples))

    return receive


def test_all_frames(receive):
    received = receive(on_air()[0])
    assert received.numbers == [0, 1, 2, 3, 4, 5]
    assert received.summary == "nothing went wrong"


def test_samples_missing(receive):
    """200 samples in the middle of frame 2 are not there, and nothing says so: its second half is garbage."""
    samples, starts = on_air()
    lost = starts[2] + LENGTH // 2
    received = receive(np.delete(samples, np.s_[lost : lost + 200], axis=1))
    assert received.numbers == [0, 1, 3, 4, 5]
    assert received.counters["decoder"]["block_errors"] == 1


def test_overrun_that_the_radio_reports():
    """UHD puts the time on all channels again when it has lost samples: the frame is given up at once."""
    samples, starts = on_air()
    lost = starts[2] + LENGTH // 2
    tags = []
    for item, time in ((0, 0), (lost, lost + 400)):
        for key, value in (
            ("rx_time", pmt.make_tuple(pmt.from_uint64(7), pmt.from_double(time / 2e6))),
            ("rx_rate", pmt.from_double(2e6)),
        ):
            tag = gr.tag_t()
            tag.offset, tag.key, tag.value = item, pmt.intern(key), value
            tags.append(tag)
    samples = np.delete(samples, np.s_[lost : lost + 400], axis=1)
    radio = gr.hier_block2("radio", gr.io_signature(0, 0, 0), gr.io_signature(NUM_RX, NUM_RX, 8))
    radio.sample_rate = 2e6
    for antenna in range(NUM_RX):
        radio.connect(blocks.vector_source_c(samples[antenna], False, 1, tags), (radio, antenna))
    received = Received(radio)
    assert received.numbers == [0, 1, 3, 4, 5]
    assert received.counters["synchronizer"]["gaps"] == 1
    assert received.counters["synchronizer"]["incomplete_frames"] == 1
    assert received.counters["decoder"]["block_errors"] == 0
    assert "gaps 1" in received.summary


def test_dead_antenna(receive):
    """Two of the three antennas are enough for two streams."""
    received = receive(on_air(antenna_gains_db=[0, -np.inf, 0])[0])
    assert received.numbers == [0, 1, 2, 3, 4, 5]
    assert received.counters["synchronizer"]["dead_antennas"] == [0, 6, 0]
    assert "dead_antennas [0, 6, 0]" in received.summary


def test_antenna_that_dies_and_comes_back(receive):
    """From the middle of frame 1 to the middle of frame 3: with two antennas left, 2 and 4 must come, 1 and 3 may."""
    samples, starts = on_air()
    samples[2, starts[1] + LENGTH // 2 : starts[3] + LENGTH // 2] = 0
    received = receive(samples)
    assert {0, 2, 4, 5} <= set(received.numbers)
    assert received.counters["synchronizer"]["dead_antennas"] == [0, 0, 1]


def test_saturated_antenna(receive):
    """Clipped at its RMS value: the frames come all the same, as they are QPSK, and the antenna is named."""
    samples, _ = on_air()
    level = np.sqrt(np.mean(np.abs(samples[1]) ** 2) / 2)
    samples[1] = np.clip(samples[1].real, -level, level) + 1j * np.clip(samples[1].imag, -level, level)
    received = receive(samples)
    assert received.numbers == [0, 1, 2, 3, 4, 5]
    assert received.counters["synchronizer"]["saturated_antennas"] == [0, 6, 0]


def test_antennas_that_are_swapped(receive):
    """The order of the antennas does not matter, as long as it stays for a frame: only frame 2 may be lost."""
    samples, starts = on_air()
    swap = starts[2] + LENGTH // 2
    samples[:2, swap:] = samples[1::-1, swap:]
    received = receive(samples)
    assert {0, 1, 3, 4, 5} <= set(received.numbers)
    assert received.counters["decoder"]["block_errors"] == 6 - len(received.numbers)


def test_noise_in_front(receive):
    """A second of noise holds no frame; the first one behind it is received."""
    samples, _ = on_air()
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((NUM_RX, 2_000_000, 2)).astype(np.float32).view(np.complex64)[..., 0]
    received = receive(np.concatenate([noise, samples], axis=1))
    assert received.numbers == [0, 1, 2, 3, 4, 5]
    assert received.counters["synchronizer"]["frames"] == 6


def test_preamble_without_frame(receive):
    """Noise follows the preamble of frame 2: a block error if the frame is taken for one, and no more."""
    samples, starts = on_air()
    rng = np.random.default_rng(1)
    begin, end = starts[2] + FRAME.preamble_length, starts[3] - 20
    samples[:, begin:end] = rng.standard_normal((NUM_RX, end - begin, 2)).view(np.complex128)[..., 0]
    received = receive(samples)
    assert received.numbers == [0, 1, 3, 4, 5]
    assert received.counters["decoder"]["block_errors"] <= 1


def test_two_transmitters_at_once(receive):
    """A frame of another transmitter begins in the middle of frame 2: both collide, and are counted."""
    samples, starts = on_air()
    other = fade(FRAME, bursts(FRAME, [payload(99)]), NUM_RX, seed=7, clock_offset_ppm=0)[:, : LENGTH + 12]
    begin = starts[2] + FRAME.frame_length // 2
    samples[:, begin : begin + other.shape[1]] += other
    received = receive(samples)
    assert {0, 1, 4, 5} <= set(received.numbers)
    assert received.counters["synchronizer"]["overlapping_frames"] >= 1


def test_early_end(receive):
    """The recording ends within a frame: the frames before it are all there."""
    samples, starts = on_air()
    received = receive(samples[:, : starts[4] + LENGTH // 2])
    assert received.numbers == [0, 1, 2, 3]
    assert received.counters["synchronizer"]["cut_frames"] == 1
    assert received.summary == "nothing went wrong"


def test_nan_and_infinity(receive):
    samples, starts = on_air()
    samples[0, starts[1] + 500] = np.nan
    samples[1, starts[3] - 100] = np.inf
    received = receive(samples)
    assert {0, 2, 3, 4, 5} <= set(received.numbers)
    assert received.counters["synchronizer"]["invalid_samples"] == 2


# The script


def run(*arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / "recording_receiver.py", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


LINK = ["--num-tx", 2, "--constellation", "qpsk", "--detector", "lmmse"]


@pytest.fixture(scope="module")
def message(tmp_path_factory):
    """A file of 1500 bytes, and a recording of it, of three antennas."""
    directory = tmp_path_factory.mktemp("message")
    path = directory / "message"
    path.write_bytes(np.random.default_rng(1).bytes(1500))
    pdus = list(FileSender(path, max_payload(FRAME), repeats=1))
    with RecordingWriter(directory / "air", 3, 2e6, 2.45e9) as writer:
        writer.write(fade(FRAME, bursts(FRAME, pdus), 3))
    return path, directory / "air.sigmf-meta", len(pdus)


def test_file_from_a_recording(message, tmp_path):
    path, recording, frames = message
    result = run(tmp_path / "received", "--args", recording, "--antennas", 3, *LINK)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "received").read_bytes() == path.read_bytes()
    assert f"{frames} frames, 0 block errors, SNR " in result.stdout
    offset = float(re.search(r"carrier ([+-]\d+) Hz", result.stdout)[1])
    assert abs(offset - 5000) < 200
    assert f"file {frames - 1}/{frames - 1}" in result.stdout
    assert "nothing went wrong" in result.stdout


def test_figures_only(message):
    """Without a file to write, the status says whether a payload came: two of the three antennas are enough."""
    result = run("--args", message[1], "--antennas", 2, *LINK)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the samples have ended" in result.stdout
    result = run("--args", message[1], "--antennas", 2, "--num-tx", 1, "--detector", "lmmse")
    assert result.returncode == 1
    assert re.search(r" (\d+) frames, \1 block errors\n", result.stdout)


def test_file_that_stays_incomplete(message, tmp_path):
    """The recording of another constellation holds no payload: nothing is written, and the status is 1."""
    result = run(tmp_path / "received", "--args", message[1], "--antennas", 3, "--num-tx", 2)
    assert result.returncode == 1
    assert "file not announced" in result.stdout
    assert f"block_errors {message[2]}" in result.stdout
    assert not (tmp_path / "received").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--args", "nowhere.sigmf-meta"], "nowhere.sigmf-meta: cannot be read: No such file or directory"),
        ([], "--args is empty"),
        (["--args", "RECORDING", "--antennas", 4], "core:num_channels is 3; at least 4 expected"),
        (["--args", "RECORDING", "--num-tx", 5], "num_tx is 5; at most 4 expected with 64 carriers"),
        (["--args", "RECORDING", "--fft-size", 63], "fft_size is 63; one of 64, 256, 512, 1024, 2048 expected"),
        (["--args", "RECORDING", "--detector", "nonsense"], "no detector 'nonsense'"),
        (["--args", "RECORDING", "--estimator", "nonsense"], "nonsense"),
        (["nowhere/file", "--args", "RECORDING"], "the directory nowhere does not exist"),
    ],
)
def test_wrong_arguments(message, arguments, text, monkeypatch, capsys):
    arguments = [str(message[1] if argument == "RECORDING" else argument) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["recording_receiver.py", *arguments])
    assert receiver_script.main("recording", "") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("recording_receiver: ") and text in line
