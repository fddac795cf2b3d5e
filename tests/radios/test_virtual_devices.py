# SPDX-License-Identifier: GPL-3.0-or-later
"""Radios by UHD and SoapySDR, with drivers of ours (virtual_devices/) in the place of hardware."""

from __future__ import annotations

import contextlib
import ctypes
import time

import numpy as np
import pytest

gr = pytest.importorskip("gnuradio.gr")
import pmt
from gnuradio import blocks

import gr_kaq
from gr_kaq import radios
from gr_kaq.radios import RadioError
from tests.radios.virtual_devices.driver import virtual_device

TIMEOUT_S = 300
RATE = 4e5
FREQUENCY = 2.45e9
GAP = 256  # samples


def log_of(name):
    """A function that gives what was set since its last call, and the driver loaded."""
    function = getattr(ctypes.CDLL(str(virtual_device(name))), f"kaq_virtual_{name}_log")
    function.restype = ctypes.c_char_p
    function()
    return lambda: function().decode().splitlines()


@pytest.fixture()
def usrp_log():
    pytest.importorskip("gnuradio.uhd")
    return log_of("usrp")


@pytest.fixture()
def soapy_log():
    pytest.importorskip("gnuradio.soapy")
    return log_of("soapy")


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


@contextlib.contextmanager
def running(flowgraph):
    flowgraph.start()
    try:
        yield
    finally:
        flowgraph.stop()
        flowgraph.wait()


# USRP


@pytest.mark.parametrize(("make", "side"), [("usrp_source", "rx"), ("usrp_sink", "tx")])
def test_two_usrps_with_one_reference(usrp_log, make, side):
    """Clocks first, then one time for all, then what does not depend on it, then all channels tuned at one time."""
    device = getattr(radios, make)(
        "type=virtual,boards=2,channels=1", 2, FREQUENCY, RATE, gain=30, connector="RX2", reference="external"
    )
    lines = usrp_log()
    assert lines[:6] == [
        "board 0: clock_source external",
        "board 0: time_source external",
        "board 1: clock_source external",
        "board 1: time_source external",
        "board 0: time at the next PPS 0.000000",
        "board 1: time at the next PPS 0.000000",
    ]
    settings = [f"board {board}: {side}0 {what}" for board in (0, 1) for what in ("antenna RX2", "gain 30.000000")]
    assert sorted(lines[6:10]) == sorted(settings)
    tuned = [line.split(" at ") for line in lines[10:]]
    assert [what for what, _ in tuned] == [f"board {board}: {side}0 frequency 2450000000.000000" for board in (0, 1)]
    assert tuned[0][1] == tuned[1][1]
    assert device.name() == make


def test_one_usrp_by_itself(usrp_log):
    source = radios.usrp_source("type=virtual", 2, FREQUENCY, RATE)
    assert usrp_log() == [f"board 0: rx{channel} frequency 2450000000.000000 now" for channel in (0, 1)]
    assert (source.sample_rate, source.frequency) == (RATE, FREQUENCY)


@pytest.mark.parametrize(
    ("args", "options", "said"),
    [
        ("type=virtual,rates=1e6", {}, "USRP: sample rate 400000 asked for, 1e+06 is the nearest it has"),
        ("type=virtual", {"gain": 71.0}, "USRP: gain of 71 dB: it has 0 to 70 dB"),
        ("type=virtual", {"frequency": 6.1e9}, "USRP: frequency of 6.1e+09 Hz: it has 9.5e+06 to 6.0005e+09 Hz"),
        ("type=virtual", {"connector": "RX3"}, "USRP with args 'type=virtual': ValueError: no antenna RX3; see"),
        ("type=virtual,channels=1", {}, "USRP with args 'type=virtual,channels=1': .*; see docs/guide/hardware.md"),
        ("type=virtual,unlocked=0", {"reference": "gpsdo"}, "USRP 0 does not lock to its gpsdo 10 MHz reference; see"),
    ],
)
def test_what_a_usrp_refuses_is_said(usrp_log, args, options, said):
    with pytest.raises(RadioError, match=said.replace("+", r"\+")):
        radios.usrp_source(args, **({"num_rx": 2, "frequency": FREQUENCY, "sample_rate": RATE} | options))


@pytest.mark.parametrize(
    ("args", "reference", "bursts"),
    [
        ("type=virtual", "internal", True),
        ("type=virtual", "internal", False),
        ("type=virtual,boards=2,channels=1", "external", False),
    ],
    ids=["bursts", "continuous", "two-usrps"],
)
def test_payloads_go_from_usrp_to_usrp(usrp_log, args, reference, bursts):
    """The whole chain at its rate in real time: transmitter, sink, source, receiver."""
    count = 20
    source = radios.usrp_source(args, 2, FREQUENCY, RATE, reference=reference)
    sink = radios.usrp_sink(args, 2, FREQUENCY, RATE, reference=reference, bursts=bursts)
    transmitter = gr_kaq.frame_transmitter(num_tx=2, gap_length=GAP, idle="wait" if bursts else "zeros")
    receiver = gr_kaq.mimo_receiver(2, 2)
    payloads = blocks.message_debug()
    tb = gr.top_block()
    for channel in range(2):
        tb.connect((transmitter, channel), (sink, channel))
        tb.connect((source, channel), (receiver, channel))
        tb.connect((receiver, channel), blocks.null_sink(gr.sizeof_gr_complex * receiver.frame_format.data_per_stream))
    started = blocks.null_sink(gr.sizeof_gr_complex)
    tb.connect((source, 0), started)
    tb.msg_connect(receiver, "pdus", payloads, "store")
    usrp_log()
    sent = [[number] * 100 for number in range(count)]
    with running(tb):
        wait_until(lambda: started.nitems_read(0))
        for payload in sent:
            message = pmt.cons(pmt.PMT_NIL, pmt.init_u8vector(len(payload), payload))
            transmitter.to_basic_block()._post(pmt.intern("pdus"), message)
        wait_until(lambda: payloads.num_messages() == count)
    received = [list(pmt.u8vector_elements(pmt.cdr(payloads.get_message(i)))) for i in range(count)]
    assert received == sent
    lines = usrp_log()
    assert "receive all channels at one time" in lines
    length = transmitter.frame_format.frame_length + GAP
    if bursts:
        assert [line for line in lines if "burst" in line] == [f"burst of {length}"] * count
    else:
        assert "send all channels at one time" in lines
        assert len([line for line in lines if "burst" in line]) == 1


# SoapySDR


def test_a_soapy_device(soapy_log):
    source = radios.soapy_source("driver=virtual", 2, FREQUENCY, RATE, gain=30, connector="B", reference="external")
    lines = soapy_log()
    assert lines[:2] == ["clock external", "time external"]
    for channel in ("rx0", "rx1"):
        assert [line[4:] for line in lines if line.startswith(channel)] == [
            "rate 400000.000000",
            "antenna B",
            "no AGC",
            "gain 30.000000",
            "frequency 2450000000.000000",
        ]
    tb = gr.top_block()
    sinks = [blocks.vector_sink_c() for _ in range(2)]
    for channel, sink in enumerate(sinks):
        tb.connect((source, channel), sink)
    with running(tb):
        wait_until(lambda: min(len(sink.data()) for sink in sinks) > 2000)
    for channel, sink in enumerate(sinks):
        np.testing.assert_array_equal(sink.data()[:2000], np.arange(2000) + 1j * channel)


@pytest.mark.parametrize(
    ("args", "options", "said"),
    [
        ("driver=virtual,rates=1e6", {}, "SoapySDR device: sample rate 400000 asked for, 1e+06 is the nearest it has"),
        ("driver=virtual", {"gain": 71.0}, "SoapySDR device: gain of 71 dB: it has 0 to 70 dB"),
        ("driver=virtual", {"frequency": 6.1e9}, "SoapySDR device: frequency of 6.1e+09 Hz: it has 1e+07 to 6e+09 Hz"),
        ("driver=virtual", {"connector": "C"}, "SoapySDR device with args 'driver=virtual': .*Antenna C .*A, B"),
        ("driver=virtual", {"num_rx": 3}, "Only 2 channels available"),
        ("driver=virtual", {"reference": "gpsdo"}, "Invalid clock source"),
    ],
)
def test_what_a_soapy_device_refuses_is_said(soapy_log, args, options, said):
    with pytest.raises(RadioError, match=said.replace("+", r"\+")):
        radios.soapy_source(args, **({"num_rx": 2, "frequency": FREQUENCY, "sample_rate": RATE} | options))
