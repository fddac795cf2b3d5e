# SPDX-License-Identifier: GPL-3.0-or-later
"""Radios as one replaceable block: whatever they are, num_rx complex streams come out, or num_tx go in.

All sources are `gr.hier_block2` with attributes `sample_rate` (samples per second, None: not known) and `frequency` (Hz
or None). Of a source, all antennas start at the same sample. GNU Radio is imported when the first one is made, so that
command lines can be parsed without it.
"""

from __future__ import annotations

import argparse
import importlib
import math
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .recording import FULL_SCALE, open_recording, recording_paths, write_metadata

__all__ = [
    "REFERENCES",
    "RadioError",
    "add_radio_arguments",
    "positive_number",
    "radio_source",
    "recording_sink",
    "recording_source",
    "run",
    "soapy_source",
    "usrp_sink",
    "usrp_source",
    "zmq_sink",
    "zmq_source",
]

REFERENCES = ("internal", "external", "gpsdo")
RADIOS = ("usrp", "soapy", "zmq", "recording")
MANUAL = "see docs/hardware.md"
LOCK_SECONDS = 5.0
POLL_SECONDS = 0.05
COMMAND_DELAY = 0.1  # seconds from now at which all channels retune


class RadioError(OSError):
    """A radio that cannot be used; the message says why in one line."""


def add_radio_arguments(parser: argparse.ArgumentParser, radio: str | None = None) -> None:
    """Add the options that `radio_source` reads.

    Args:
        parser: of the command line.
        radio: default of ``--radio``; None: it has to be given.
    """
    add = parser.add_argument_group("radio").add_argument
    where = "where the samples come from" + (f" (default {radio})" if radio else "")
    add("--radio", choices=RADIOS, required=radio is None, default=radio, help=where)
    add(
        "--args",
        default="",
        help="usrp: device arguments such as addr0=192.168.10.2,addr1=192.168.20.2; soapy: driver=plutosdr, "
        "driver=lime, driver=bladerf ...; zmq: address to connect to, or one for each antenna, separated by commas; "
        "recording: path of a SigMF recording",
    )
    add("--antennas", type=_antennas, default=2, metavar="N", help="receive antennas (default %(default)s)")
    add("--freq", type=positive_number, metavar="HZ", help="centre frequency (usrp, soapy; zmq: to be written down)")
    add("--rate", type=positive_number, metavar="HZ", help="sample rate (usrp, soapy; zmq: to be written down)")
    add("--gain", type=_finite, metavar="DB", help="gain of every antenna (usrp, soapy; default: the device's)")
    add("--connector", metavar="NAME", help="antenna connector such as RX2 (usrp, soapy; default: the device's)")
    add(
        "--reference",
        choices=REFERENCES,
        default="internal",
        help="of clock and time: external is 10 MHz and PPS (usrp, soapy; default %(default)s)",
    )
    add(
        "--pattern",
        choices=("pull", "sub", "req"),
        default="pull",
        help="socket type; req is that of srsRAN's ZMQ radio (zmq; default %(default)s)",
    )


def radio_source(options: argparse.Namespace) -> Any:
    """The source that the options of `add_radio_arguments` describe.

    Raises:
        RadioError: there is no such radio, or it cannot do what was asked for.
        ValueError: an option is missing, or the recording is not usable (RecordingError).
    """
    num_rx = options.antennas
    if options.radio == "recording":
        if not options.args:
            raise ValueError("--args is empty; with --radio recording, the path of a recording expected")
        return recording_source(options.args, num_rx)
    if options.radio == "zmq":
        if not options.args:
            raise ValueError("--args is empty; with --radio zmq, an address such as tcp://127.0.0.1:2000 expected")
        addresses = options.args.split(",")
        return zmq_source(addresses, num_rx, options.pattern, sample_rate=options.rate, frequency=options.freq)
    for name in ("freq", "rate"):
        if getattr(options, name) is None:
            raise ValueError(f"--{name} is missing; --radio {options.radio} needs it")
    return (usrp_source if options.radio == "usrp" else soapy_source)(
        options.args,
        num_rx,
        options.freq,
        options.rate,
        gain=options.gain,
        connector=options.connector,
        reference=options.reference,
    )


def usrp_source(
    args: str,
    num_rx: int,
    frequency: float,
    sample_rate: float,
    *,
    gain: float | None = None,
    connector: str | None = None,
    reference: str = "internal",
) -> Any:
    """Receive with one or several USRPs as one device of num_rx channels (`uhd::multi_usrp`).

    With an external reference or GPSDO, the devices' clocks are set together at the next PPS edge, all channels tune at
    one time, so that their phases stay as they are, and streaming starts at one time on all (gr-uhd does that whenever
    there is more than one channel).

    Args:
        args: of the device; ``addr0=...,addr1=...`` for two.
        num_rx: channels.
        frequency, sample_rate: in Hz and samples per second.
        gain: in dB, of every channel; None: as it is.
        connector: such as ``"RX2"``; None: as it is.
        reference: ``"internal"``, ``"external"`` (10 MHz and PPS) or ``"gpsdo"``.

    Raises:
        RadioError: no such device, no lock on the reference, or a setting that it refuses.
    """
    return _usrp("usrp_source", args, num_rx, frequency, sample_rate, gain, connector, reference)


def usrp_sink(
    args: str,
    num_tx: int,
    frequency: float,
    sample_rate: float,
    *,
    gain: float | None = None,
    connector: str | None = None,
    reference: str = "internal",
    bursts: bool = True,
) -> Any:
    """Transmit with one or several USRPs; see `usrp_source`.

    Args:
        bursts: send bursts, marked with `packet_len` on every port, and nothing in between. A burst starts at the same
            time on the channels of one device only. False: samples follow one another for good, whatever their tags
            say, and start at one time on all channels of all devices.

    The others, and the errors, are those of `usrp_source`.
    """
    return _usrp("usrp_sink", args, num_tx, frequency, sample_rate, gain, connector, reference, bursts)


def _usrp(
    kind: str,
    args: str,
    channels: int,
    frequency: float,
    sample_rate: float,
    gain: float | None,
    connector: str | None,
    reference: str,
    bursts: bool = False,
) -> Any:
    uhd = _import("uhd", "USRP")
    stream = uhd.stream_args(cpu_format="fc32", otw_format="sc16", channels=list(range(channels)))
    try:
        device = getattr(uhd, kind)(args, stream, *(["packet_len"] if bursts else []))
        boards = range(device.get_num_mboards())
        if reference != "internal":
            for board in boards:
                device.set_clock_source(reference, board)
                device.set_time_source(reference, board)
                _wait_for_lock(device, board, reference)
            device.set_time_unknown_pps(uhd.time_spec(0.0))
            time.sleep(1.0)  # until the edge at which all clocks have this time
        device.set_samp_rate(sample_rate)
        _check_rate(device.get_samp_rate(), sample_rate, "USRP")
        for channel in range(channels):
            if connector is not None:
                device.set_antenna(connector, channel)
            if gain is not None:
                device.set_gain(gain, channel)
        if reference != "internal":
            at = device.get_time_now() + uhd.time_spec(COMMAND_DELAY)
            for board in boards:
                device.set_command_time(at, board)
        for channel in range(channels):
            device.set_center_freq(frequency, channel)
        if reference != "internal":
            time.sleep(2 * COMMAND_DELAY)
            for board in boards:
                device.clear_command_time(board)
    except (RuntimeError, ValueError, IndexError) as error:
        if "No devices found" in str(error):
            raise RadioError(f"no USRP found with args {args!r}; connect one, or {MANUAL}") from None
        raise RadioError(f"USRP with args {args!r}: {_line(error)}; {MANUAL}") from None
    return _hierarchical(kind, device, channels, sample_rate, frequency, with_tags=bursts)


def _wait_for_lock(device: Any, board: int, reference: str) -> None:
    if "ref_locked" not in device.get_mboard_sensor_names(board):
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while not device.get_mboard_sensor("ref_locked", board).to_bool():
        if time.monotonic() > deadline:
            raise RadioError(f"USRP {board} does not lock to its {reference} 10 MHz reference; {MANUAL}")
        time.sleep(0.1)


def soapy_source(
    args: str,
    num_rx: int,
    frequency: float,
    sample_rate: float,
    *,
    gain: float | None = None,
    connector: str | None = None,
    reference: str = "internal",
) -> Any:
    """Receive with the channels of one device that SoapySDR has a driver for: PlutoSDR, LimeSDR, bladeRF and others.

    Args:
        args: ``"driver=plutosdr"``, ``"driver=lime"``, ``"driver=bladerf"`` ..., with the driver's own settings.
        reference: clock and time source by the name that `usrp_source` gives them, where the driver knows it.

    The others, and the errors, are those of `usrp_source`.
    """
    soapy = _import("soapy", "SoapySDR")
    try:
        device = soapy.source(args, "fc32", num_rx, "", "", [""], [""])
        if reference != "internal":
            device.set_clock_source(reference)
            device.set_time_source(reference)
        for channel in range(num_rx):
            device.set_sample_rate(channel, sample_rate)
            _check_rate(device.get_sample_rate(channel), sample_rate, "SoapySDR device")
            if connector is not None:
                device.set_antenna(channel, connector)
            if gain is not None:
                device.set_gain_mode(channel, False)
                device.set_gain(channel, gain)
            device.set_frequency(channel, frequency)
    except (RuntimeError, ValueError, IndexError) as error:
        if "no match" in str(error):
            raise RadioError(f"no SoapySDR device found with args {args!r}; connect one, or {MANUAL}") from None
        raise RadioError(f"SoapySDR device with args {args!r}: {_line(error)}; {MANUAL}") from None
    return _hierarchical("soapy_source", device, num_rx, sample_rate, frequency)


def zmq_source(
    addresses: list[str],
    num_rx: int,
    pattern: str = "pull",
    *,
    sample_rate: float | None = None,
    frequency: float | None = None,
) -> Any:
    """Receive from another process; see `gr_kaq.blocks.zmq_sample_source` for addresses and patterns.

    Raises:
        RadioError: an address cannot be connected to.
    """
    device = _zmq_block("zmq_sample_source", addresses, num_rx, pattern)
    return _hierarchical("zmq_source", device, num_rx, sample_rate, frequency)


def zmq_sink(addresses: list[str], num_tx: int, pattern: str = "push") -> Any:
    """Send to another process, as `zmq_source` expects it; see `gr_kaq.blocks.zmq_sample_sink`.

    Raises:
        RadioError: an address cannot be bound to.
        ValueError: an argument is out of range.
    """
    return _hierarchical("zmq_sink", _zmq_block("zmq_sample_sink", addresses, num_tx, pattern), num_tx, None, None)


def _zmq_block(name: str, addresses: list[str], channels: int, pattern: str) -> Any:
    _import("gr", "ZMQ")
    try:
        block = getattr(importlib.import_module(f".blocks.{name}", __package__), name)
        return block(addresses, channels, pattern)
    except ImportError as error:
        raise RadioError(f"ZMQ needs Python's zmq ({error}); apt install python3-zmq") from None
    except OSError as error:
        raise RadioError(str(error)) from None


def recording_source(path: str | Path, num_rx: int) -> Any:
    """Play the first num_rx antennas of a SigMF recording, as fast as they are taken.

    Raises:
        RecordingError: it is not usable, or has fewer antennas.
    """
    recording = open_recording(path, num_rx)
    blocks = _import("blocks", "a recording")
    sample_bytes = recording.sample_bytes // recording.num_channels
    source = blocks.file_source(recording.sample_bytes, str(recording.data_path), False)
    split = blocks.vector_to_streams(sample_bytes, recording.num_channels)
    hierarchical = _empty_source("recording_source", num_rx, recording.sample_rate, recording.frequency)
    hierarchical.connect(source, split)
    for channel in range(recording.num_channels):
        if channel >= num_rx:
            hierarchical.connect((split, channel), blocks.null_sink(sample_bytes))
        elif recording.datatype == "ci16_le":
            convert = blocks.interleaved_short_to_complex(True, False, FULL_SCALE["ci16_le"])
            hierarchical.connect((split, channel), convert, (hierarchical, channel))
        else:
            hierarchical.connect((split, channel), (hierarchical, channel))
    return hierarchical


def recording_sink(
    path: str | Path, num_rx: int, sample_rate: float, frequency: float | None = None, num_samples: int = 0
) -> Any:
    """Record num_rx complex streams in SigMF; files that are there are written over.

    Args:
        path: of the recording.
        num_rx: antennas.
        sample_rate, frequency: for the metadata.
        num_samples: of each antenna, how many are recorded; the rest is thrown away. 0: all.

    Returns:
        A `gr.hier_block2` with a method `num_samples()`: recorded so far.

    Raises:
        OSError: a file cannot be written.
        ValueError: an argument is out of range.
    """
    gr, blocks = _import("gr", "a recording"), _import("blocks", "a recording")
    size = gr.sizeof_gr_complex
    write_metadata(path, num_rx, sample_rate, frequency)
    try:
        sink = blocks.file_sink(size * num_rx, str(recording_paths(path)[1]), False)
    except RuntimeError as error:
        raise RadioError(f"{path}: {_line(error)}") from None
    join = blocks.streams_to_vector(size, num_rx)
    hierarchical = gr.hier_block2("recording_sink", gr.io_signature(num_rx, num_rx, size), gr.io_signature(0, 0, 0))
    for channel in range(num_rx):
        hierarchical.connect((hierarchical, channel), (join, channel))
    if num_samples:
        hierarchical.connect(join, blocks.head(size * num_rx, num_samples), sink)
    else:
        hierarchical.connect(join, sink)
    hierarchical.num_samples = lambda: sink.nitems_read(0)
    return hierarchical


def run(
    flowgraph: Any,
    count: Callable[[], int],
    done: Callable[[int], bool] = lambda count: False,
    *,
    report: Callable[[int], None] = lambda count: None,
    timeout: float = 10.0,
) -> None:
    """Run a flowgraph until it ends or is done. A flowgraph whose radio has fallen silent never ends by itself.

    Args:
        flowgraph: a `gr.top_block`.
        count: says how many samples were received.
        done: says of this count, and whatever else it knows, whether that is enough.
        report: called with the count about once a second.
        timeout: seconds without samples after which to give up.

    Raises:
        RadioError: nothing came for that long.
        KeyboardInterrupt: Ctrl-C; the flowgraph has been stopped.
    """
    ended = threading.Event()

    def wait() -> None:
        flowgraph.wait()
        ended.set()

    flowgraph.start()
    threading.Thread(target=wait, daemon=True).start()
    last = count()
    changed = reported = time.monotonic()
    try:
        while not ended.wait(POLL_SECONDS):
            received, now = count(), time.monotonic()
            if done(received):
                break
            if now > reported + 1:
                reported = now
                report(received)
            if received != last:
                last, changed = received, now
            elif now > changed + timeout:
                raise RadioError(f"no samples for {timeout:g} s; {MANUAL}")
    finally:
        flowgraph.stop()
        ended.wait(timeout)


def _empty_source(name: str, num_rx: int, sample_rate: float | None, frequency: float | None) -> Any:
    gr = _import("gr", name)
    signature = gr.io_signature(num_rx, num_rx, gr.sizeof_gr_complex)
    hierarchical = gr.hier_block2(name, gr.io_signature(0, 0, 0), signature)
    hierarchical.sample_rate, hierarchical.frequency = sample_rate, frequency
    return hierarchical


def _hierarchical(
    kind: str,
    device: Any,
    channels: int,
    sample_rate: float | None,
    frequency: float | None,
    with_tags: bool = True,
) -> Any:
    """A device as a block of this kind, a source, or a sink that gets tags or not."""
    if kind.endswith("_source"):
        hierarchical = _empty_source(kind, channels, sample_rate, frequency)
        for channel in range(channels):
            hierarchical.connect((device, channel), (hierarchical, channel))
        return hierarchical
    gr = _import("gr", kind)
    signature = gr.io_signature(channels, channels, gr.sizeof_gr_complex)
    hierarchical = gr.hier_block2(kind, signature, gr.io_signature(0, 0, 0))
    for channel in range(channels):
        # without `packet_len`, UHD would follow tx_sob and tx_eob
        gates = [] if with_tags else [_import("blocks", kind).tag_gate(gr.sizeof_gr_complex, False)]
        hierarchical.connect((hierarchical, channel), *gates, (device, channel))
    return hierarchical


def _check_rate(got: float, wanted: float, what: str) -> None:
    if abs(got - wanted) > 1e-3 * wanted:
        raise RadioError(f"{what}: sample rate {wanted:g} asked for, {got:g} is the nearest it has")


def _import(name: str, user: str) -> Any:
    """A module of GNU Radio."""
    try:
        return importlib.import_module(f"gnuradio.{name}")
    except ImportError as error:
        raise RadioError(f"{user} needs GNU Radio's {name} ({error}); apt install gnuradio, or {MANUAL}") from None


def _line(error: Exception) -> str:
    """An error's text in one line, quotes of UHD's Python exceptions taken away."""
    return re.sub(r"\s+", " ", str(error).replace("\\n", " ")).strip("' ") or type(error).__name__


def _antennas(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 64 expected")
    return int(text)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r}: a finite number expected")
    return value


def positive_number(text: str) -> float:
    """A parser of positive, finite numbers, for `argparse`."""
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a positive number expected")
    return value
