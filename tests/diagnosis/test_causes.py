# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cause of docs/guide/lost-frames.md, in a recording that `kaq receive --explain` reads."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("gnuradio.gr")

from gr_kaq.channels.interference import Interferer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.commands.kaq import main
from gr_kaq.detection.detectors import load_detector
from gr_kaq.diagnosis.causes import Diagnostician
from gr_kaq.diagnosis.frame_reading import FrameReader
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.frames.synchronization import Synchronizer
from gr_kaq.radios.sigmf import RecordingWriter, open_recording

SPACING = 31250.0
FRAME = FrameFormat(2)
GAP, LEAD = 1500, 900


def transmission(frame=FRAME, count=2, num_rx=2, payloads=None, matrix=None, seed=4, snr_db=25.0, **channel):
    """Samples (num_rx, n) with so many frames."""
    rng, coder = np.random.default_rng(seed), PayloadCoder(frame)
    if payloads is None:
        payloads = [rng.bytes(max_payload(frame)) for _ in range(count)]
    pieces = [np.zeros((frame.num_tx, LEAD), np.complex64)]
    for payload in payloads:
        sent = frame.modulate(frame.map_bits(coder.encode(payload)))
        pieces += [sent if matrix is None else matrix @ sent, np.zeros((frame.num_tx, GAP), np.complex64)]
    settings = {"sample_rate": SPACING * frame.fft_size, "profile": "tdl-a", "delay_spread": 100e-9} | channel
    air = RadioChannel(num_rx, frame.num_tx, snr_db=snr_db, seed=seed, **settings)
    return air.process(np.concatenate(pieces, axis=1).astype(np.complex64))


@pytest.fixture
def explain(tmp_path, capsys):
    """What the command says of samples: its exit status, output, and events."""

    def run(samples, *words, rate=2e6):
        with RecordingWriter(tmp_path / "samples", len(samples), rate) as writer:
            writer.write(samples)
        json_path = tmp_path / "events.json"
        arguments = ["receive", str(tmp_path / "samples"), "--explain", "--json", str(json_path), *words]
        status = main(arguments)
        return status, capsys.readouterr().out, json.loads(json_path.read_text())

    return run


def causes(events):
    return {event.get("cause") for event in events}


def test_frames_that_are_right(explain):
    status, output, events = explain(transmission(count=3))
    assert status == 0
    assert len(events) == 3 and all(event["decoded"] for event in events) and causes(events) == {None}
    assert "3 frames found, 0 of them wrong" in output
    assert all(20 < snr < 35 for event in events for snr in event["antenna_snr_db"])


@pytest.mark.parametrize("spacings", [-12.0, -7.0, 7.0, 12.0])
def test_carrier_offset(explain, spacings):
    status, _, events = explain(transmission(carrier_offset=spacings * SPACING))
    assert status == 1
    assert causes(events) == {"carrier offset out of range"}
    assert f"more than 6 carrier spacings {'below' if spacings < 0 else 'above'}" in events[0]["detail"]


def test_mirrored_spectrum(explain):
    assert causes(explain(transmission().conj())[2]) == {"I and Q swapped"}


@pytest.mark.parametrize("num_tx", [1, 3, 4])
def test_number_of_streams(explain, num_tx):
    events = explain(transmission(FrameFormat(num_tx), num_rx=4))[2]
    assert causes(events) == {"number of streams"}
    assert f"2 expected, {num_tx} sent; receive with --streams {num_tx}" in events[0]["detail"]


def test_more_streams_than_antennas(explain):
    """Which nobody can decode."""
    assert causes(explain(transmission(FrameFormat(4), num_rx=2))[2]) == {"number of streams"}


@pytest.mark.parametrize("name", ["qpsk", "64qam", "256qam"])
def test_constellation(explain, name):
    events = explain(transmission(FrameFormat(2, constellation_name=name), num_rx=4, snr_db=30))[2]
    assert causes(events) == {"constellation"} and f"receive with --constellation {name}" in events[0]["detail"]


@pytest.mark.parametrize(("name", "snr_db"), [("64qam", 12), ("256qam", 15)])
def test_a_constellation_that_nobody_can_decode(explain, name, snr_db):
    """At this SNR; but it fits the symbols better."""
    events = explain(transmission(FrameFormat(2, constellation_name=name), num_rx=4, snr_db=snr_db))[2]
    assert causes(events) == {"constellation"} and f"{name} fits better" in events[0]["detail"]


def test_number_of_carriers(explain):
    events = explain(transmission(FrameFormat(2, 256)), rate=8e6)[2]
    assert causes(events) == {"number of carriers"} and "--fft-size 256" in events[0]["detail"]


def test_number_of_symbols(explain):
    events = explain(transmission(FrameFormat(2, num_symbols=28)))[2]
    assert causes(events) == {"number of symbols"} and "--symbols 28" in events[0]["detail"]


@pytest.mark.parametrize("level", [0.0, 1e-3])
def test_dead_antenna(explain, level):
    """The other one may decode some frames alone."""
    samples = transmission(count=6, snr_db=17)
    rng = np.random.default_rng(5)
    samples[1] = level * (rng.standard_normal(samples.shape[1]) + 1j * rng.standard_normal(samples.shape[1]))
    lost = [event for event in explain(samples)[2] if not event["decoded"]]
    assert causes(lost) == {"dead antenna"} and "antenna 1" in lost[0]["detail"]


def test_saturation(explain):
    samples = transmission(count=1)
    most = 0.2 * np.sqrt(np.mean(np.abs(samples[0, LEAD : LEAD + FRAME.frame_length]) ** 2))
    samples = samples.real.clip(-most, most) + 1j * samples.imag.clip(-most, most)
    events = explain(samples.astype(np.complex64))[2]
    assert causes(events) == {"saturation"} and "reduce the gain" in events[0]["detail"]


@pytest.mark.parametrize("step_db", [-20, 20])
@pytest.mark.parametrize("num_rx", [2, 4])
def test_gain_steps_within_and_between_frames(explain, step_db, num_rx):
    """As an automatic gain control makes them: a frame with a step in it is lost, and no other."""
    samples, period = transmission(count=5, num_rx=num_rx), FRAME.frame_length + GAP
    within = LEAD + period + FRAME.frame_length // 2
    between = LEAD + 3 * period - GAP // 2
    for place, db in ((within, step_db), (between, -1.5 * step_db)):
        samples[:, place:] *= 10 ** (db / 20)
    frames = [event for event in explain(samples)[2] if "antenna_snr_db" in event]  # louder noise is a burst
    assert [frame["decoded"] for frame in frames] == [True, False, True, True, True]
    assert causes(frames) == {None, "gain step"}
    assert f"{step_db:+d} dB" in frames[1]["detail"]


@pytest.mark.parametrize("step_db", [-6, 6, 30])
@pytest.mark.parametrize("place", range(-100, FRAME.frame_length + 100, 97))
def test_a_gain_step_costs_the_frame_that_it_is_in_at_most(step_db, place):
    samples = transmission(count=3)
    samples[:, LEAD + FRAME.frame_length + GAP + place :] *= 10 ** (step_db / 20)
    reader = FrameReader(FRAME, load_detector("auto", constellation="16qam"))
    decoded = [reader.read(found).reading for found in Synchronizer(FRAME, 2).push(samples)]
    starts = [reading.start for reading in decoded if reading.payload is not None]
    near = [round((start - LEAD) / (FRAME.frame_length + GAP)) for start in starts]
    assert near in ([0, 1, 2], [0, 2])


def test_missing_samples(explain):
    samples = np.delete(transmission(count=1), slice(LEAD + 700, LEAD + 750), axis=1)
    events = explain(samples)[2]
    assert causes(events) == {"missing samples"} and "50 samples are missing before symbol 7" in events[0]["detail"]


def test_the_next_frame_explains_nothing(explain):
    """Which another setting would find, right behind the one that is lost."""
    lost = np.delete(transmission(count=1), slice(LEAD + 700, LEAD + 750), axis=1)
    other = transmission(count=1, carrier_offset=9 * SPACING)
    events = explain(np.concatenate([lost, other], axis=1))[2]
    assert [event["cause"] for event in events if event["first"] < lost.shape[1]] == ["missing samples"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1j * np.inf])
def test_samples_that_are_no_numbers(value):
    samples = transmission(count=1)
    samples[:, LEAD + 600 : LEAD + 900] = value
    reader = FrameReader(FRAME, load_detector("auto", constellation="16qam"))
    diagnosis = Diagnostician(reader, 2).explain(samples, LEAD)
    assert diagnosis.cause == "missing samples" and "symbol 7 is damaged" in diagnosis.detail


def test_two_frames_at_a_time(explain):
    first, second = transmission(count=1, seed=4), transmission(count=1, seed=5)
    samples = np.concatenate([first, np.zeros((2, 500), np.complex64)], axis=1)
    samples[:, 500 : 500 + second.shape[1]] += second
    assert "two frames at a time" in causes(explain(samples)[2])


def test_interference(explain):
    band = Interferer((5 * SPACING, 11 * SPACING), power_db=12.0)
    events = explain(transmission(count=1, interferer=band, num_rx=4))[2]
    assert "interference" in causes(events)
    assert "carriers" in next(event["detail"] for event in events if event.get("cause") == "interference")


def test_frames_that_are_right_beside_interference(explain):
    """The jammer is named, and nobody is to look for it in vain."""
    band = Interferer((7.5 * SPACING, 11.5 * SPACING), power_db=0.0)
    _, output, events = explain(transmission(interferer=band, num_rx=4))
    assert all(event["decoded"] for event in events) and causes(events) == {None}
    assert (
        len(re.findall(r"of 4224, with interference on carriers [78] to 1[12], \d dB (below|over) the signal", output))
        == 2
    )
    assert "2 frames found, 0 of them wrong, 2 beside interference" in output


def test_a_low_snr(explain):
    assert causes(explain(transmission(num_rx=4, snr_db=4))[2]) == {"SNR too low"}


def test_streams_that_are_hard_to_tell_apart(explain):
    weak = np.diag([1, 0.03])
    events = explain(transmission(num_rx=4, matrix=weak))[2]
    assert causes(events) == {"streams hard to tell apart"} and "stream 1 is" in events[0]["detail"]


def test_a_burst_of_something_else(explain):
    rng = np.random.default_rng(3)
    samples = 0.01 * (rng.standard_normal((2, 8000)) + 1j * rng.standard_normal((2, 8000)))
    samples[:, 3000:5000] *= 100
    status, output, events = explain(samples.astype(np.complex64))
    assert status == 1 and causes(events) == {"no frame of gr-kaq"}
    assert 2900 < events[0]["first"] < 3100 and 4900 < events[0]["stop"] < 5100
    assert "none" in output


def test_a_sender_of_another_kind_without_pauses(explain):
    """Nothing stands out of the noise, as there is none."""
    samples = transmission(FrameFormat(3), count=12, num_rx=4)
    busy = np.concatenate([samples[:, LEAD + n * (1280 + GAP) :][:, :1280] for n in range(12)], axis=1)
    assert causes(explain(busy)[2]) == {"number of streams"}


@pytest.mark.parametrize("samples", [np.zeros((2, 20000), np.complex64), np.full((2, 5000), np.nan, np.complex64)])
def test_nothing(explain, samples):
    status, output, _ = explain(samples)
    assert status == 1 and "0 frames found" in output


def test_what_was_lost_is_exported(explain, tmp_path):
    good, lost = transmission(count=2), transmission(count=1, carrier_offset=9 * SPACING)
    events = explain(np.concatenate([good, lost], axis=1), "--failed", str(tmp_path / "lost"))[2]
    [event] = [event for event in events if not event["decoded"]]
    assert open_recording(tmp_path / "lost", 2).num_samples == event["stop"] - event["first"]
    [annotation] = json.loads((tmp_path / "lost.sigmf-meta").read_text())["annotations"]
    assert annotation["core:label"] == "carrier offset out of range"
    assert f"sample {event['first']}" in annotation["core:comment"]
    assert (annotation["core:sample_start"], annotation["core:sample_count"]) == (0, event["stop"] - event["first"])


def test_pictures(explain, tmp_path):
    pytest.importorskip("matplotlib")
    samples = np.concatenate([transmission(count=1), transmission(FrameFormat(2, constellation_name="qpsk"))], axis=1)
    for words, names in ((), ["frame-00001.png", "frame-00002.png"]), (("--frame", "0"), ["frame-00000.png"]):
        folder = tmp_path / f"pictures{len(words)}"
        folder.mkdir()
        explain(samples, "--pictures", str(folder), *words)
        assert sorted(path.name for path in folder.iterdir()) == names


def test_a_file_arrives(explain, tmp_path):
    content = np.random.default_rng(8).bytes(3000)
    (tmp_path / "sent").write_bytes(content)
    sender = FileSender(tmp_path / "sent", max_payload(FRAME))
    samples = transmission(payloads=[next(sender) for _ in range(14)])
    output = explain(samples, "--output", str(tmp_path / "received"))[1]
    assert "the file is whole" in output and (tmp_path / "received").read_bytes() == content


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--antennas", "3"], "core:num_channels is 2; at least 3 expected"),
        (["--streams", "8"], "at most 4 expected with 64 carriers"),
        (["--frame", "1"], "--frame belongs to --pictures"),
        (["--pictures", "nowhere"], "the folder does not exist"),
        (["--detector", "admm5-64qam"], "64qam"),
    ],
)
def test_refusals(tmp_path, capsys, words, message):
    with RecordingWriter(tmp_path / "samples", 2, 2e6) as writer:
        writer.write(np.zeros((2, 100), np.complex64))
    assert main(["receive", str(tmp_path / "samples"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
