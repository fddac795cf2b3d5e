# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of several antennas from ZMQ sockets, as a GNU Radio source."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zmq
from numpy.typing import NDArray

from ..testbed.endpoint import WatchedSocket
from ..testbed.zmq_frames import HEADER, MAGIC, VERSION
from .base import MAX_ANTENNAS, KaqBlock, check_integer, ports
from .counters import Counters, counter

__all__ = ["PATTERNS", "zmq_sample_source"]

PATTERNS = {"pull": zmq.PULL, "sub": zmq.SUB, "req": zmq.REQ}
REQUEST = b"\xff"
POLL_MS = 100
KEEP_S = 0.5  # sockets of a flowgraph that may only have been locked
SAMPLE = np.dtype("<c8")


@dataclass
class SampleSourceCounters(Counters):
    """What a `zmq_sample_source` counts."""

    bad_messages: int = counter("messages", "Messages that were dropped because of their length, or of tags in them.")
    lost_connections: int = counter(
        "connections", "Connections that ended: the peer went away, or sent a message that is too long."
    )


class zmq_sample_source(KaqBlock[SampleSourceCounters]):
    """Complex samples that another process sends over ZMQ, without header and tags.

    With one address, a message holds samples of all antennas that alternate: antenna 0, antenna 1, ..., antenna 0, ...
    With one address per antenna, a message holds samples of that antenna; antennas are aligned by how many samples came
    since the start, so both sides have to start together, and nothing may be lost. With pattern ``"req"`` that is the
    radio of srsRAN's ZMQ driver: each message is asked for with an octet 0xFF.

    A message whose length is no multiple of a sample's (or 0) is dropped, counted and logged once; GNU Radio's own ZMQ
    sources hang the flowgraph then. So is one with the header of GNU Radio's sinks that pass tags. With one address per
    antenna, that antenna is behind the others afterwards.

    A peer may go away at any time, also between a request and its answer, and come back: what arrived as a whole is
    given out once, and in order. So it is with a peer that sends more than max_message_bytes in a message: ZMQ closes
    the connection, this block opens it again.

    Outputs: num_rx complex ports.

    Args:
        addresses: one, or one for each antenna, to connect to.
        num_rx: antennas.
        pattern: ``"pull"``, ``"sub"`` or ``"req"``: the other side's socket is a PUSH, PUB or REP.
        max_message_bytes: how long a message may be.
        high_water_mark: how many messages of an address wait here; a PUSH socket waits then, a PUB socket drops. So
            what waits takes max_message_bytes * high_water_mark at most, 256 MiB for each address by default.

    Raises:
        ValueError: an argument is out of range.
        OSError: an address cannot be connected to (zmq.ZMQError).
    """

    def __init__(
        self,
        addresses: Sequence[str],
        num_rx: int,
        pattern: str = "pull",
        *,
        max_message_bytes: int = 1 << 24,
        high_water_mark: int = 16,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        if pattern not in PATTERNS:
            raise ValueError(f"pattern is {pattern!r}; one of {', '.join(PATTERNS)} expected")
        if len(addresses) not in (1, num_rx):
            raise ValueError(f"{len(addresses)} addresses; 1, or {num_rx} (one for each antenna) expected")
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.MAXMSGSIZE: check_integer("max_message_bytes", max_message_bytes, 1, 1 << 31),
            zmq.RCVHWM: check_integer("high_water_mark", high_water_mark, 1, 1 << 20),
        }
        if pattern == "sub":
            options[zmq.SUBSCRIBE] = b""
        super().__init__("KAQ ZMQ sample source", [], ports(np.complex64, 1, num_rx))
        self.set_blkd_input_timer_value(1)  # ms; see `workarounds`, "idle source"
        self._pattern, self._addresses, self._options = pattern, list(addresses), options
        self._channels = num_rx // len(addresses)
        self._peers: list[_Peer] = []
        self._closing: threading.Timer | None = None
        self._lock = threading.Lock()  # another thread closes
        self._open()

    def _open(self) -> None:
        self._pending = [np.zeros((self._channels, 0), np.complex64) for _ in self._addresses]
        try:
            for address in self._addresses:
                self._peers.append(_Peer(address, self._pattern, self._options))
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        for peer in self._peers:
            peer.close()
        self._peers = []

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
        """Take one message of each address whose samples are used up, should it come in this time."""
        poller = zmq.Poller()
        for place, peer in enumerate(self._peers):
            if not self._pending[place].shape[1]:  # one that is ahead of the others may wait
                peer.ask()
                poller.register(peer.socket, zmq.POLLIN)
            poller.register(peer.news, zmq.POLLIN)
        ready = dict(poller.poll(math.ceil(1000 * seconds)))
        for place, peer in enumerate(self._peers):
            if peer.socket in ready:
                self._take(place, peer.receive())
            elif ended := peer.mend():
                self.counters.lost_connections += ended
                self.warn_once("connection", f"the connection to {peer.address} ended; it is made again", place)

    def _take(self, place: int, message: list[bytes]) -> None:
        size = SAMPLE.itemsize * self._channels
        if _has_tags(message[0]):
            self.counters.bad_messages += 1
            self.warn_once("tags", "dropped a ZMQ message with GNU Radio's header: turn Pass Tags off where it is sent")
            return
        if len(message) != 1 or not message[0] or len(message[0]) % size:
            self.counters.bad_messages += 1
            sizes = " + ".join(str(len(part)) for part in message)
            self.warn_once("message", f"dropped a ZMQ message of {sizes} bytes; a multiple of {size} expected")
            return
        samples = np.frombuffer(message[0], SAMPLE).astype(np.complex64, copy=False)
        self._pending[place] = samples.reshape(-1, self._channels).T

    def begin(self) -> None:
        """Connect, where the flowgraph is started again. If it was only locked, nothing that came meanwhile is lost."""
        with self._lock:
            self._closing = None
            if not self._peers:
                self._open()

    def end(self) -> None:
        """Close the sockets, unless the flowgraph goes on at once."""
        closing = self._closing = threading.Timer(KEEP_S, lambda: self._close_after(closing))
        closing.daemon = True
        closing.start()

    def _close_after(self, closing: threading.Timer) -> None:
        with self._lock:
            if self._closing is closing:
                self._close()


def _has_tags(message: bytes) -> bool:
    """Whether it begins with what GNU Radio's ZMQ sinks put in front of samples. Samples hardly do: one in 2^56."""
    if len(message) < HEADER.size:
        return False
    magic, version, _, num_tags = HEADER.unpack_from(message)
    return (magic, version) == (MAGIC, VERSION) and num_tags < 1 << 32


class _Peer:
    """Who sends, at one address.

    Raises:
        OSError: it is none.
    """

    def __init__(self, address: str, pattern: str, options: dict[int, int | bytes]):
        self.address, self._pattern, self._options = address, pattern, options
        self._connect()

    def _connect(self) -> None:
        self.socket: zmq.Socket = zmq.Context.instance().socket(PATTERNS[self._pattern])
        for option, value in self._options.items():
            self.socket.setsockopt(option, value)
        self._watched = WatchedSocket(self.socket)
        self.news = self._watched.news
        self._asked = self._unanswered = False
        try:
            self.socket.connect(self.address)
        except zmq.ZMQError as error:
            self.close()
            raise OSError(f"ZMQ address {self.address!r}: {error}; such as tcp://127.0.0.1:2000 expected") from None

    def close(self) -> None:
        """Close the sockets."""
        self._watched.close()

    def ask(self) -> None:
        """Ask for a message, where that is necessary."""
        if self._pattern == "req" and not self._asked:
            with contextlib.suppress(zmq.Again):
                self.socket.send(REQUEST, zmq.NOBLOCK)
                self._asked = True

    def receive(self) -> list[bytes]:
        """A message that is there."""
        self._asked = self._unanswered = False
        return self.socket.recv_multipart(zmq.NOBLOCK)

    def mend(self) -> int:
        """Connect again, where ZMQ does not, and ask again where there will be no answer.

        Returns:
            How often the connection has ended since the last time.
        """
        ended, lost = self._watched.watch()
        self._unanswered |= self._asked and ended > 0
        if (lost or self._unanswered) and not self.socket.poll(0):  # what had arrived before is taken first
            self.close()
            self._connect()
        return ended
