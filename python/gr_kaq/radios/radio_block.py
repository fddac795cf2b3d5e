# SPDX-License-Identifier: GPL-3.0-or-later
"""What all radios share: a device as a hierarchical block, and errors in one line.

A source has attributes `sample_rate` (samples per second, None: not known) and `frequency` (Hz or None). GNU Radio is
imported when the first radio is made, so that command lines can be parsed without it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "MANUAL",
    "RadioError",
    "check_range",
    "check_rate",
    "import_gnuradio",
    "one_line",
    "radio_block",
    "source_block",
]

MANUAL = "see docs/guide/hardware.md"


class RadioError(OSError):
    """A radio that cannot be used; the message says why in one line."""


def source_block(name: str, num_rx: int, sample_rate: float | None, frequency: float | None) -> Any:
    """A source of num_rx complex streams, to which nothing is connected yet."""
    gr = import_gnuradio("gr", name)
    signature = gr.io_signature(num_rx, num_rx, gr.sizeof_gr_complex)
    hierarchical = gr.hier_block2(name, gr.io_signature(0, 0, 0), signature)
    hierarchical.sample_rate, hierarchical.frequency = sample_rate, frequency
    return hierarchical


def radio_block(
    kind: str,
    device: Any,
    channels: int,
    sample_rate: float | None,
    frequency: float | None,
    with_tags: bool = True,
) -> Any:
    """A device as a block of this kind, a source, or a sink that gets tags or not."""
    if kind.endswith("_source"):
        hierarchical = source_block(kind, channels, sample_rate, frequency)
        for channel in range(channels):
            hierarchical.connect((device, channel), (hierarchical, channel))
        return hierarchical
    gr = import_gnuradio("gr", kind)
    signature = gr.io_signature(channels, channels, gr.sizeof_gr_complex)
    hierarchical = gr.hier_block2(kind, signature, gr.io_signature(0, 0, 0))
    for channel in range(channels):
        # without `packet_len`, UHD would follow tx_sob and tx_eob
        gates = [] if with_tags else [import_gnuradio("blocks", kind).tag_gate(gr.sizeof_gr_complex, False)]
        hierarchical.connect((hierarchical, channel), *gates, (device, channel))
    return hierarchical


def check_rate(got: float, wanted: float, what: str) -> None:
    """Raise RadioError where a device has taken another sample rate than it was asked for."""
    if abs(got - wanted) > 1e-3 * wanted:
        raise RadioError(f"{what}: sample rate {wanted:g} asked for, {got:g} is the nearest it has")


def check_range(wanted: float, ranges: Iterable[tuple[float, float]], what: str, unit: str) -> None:
    """Raise RadioError where a device would take another value than it is asked for; without a range, any will do."""
    ranges = list(ranges)
    if ranges and not any(low <= wanted <= high for low, high in ranges):
        known = ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
        raise RadioError(f"{what} of {wanted:g} {unit}: it has {known} {unit}")


def import_gnuradio(name: str, user: str) -> Any:
    """A module of GNU Radio, or a RadioError that says what `user` needs."""
    try:
        return importlib.import_module(f"gnuradio.{name}")
    except ImportError as error:
        raise RadioError(f"{user} needs GNU Radio's {name} ({error}); apt install gnuradio, or {MANUAL}") from None


def one_line(error: Exception) -> str:
    """An error's text in one line, quotes of UHD's Python exceptions taken away."""
    return re.sub(r"\s+", " ", str(error).replace("\\n", " ")).strip("' ") or type(error).__name__
