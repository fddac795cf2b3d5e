# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process in place of a radio, over ZMQ."""

from __future__ import annotations

from typing import Any

from .radio_block import RadioError, import_gnuradio, radio_block

__all__ = ["zmq_sink", "zmq_source"]


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
    return radio_block("zmq_source", device, num_rx, sample_rate, frequency)


def zmq_sink(addresses: list[str], num_tx: int, pattern: str = "push") -> Any:
    """Send to another process, as `zmq_source` expects it; see `gr_kaq.blocks.zmq_sample_sink`.

    Raises:
        RadioError: an address cannot be bound to.
        ValueError: an argument is out of range.
    """
    return radio_block("zmq_sink", _zmq_block("zmq_sample_sink", addresses, num_tx, pattern), num_tx, None, None)


def _zmq_block(name: str, addresses: list[str], channels: int, pattern: str) -> Any:
    import_gnuradio("gr", "ZMQ")
    try:
        from ..blocks.zmq_sample_sink import zmq_sample_sink  # noqa: PLC0415 - not where GNU Radio or zmq is missing
        from ..blocks.zmq_sample_source import zmq_sample_source  # noqa: PLC0415

        block = zmq_sample_sink if name == "zmq_sample_sink" else zmq_sample_source
        return block(addresses, channels, pattern)
    except ImportError as error:
        raise RadioError(f"ZMQ needs Python's zmq ({error}); apt install python3-zmq") from None
    except OSError as error:
        raise RadioError(str(error)) from None
