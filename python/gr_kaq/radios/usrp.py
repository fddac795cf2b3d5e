# SPDX-License-Identifier: GPL-3.0-or-later
"""USRPs, by gr-uhd."""

from __future__ import annotations

import time
from typing import Any

from .radio_block import MANUAL, RadioError, check_range, check_rate, import_gnuradio, one_line, radio_block

__all__ = ["REFERENCES", "usrp_sink", "usrp_source"]

REFERENCES = ("internal", "external", "gpsdo")
LOCK_SECONDS = 5.0
COMMAND_DELAY = 0.1  # seconds from now at which all channels retune


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
    uhd = import_gnuradio("uhd", "USRP")
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
        check_rate(device.get_samp_rate(), sample_rate, "USRP")
        for channel in range(channels):
            if connector is not None:
                device.set_antenna(connector, channel)
            tunable = device.get_freq_range(channel)
            check_range(frequency, [(tunable.start(), tunable.stop())], "USRP: frequency", "Hz")
            if gain is not None:
                gains = device.get_gain_range(channel)
                check_range(gain, [(gains.start(), gains.stop())], "USRP: gain", "dB")
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
        raise RadioError(f"USRP with args {args!r}: {one_line(error)}; {MANUAL}") from None
    return radio_block(kind, device, channels, sample_rate, frequency, with_tags=bursts)


def _wait_for_lock(device: Any, board: int, reference: str) -> None:
    if "ref_locked" not in device.get_mboard_sensor_names(board):
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while not device.get_mboard_sensor("ref_locked", board).to_bool():
        if time.monotonic() > deadline:
            raise RadioError(f"USRP {board} does not lock to its {reference} 10 MHz reference; {MANUAL}")
        time.sleep(0.1)
