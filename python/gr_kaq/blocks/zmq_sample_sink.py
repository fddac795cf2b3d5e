# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of several antennas to ZMQ sockets, as a GNU Radio sink."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import zmq
from numpy.typing import NDArray

from ..testbed.endpoint import MAX_REQUEST_BYTES, close_sockets
from .base import MAX_ANTENNAS, KaqBlock, check_integer, ports

__all__ = ["PATTERNS", "zmq_sample_sink"]

PATTERNS = ("push", "pub", "rep")
POLL_SECONDS = 0.1
LINGER_SECONDS = 1.0  # for what has been sent when the flowgraph ends


class zmq_sample_sink(KaqBlock):
    """Complex samples for another process, without header and tags: what `zmq_sample_source` takes.

    With one address, streams alternate in a message: stream 0, stream 1, ..., stream 0, ... With one address per
    stream, each has messages of its own, of the same lengths. With pattern ``"rep"`` a message answers a request,
    whatever that says in up to 4096 bytes: the radio of srsRAN's ZMQ driver.

    GNU Radio's own push_sink waits for ever when its peer goes away while it sends; this one goes on when there is
    another.

    Inputs: num_tx complex ports.

    Args:
        addresses: one, or one for each stream, to bind to.
        num_tx: streams.
        pattern: ``"push"``, ``"pub"`` (which drops what nobody takes) or ``"rep"``.

    Raises:
        ValueError: an argument is out of range.
        OSError: an address cannot be bound to.
    """

    def __init__(self, addresses: Sequence[str], num_tx: int, pattern: str = "push"):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_ANTENNAS)
        if pattern not in PATTERNS:
            raise ValueError(f"pattern is {pattern!r}; one of {', '.join(PATTERNS)} expected")
        if len(addresses) not in (1, num_tx):
            raise ValueError(f"{len(addresses)} addresses; 1, or {num_tx} (one for each stream) expected")
        super().__init__("KAQ ZMQ sample sink", ports(np.complex64, 1, num_tx), [])
        self.set_blkd_input_timer_value(1)  # ms; see `workarounds`, "idle source"
        self._pattern = pattern
        self._addresses = list(addresses)
        self._channels = num_tx // len(addresses)
        self._sockets: list[zmq.Socket] = []
        self._open()

    def _open(self) -> None:
        kind = {"push": zmq.PUSH, "pub": zmq.PUB, "rep": zmq.REP}[self._pattern]
        self._context = zmq.Context()
        self._sockets = [self._context.socket(kind) for _ in self._addresses]
        self._requested = [self._pattern != "rep"] * len(self._addresses)
        self._unsent: dict[int, bytes] = {}  # by the socket's place
        self._count = 0  # samples of a stream in those messages
        for socket, address in zip(self._sockets, self._addresses, strict=True):
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
            try:
                socket.bind(address)
            except zmq.ZMQError as error:
                self._close()
                raise OSError(f"ZMQ address {address!r}: {error}; such as tcp://127.0.0.1:2000 expected") from None

    def _close(self) -> None:
        """Wait, for a while, until what was sent has gone out: it would be lost if the program ended now."""
        if not close_sockets(self._context, LINGER_SECONDS):
            self.warn_once("close", f"ZMQ did not close {', '.join(self._addresses)}: what was sent last may be lost")
        self._sockets = []

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Send one message over each socket; try for a while, and go on with it in the next call."""
        if not self._unsent:
            self._count = len(input_items[0])
            groups = np.array(input_items, "<c8").reshape(len(self._sockets), self._channels, self._count)
            self._unsent = {place: group.T.tobytes() for place, group in enumerate(groups)}
        deadline = time.monotonic() + POLL_SECONDS
        while self._unsent:
            events = zmq.Poller()
            for place in self._unsent:
                events.register(self._sockets[place], zmq.POLLOUT if self._requested[place] else zmq.POLLIN)
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            events.poll(math.ceil(1000 * left))
            for place in list(self._unsent):
                self._try(place)
        return self._count

    def _try(self, place: int) -> None:
        """Take a request where one is needed, and send, if that is possible now."""
        socket = self._sockets[place]
        try:
            if not self._requested[place]:
                socket.recv_multipart(zmq.NOBLOCK)
                self._requested[place] = True
            socket.send(self._unsent[place], zmq.NOBLOCK)
        except zmq.Again:
            return
        del self._unsent[place]
        self._requested[place] = self._pattern != "rep"

    def begin(self) -> None:
        """Bind, where the flowgraph is started again."""
        if not self._sockets:
            self._open()

    def end(self) -> None:
        """Close the sockets."""
        self._close()
