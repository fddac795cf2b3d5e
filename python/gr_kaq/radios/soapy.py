# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that SoapySDR has a driver for, by gr-soapy."""

from __future__ import annotations

from typing import Any

from .radio_block import MANUAL, RadioError, check_range, check_rate, import_gnuradio, one_line, radio_block

__all__ = ["soapy_source"]


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
    soapy = import_gnuradio("soapy", "SoapySDR")
    try:
        device = soapy.source(args, "fc32", num_rx, "", "", [""], [""])
        if reference != "internal":
            device.set_clock_source(reference)
            device.set_time_source(reference)
        for channel in range(num_rx):
            device.set_sample_rate(channel, sample_rate)
            check_rate(device.get_sample_rate(channel), sample_rate, "SoapySDR device")
            if connector is not None:
                device.set_antenna(channel, connector)
            if gain is not None:
                gains = device.get_gain_range(channel)
                check_range(gain, [(gains.minimum(), gains.maximum())], "SoapySDR device: gain", "dB")
                device.set_gain_mode(channel, False)
                device.set_gain(channel, gain)
            tunable = [(part.minimum(), part.maximum()) for part in device.get_frequency_range(channel)]
            check_range(frequency, tunable, "SoapySDR device: frequency", "Hz")
            device.set_frequency(channel, frequency)
    except (RuntimeError, ValueError, IndexError) as error:
        if "no match" in str(error):
            raise RadioError(f"no SoapySDR device found with args {args!r}; connect one, or {MANUAL}") from None
        raise RadioError(f"SoapySDR device with args {args!r}: {one_line(error)}; {MANUAL}") from None
    return radio_block("soapy_source", device, num_rx, sample_rate, frequency)
