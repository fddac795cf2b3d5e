# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of several antennas from ZMQ sockets, as a GNU Radio source."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zmq
from numpy.typing import NDArray

from .base import MAX_ANTENNAS, KaqBlock, check_integer, ports
from .counters import Counters, counter

__all__ = ["PATTERNS", "zmq_sample_source"]

PATTERNS = ("pull", "sub", "req")
REQUEST = b"\xff"
POLL_MS = 100
SAMPLE = np.dtype("<c8")


@dataclass
class SampleSourceCounters(Counters):
    """What a `zmq_sample_source` counts."""

    bad_messages: int = counter("messages", "Messages that were dropped because of their length.")


class zmq_sample_source(KaqBlock[SampleSourceCounters]):
    """Complex samples that another process sends over ZMQ, without header and tags.

    With one address, a message holds samples of all antennas that alternate: antenna 0, antenna 1, ..., antenna 0, ...
    With one address per antenna, a message holds samples of that antenna; antennas are aligned by how many samples came
    since the start, so both sides have to start together, and nothing may be lost. With pattern ``"req"`` that is the
    radio of srsRAN's ZMQ driver: each message is asked for with an octet 0xFF.

    A message whose length is no multiple of a sample's (or 0) is dropped, counted and logged once; GNU Radio's own ZMQ
    sources hang the flowgraph then. With one address per antenna, that antenna is behind the others afterwards.

    Outputs: num_rx complex ports.

    Args:
        addresses: one, or one for each antenna, to connect to.
        num_rx: antennas.
        pattern: ``"pull"``, ``"sub"`` or ``"req"``: the other side's socket is a PUSH, PUB or REP.

    Raises:
        ValueError: an argument is out of range.
        OSError: an address cannot be connected to (zmq.ZMQError).
    """

    def __init__(self, addresses: Sequence[str], num_rx: int, pattern: str = "pull"):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        if pattern not in PATTERNS:
            raise ValueError(f"pattern is {pattern!r}; one of {', '.join(PATTERNS)} expected")
        if len(addresses) not in (1, num_rx):
            raise ValueError(f"{len(addresses)} addresses; 1, or {num_rx} (one for each antenna) expected")
        super().__init__("KAQ ZMQ sample source", [], ports(np.complex64, 1, num_rx))
        self._pattern = pattern
        self._addresses = list(addresses)
        self._channels = num_rx // len(addresses)
        self._sockets: list[zmq.Socket] = []
        self._open()

    def _open(self) -> None:
        kind = {"pull": zmq.PULL, "sub": zmq.SUB, "req": zmq.REQ}[self._pattern]
        self._sockets = [zmq.Context.instance().socket(kind) for _ in self._addresses]
        self._poller = zmq.Poller()
        self._pending = [np.zeros((self._channels, 0), np.complex64) for _ in self._addresses]
        self._asked = [False] * len(self._addresses)
        for socket, address in zip(self._sockets, self._addresses, strict=True):
            socket.setsockopt(zmq.LINGER, 0)
            if kind == zmq.SUB:
                socket.setsockopt(zmq.SUBSCRIBE, b"")
            try:
                socket.connect(address)
            except zmq.ZMQError as error:
                self._close()
                raise OSError(f"ZMQ address {address!r}: {error}; such as tcp://127.0.0.1:2000 expected") from None
            self._poller.register(socket, zmq.POLLIN)

    def _close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets = []

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Give out what all antennas have; wait for more, for a while, where one has nothing."""
        deadline = time.monotonic() + POLL_MS / 1000
        while not (count := min(pending.shape[1] for pending in self._pending)):
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            self._receive(left)
        count = min(count, len(output_items[0]))
        antenna = 0
        for place, pending in enumerate(self._pending):
            for samples in pending:
                output_items[antenna][:count] = samples[:count]
                antenna += 1
            self._pending[place] = pending[:, count:]
        return count

    def _receive(self, seconds: float) -> None:
        """Take one message of each socket whose samples are used up, should it come in this time."""
        for place, socket in enumerate(self._sockets):
            wanted = not self._pending[place].shape[1]
            if self._pattern == "req" and wanted and not self._asked[place]:
                socket.send(REQUEST, zmq.NOBLOCK)
                self._asked[place] = True
            # one that is ahead of the others may wait
            self._poller.modify(socket, zmq.POLLIN if wanted else 0)
        ready = dict(self._poller.poll(math.ceil(1000 * seconds)))
        for place, socket in enumerate(self._sockets):
            if socket in ready:
                self._asked[place] = False
                self._take(place, socket.recv_multipart(zmq.NOBLOCK))

    def _take(self, place: int, message: list[bytes]) -> None:
        size = SAMPLE.itemsize * self._channels
        if len(message) != 1 or not message[0] or len(message[0]) % size:
            self.counters.bad_messages += 1
            sizes = " + ".join(str(len(part)) for part in message)
            self.warn_once("message", f"dropped a ZMQ message of {sizes} bytes; a multiple of {size} expected")
            return
        samples = np.frombuffer(message[0], SAMPLE).astype(np.complex64, copy=False)
        self._pending[place] = samples.reshape(-1, self._channels).T

    def begin(self) -> None:
        """Connect, where the flowgraph is started again."""
        if not self._sockets:
            self._open()

    def end(self) -> None:
        """Close the sockets."""
        self._close()
