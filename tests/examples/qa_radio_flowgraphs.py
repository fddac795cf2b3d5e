# SPDX-License-Identifier: GPL-3.0-or-later
"""The flowgraphs for radios: GRC compiles each, those without hardware run; scripts say in a line what is missing."""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from gr_kaq import FrameFormat
from gr_kaq.frames.file_transfer import FileSender
from gr_kaq.frames.payload import max_payload
from gr_kaq.radios.sigmf import RecordingWriter
from tests.examples.radio_link import bursts, fade
from tests.radios.virtual_devices.driver import virtual_device

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))
TIMEOUT = 300
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    "GRC_BLOCKS_PATH": str(ROOT / "grc"),
    "QT_QPA_PLATFORM": "offscreen",
}
RADIO = ["args", "freq", "rate", "gain", "connector"]
FLOWGRAPHS = {
    "usrp_mimo_transmitter": [*RADIO, "reference", "file"],
    "usrp_mimo_receiver": [*RADIO, "reference", "output", "detector", "estimator"],
    "usrp_jammer": [*RADIO, "low", "high", "power", "kind", "period", "duty"],
    "soapy_mimo_receiver": [*RADIO, "driver", "output", "detector", "estimator"],
    "zmq_virtual_radio_transmitter": ["address", "file", "snr", "profile", "carrier-offset", "clock-offset-ppm"],
    "zmq_virtual_radio_receiver": ["address", "output", "detector", "estimator"],
    "recording_receiver": ["path", "output", "detector", "estimator"],
}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.grc")), ids=lambda path: path.stem)
def test_a_window_is_large_enough_at_first(path):
    """GNU Radio makes it 640x480 or less, whatever is in it."""
    flowgraph = yaml.safe_load(path.read_text())
    if flowgraph["options"]["parameters"]["generate_options"] == "qt_gui":
        snippets = [block["parameters"]["code"] for block in flowgraph["blocks"] if block["id"] == "snippet"]
        assert any("self.resize(" in code for code in snippets)


def run(*command, **options):
    return subprocess.run(
        [*map(str, command)], env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The flowgraphs as Python programs, by name."""
    directory = tmp_path_factory.mktemp("grc")
    result = run("grcc", "-o", directory, *(EXAMPLES / f"{name}.grc" for name in FLOWGRAPHS))
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: directory / f"{name}_flowgraph.py" for name in FLOWGRAPHS}


@pytest.mark.parametrize(("name", "options"), FLOWGRAPHS.items(), ids=FLOWGRAPHS)
def test_flowgraph_has_options(compiled, name, options):
    """What a radio needs to know is asked for on the command line."""
    program = compiled[name].read_text()
    for option in options:
        assert f'"--{option}"' in program


@pytest.mark.parametrize("name", ["usrp_mimo_transmitter", "usrp_mimo_receiver"])
def test_usrp_channels_are_aligned(compiled, name):
    """Two channels of one device, its clock and time from outside, its time set at a PPS edge."""
    program = compiled[name].read_text()
    for call in (
        "channels=list(range(0,num_",
        ".set_clock_source(reference, 0)",
        ".set_time_source(reference, 0)",
        ".set_time_unknown_pps(uhd.time_spec(0))",
        ".set_center_freq(freq, 1)",
        ".set_gain(gain, 1)",
        ".set_antenna(connector, 1)",
    ):
        assert call in program
    if name == "usrp_mimo_transmitter":
        assert '"packet_len"' in program or "'packet_len'" in program


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.grc")))
def test_no_script_is_overwritten(name):
    """GRC writes the program next to the flowgraph, where a script of the flowgraph's name may be."""
    document = yaml.safe_load((EXAMPLES / f"{name}.grc").read_text())
    path = EXAMPLES / f"{document['options']['parameters']['id']}.py"
    assert not path.exists() or "# GNU Radio Python Flow Graph\n" in path.read_text()  # GRC's own, from before


@pytest.fixture(scope="module")
def message(tmp_path_factory):
    path = tmp_path_factory.mktemp("message") / "message"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    return path


def wait_for(path, data, *processes):
    deadline = time.monotonic() + TIMEOUT
    while not path.exists() or path.read_bytes() != data:
        assert time.monotonic() < deadline, "the file does not come"
        assert all(process.poll() is None for process in processes), "a flowgraph has ended"
        time.sleep(0.1)


@contextlib.contextmanager
def programs(*commands, environment=ENVIRONMENT):
    """Python programs that run side by side, and no longer than this."""
    processes = []
    try:
        for command in commands:
            command = [sys.executable, *map(str, command)]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def end(process):
    process.terminate()
    assert process.wait(TIMEOUT) == 0


def test_virtual_radio(compiled, message, tmp_path):
    """The two flowgraphs send a file from one to the other."""
    address = ["--address", f"ipc://{tmp_path}/radio"]
    receiver = [compiled["zmq_virtual_radio_receiver"], *address, "--output", tmp_path / "received"]
    transmitter = [compiled["zmq_virtual_radio_transmitter"], *address, "--file", message]
    with programs(receiver, transmitter) as processes:
        wait_for(tmp_path / "received", message.read_bytes(), *processes)
        for process in processes:
            end(process)


USRP = ["--args", "type=virtual", "--freq", "2.45e9", "--rate", "4e5"]


@pytest.mark.parametrize("kind", ["flowgraphs", "scripts"])
def test_usrps_without_hardware(compiled, kind, message, tmp_path):
    """The two flowgraphs, and the two scripts, with a driver of tests/radios/virtual_devices in the place of USRPs."""
    environment = ENVIRONMENT | {"LD_PRELOAD": str(virtual_device("usrp")), "KAQ_VIRTUAL_AIR": str(tmp_path / "air")}
    received = tmp_path / "received"
    if kind == "flowgraphs":
        receiver = [compiled["usrp_mimo_receiver"], "--output", received]
        transmitter = [compiled["usrp_mimo_transmitter"], "--file", message]
    else:
        receiver = [EXAMPLES / "usrp_mimo_receiver.py", received]
        transmitter = [EXAMPLES / "usrp_mimo_transmitter.py", message]
    with programs([*receiver, *USRP], [*transmitter, *USRP], environment=environment) as (_, sending):
        wait_for(received, message.read_bytes(), sending)
        end(sending)


def test_jammer_without_hardware(compiled, tmp_path):
    """What it sends lies in its band."""
    air, jammer = tmp_path / "air", [compiled["usrp_jammer"], *USRP, "--low", "50e3", "--high", "100e3"]
    environment = ENVIRONMENT | {"LD_PRELOAD": str(virtual_device("usrp")), "KAQ_VIRTUAL_AIR": str(air)}
    sent, deadline = np.zeros(0, np.complex64), time.monotonic() + TIMEOUT
    with programs([*jammer], environment=environment) as (sending,):
        while len(sent) < 1 << 15:
            assert time.monotonic() < deadline and sending.poll() is None, "nothing is sent"
            time.sleep(0.1)
            if air.exists():
                sent = np.fromfile(air, np.complex64, 1 << 17)
                sent = sent[sent != 0]
        end(sending)
    power = np.abs(np.fft.fft(sent[: 1 << 15] * np.hanning(1 << 15))) ** 2
    frequencies = np.fft.fftfreq(1 << 15, 1 / 4e5)
    assert power[(frequencies > 45e3) & (frequencies < 105e3)].sum() > 0.99 * power.sum()


def test_recording(compiled, message, tmp_path):
    frame = FrameFormat(2, 64, "16qam")
    pdus = list(FileSender(message, max_payload(frame), repeats=1))
    with RecordingWriter(tmp_path / "air", 2, 2e6, 2.45e9) as writer:
        writer.write(fade(frame, bursts(frame, pdus), 2, profile="tdl-e", doppler=0))
    options = ["--path", tmp_path / "air.sigmf-data", "--output", tmp_path / "received"]
    result = run(sys.executable, compiled["recording_receiver"], *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "received").read_bytes() == message.read_bytes()


TUNED = ["--freq", "2.45e9", "--rate", "2e6"]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["usrp_mimo_receiver.py", *TUNED], "no USRP found with args ''; connect one"),
        (["usrp_mimo_receiver.py", "--args", "type=b200", *TUNED], "no USRP found with args 'type=b200'"),
        (["usrp_mimo_transmitter.py", __file__, *TUNED], "no USRP found with args ''; connect one"),
        (["usrp_mimo_transmitter.py", __file__, "--continuous", *TUNED], "no USRP found with args ''; connect one"),
        (["soapy_mimo_receiver.py", "--args", "driver=plutosdr", *TUNED], "SoapySDR device"),
        (["usrp_mimo_receiver.py", "--freq", "2.45e9"], "--rate is missing"),
        (["soapy_mimo_receiver.py", "--rate", "2e6"], "--freq is missing"),
        (["usrp_mimo_transmitter.py", "nowhere", *TUNED], "No such file or directory: 'nowhere'"),
    ],
)
def test_missing_hardware(command, text):
    """A line that says what to do, and status 1. (UHD's library greets on stdout.)"""
    result = run(sys.executable, EXAMPLES / command[0], *command[1:])
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("[INFO]")]
    assert line.startswith(f"{Path(command[0]).stem}: ") and text in line


@pytest.mark.parametrize(
    "script", ["usrp_mimo_transmitter", "usrp_mimo_receiver", "soapy_mimo_receiver", "recording_receiver"]
)
def test_scripts_ask_for_the_same(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for option in ("--args", "--freq", "--rate", "--gain", "--antennas", "--connector", "--reference"):
        assert option in printed
