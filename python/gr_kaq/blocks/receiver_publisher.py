# SPDX-License-Identifier: GPL-3.0-or-later
"""What a receiver shows, published over ZMQ for `kaq monitor` (`gr_kaq.monitoring.feed`)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
import zmq
from numpy.typing import NDArray

from ..frames.frame_format import SYMBOL_COUNTS, FrameFormat
from .base import MAX_ANTENNAS, KaqBlock, check_integer, dict_of, ports
from .counters import Counters, counter

__all__ = ["receiver_publisher"]

MAX_ENTRIES = 256  # of a dict, or of one of its vectors
WAITING_MESSAGES = 20  # in the socket, for a slow view, before it drops


@dataclass
class PublisherCounters(Counters):
    """What a `receiver_publisher` counts."""

    displays: int = counter("messages", "Messages for displays that were sent, whether anybody took them or not.")
    rejected_messages: int = counter("messages", "Messages on port `stats` that are no dict.")


class receiver_publisher(KaqBlock[PublisherCounters]):
    """Publishes what a `mimo_receiver` with `monitor` shows, for `kaq monitor`.

    A PUB socket drops what nobody takes in time, so that no view slows the receiver. Of the displays it sends one
    frame every interval_s.

    Inputs, of the receiver's outputs: symbols of stream 0, received carriers of antenna 0, the channel's magnitude. An
    item is a frame.

    Messages:
        stats (in): of the receiver's port `stats`.

    Args:
        num_rx, num_tx, fft_size, num_symbols: as the receiver's.
        address: that it binds. On loopback, unless others are to see what is received; there is no encryption.
        interval_s: seconds between two frames for displays.

    Raises:
        ValueError: an argument is out of range, or the address cannot be bound.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        fft_size: int = 64,
        *,
        num_symbols: int = SYMBOL_COUNTS[0],
        address: str = "tcp://127.0.0.1:5580",
        interval_s: float = 0.2,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        frame = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        self._num_tx = frame.num_tx
        if not 0 < interval_s <= 3600:
            raise ValueError(f"interval_s is {interval_s}; a number above 0, at most 3600, expected")
        self._interval_s, self._next = interval_s, 0.0
        data = ports(np.complex64, frame.data_per_stream, 1)
        channel = ports(np.float32, frame.num_active * self._num_rx * frame.num_tx, 1)
        super().__init__("KAQ receiver publisher", [*data, *data, *channel], [])
        # of the process: one of its own would wait for the socket when both are collected as garbage
        self._socket: Any = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, WAITING_MESSAGES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ValueError(f"address {address!r} cannot be bound: {error}") from None
        self._address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.message_port_register_in(pmt.intern("stats"))
        self.set_msg_handler(pmt.intern("stats"), self.handle_stats)

    def address(self) -> str:
        """The address, with the port that it has got."""
        return self._address

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Publish one of the next frames, if that is due."""
        symbols, received, channel = input_items
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval_s
            shown = {
                "num_rx": self._num_rx,
                "num_tx": self._num_tx,
                "symbols": symbols[-1],
                "received": received[-1],
                "channel_db": channel[-1],
            }
            self._send(pmt.serialize_str(pmt.to_pmt(shown)))
            self.counters.displays += 1
        return len(symbols)

    def handle_stats(self, message: Any) -> None:
        """A message on port `stats`."""

        def take() -> None:
            self._send(pmt.serialize_str(_flat(dict_of(message))))

        self.counters.rejected_messages += self.refused("message", "nothing", take)

    def _send(self, message: bytes) -> None:
        self._socket.send(message, zmq.NOBLOCK)  # which a PUB socket drops rather than waits


def _flat(entries: Any) -> Any:
    """The entries that a counter may be: numbers, strings and short vectors. What is nested, GNU Radio may serialize
    for ever."""
    flat, keys = pmt.make_dict(), pmt.dict_keys(entries)
    for _ in range(MAX_ENTRIES):
        if pmt.is_null(keys):
            break
        key, keys = pmt.car(keys), pmt.cdr(keys)
        value = pmt.dict_ref(entries, key, pmt.PMT_NIL)
        short = pmt.is_uniform_vector(value) and pmt.length(value) <= MAX_ENTRIES
        if pmt.is_number(value) or pmt.is_bool(value) or pmt.is_symbol(value) or short:
            flat = pmt.dict_add(flat, key, value)
    return flat
