# SPDX-License-Identifier: GPL-3.0-or-later
"""What a receiver shows, published over ZMQ for `kaq monitor` (`gr_kaq.monitoring.feed`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
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
MAX_CHOICE_BYTES = 4096


@dataclass
class PublisherCounters(Counters):
    """What a `receiver_publisher` counts."""

    displays: int = counter("messages", "Messages for displays that were sent, whether anybody took them or not.")
    rejected_messages: int = counter("messages", "Messages on port `stats` that are no dict.")
    choices: int = counter("messages", "Choices of views that were passed on.")
    rejected_choices: int = counter("messages", "Messages of views that choose nothing that is offered.")


class receiver_publisher(KaqBlock[PublisherCounters]):
    """Publishes what a `mimo_receiver` with `monitor` shows, for `kaq monitor`.

    Its socket drops what nobody takes in time, so that no view slows the receiver. Messages are numbered, so that a
    view counts what it has lost. Of the displays it sends one frame every interval_s.

    Whoever reaches the address may choose from `detectors` and `estimators`, and nothing else. A choice is taken when
    the next frame or message arrives.

    Inputs, of the receiver's outputs: symbols of stream 0, received carriers of antenna 0, the channel's magnitude. An
    item is a frame.

    Messages:
        stats (in): of the receiver's port `stats`.
        model, estimator (out): names that were chosen, for the receiver's ports.

    Args:
        num_rx, num_tx, fft_size, num_symbols: as the receiver's.
        address: that it binds. On loopback, unless others are to see what is received; there is no encryption.
        interval_s: seconds between two frames for displays.
        detectors, estimators: names that views may choose from.

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
        detectors: Sequence[str] = (),
        estimators: Sequence[str] = (),
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        frame = FrameFormat(num_tx, fft_size, num_symbols=num_symbols)
        self._num_tx = frame.num_tx
        if not 0 < interval_s <= 3600:
            raise ValueError(f"interval_s is {interval_s}; a number above 0, at most 3600, expected")
        self._interval_s, self._next = interval_s, 0.0
        self._offered = {"model": tuple(map(str, detectors)), "estimator": tuple(map(str, estimators))}
        self._number = 0
        self._lock = threading.Lock()  # frames and messages come in threads of their own
        data = ports(np.complex64, frame.data_per_stream, 1)
        channel = ports(np.float32, frame.num_active * self._num_rx * frame.num_tx, 1)
        super().__init__("KAQ receiver publisher", [*data, *data, *channel], [])
        # of the process: one of its own would wait for the socket when both are collected as garbage
        self._socket: Any = zmq.Context.instance().socket(zmq.XPUB)  # a PUB socket that hears its subscribers
        self._socket.setsockopt(zmq.SNDHWM, WAITING_MESSAGES)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_CHOICE_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ValueError(f"address {address!r} cannot be bound: {error}") from None
        self._address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.message_port_register_in(pmt.intern("stats"))
        self.set_msg_handler(pmt.intern("stats"), self.handle_stats)
        for port in self._offered:
            self.message_port_register_out(pmt.intern(port))

    def address(self) -> str:
        """The address, with the port that it has got."""
        return self._address

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Publish one of the next frames, if that is due."""
        symbols, received, channel = input_items
        self._take_choices()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval_s
            shown = {
                "num_rx": self._num_rx,
                "num_tx": self._num_tx,
                "symbols": symbols[-1],
                "received": received[-1],
                "channel_db": channel[-1],
                **{f"offered_{port}": "\n".join(names) for port, names in self._offered.items()},
            }
            self._send(pmt.to_pmt(shown))
            self.counters.displays += 1
        return len(symbols)

    def handle_stats(self, message: Any) -> None:
        """A message on port `stats`."""

        def take() -> None:
            self._send(_flat(dict_of(message)))

        self._take_choices()
        self.counters.rejected_messages += self.refused("message", "nothing", take)

    def _send(self, entries: Any) -> None:
        """Which the socket drops rather than waits."""
        with self._lock:
            self._number += 1
            entries = pmt.dict_add(entries, pmt.intern("number"), pmt.from_long(self._number))
            self._socket.send(pmt.serialize_str(entries), zmq.NOBLOCK)

    def _take_choices(self) -> None:
        """What views have sent: ``port=name``. Behind a 0 or 1 come their subscriptions."""
        while True:
            try:
                with self._lock:
                    message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] in (b"", b"\0", b"\1"):
                continue
            port, _, name = message.decode("utf-8", "replace").partition("=")
            if name in self._offered.get(port, ()):
                self.counters.choices += 1
                self.message_port_pub(pmt.intern(port), pmt.intern(name))
            else:
                self.counters.rejected_choices += 1


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
