# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which a command line names a radio."""

from __future__ import annotations

import argparse
import math
from typing import Any

from .recording import recording_source
from .soapy import soapy_source
from .usrp import REFERENCES, usrp_source
from .zmq import zmq_source

__all__ = ["add_radio_arguments", "positive_number", "radio_source", "sample_count"]

MAX_SAMPLES = 1 << 52  # exact in double precision

RADIOS = ("usrp", "soapy", "zmq", "recording")


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


def sample_count(seconds: float, sample_rate: float) -> int:
    """Samples in so many seconds, one at least.

    Raises:
        ValueError: there are more than any radio gives.
    """
    count = seconds * sample_rate
    if not count <= MAX_SAMPLES:
        raise ValueError(
            f"--seconds is {seconds:g}; at most {MAX_SAMPLES / sample_rate:g} expected at this sample rate"
        )
    return max(1, round(count))


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
