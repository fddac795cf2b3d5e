# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes a flowgraph's results: symbols or LLRs, with their tags."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import DTypeLike, NDArray

from .endpoint import Endpoint, WatchedSocket, positive, socket_type
from .zmq_frames import FrameError, Tag, decode_frame

__all__ = ["CONSUMER_ADDRESS", "Consumer", "Received"]

CONSUMER_ADDRESS = "tcp://127.0.0.1:5571"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """One frame.

    Attributes:
        items: (T, num_streams, num_subcarriers), read-only.
        offset: number of the first item in the sender's stream; None without tags.
        tags: with offsets counted in the sender's stream, as `offset` is.
    """

    items: NDArray
    offset: int | None
    tags: list[Tag]


class Consumer(Endpoint):
    """Takes items from `zeromq.push_sink` or `pub_sink`.

    Whoever may be sending, it goes on: a damaged frame is counted and skipped. Not thread-safe.

    Args:
        num_streams, num_subcarriers: shape of an item, as `blocks.streams_to_vector` joins it.
        dtype: type of an element: complex64 for symbols, float32 for LLRs.
        address: ZMQ endpoint.
        pattern: ``"pull"`` (from push_sink) or ``"sub"`` (from pub_sink).
        bind: bind instead of connect; GNU Radio's sinks bind.
        pass_tags: as set in the sink.
        high_water_mark: how many frames wait here for `receive`.
        max_frame_bytes: the connection of a peer that announces a longer frame is closed.
        timeout: seconds that `receive` waits at most.

    Attributes:
        address: the endpoint.
        num_rejected: damaged frames so far.
        last_error: what was wrong with the last of them.

    Raises:
        ValueError: an argument is out of range, or `address` is none.
        OSError: the address is in use.
    """

    def __init__(
        self,
        num_streams: int,
        num_subcarriers: int = 1,
        *,
        dtype: DTypeLike = np.complex64,
        address: str = CONSUMER_ADDRESS,
        pattern: str = "pull",
        bind: bool = False,
        pass_tags: bool = True,
        high_water_mark: int = 64,
        max_frame_bytes: int = 1 << 24,
        timeout: float = 10.0,
    ):
        self._item_shape = (positive("num_streams", num_streams), positive("num_subcarriers", num_subcarriers))
        self._dtype = np.dtype(dtype)
        self._pass_tags = pass_tags
        self.num_rejected = 0
        self.last_error = ""
        options: dict[int, Any] = {
            zmq.RCVHWM: positive("high_water_mark", high_water_mark),
            zmq.MAXMSGSIZE: positive("max_frame_bytes", max_frame_bytes),
        }
        if pattern == "sub":
            options[zmq.SUBSCRIBE] = b""
        super().__init__(socket_type(pattern, pull=zmq.PULL, sub=zmq.SUB), address, bind, timeout, options)
        self._lost = False
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        if not bind:
            self._watched = WatchedSocket(self._socket)
            self._poller.register(self._watched.news, zmq.POLLIN)

    def close(self) -> None:
        """Close the socket."""
        if hasattr(self, "_watched"):  # it does not bind, and could connect
            self._watched.close()
        super().close()

    def receive(self, timeout: float | None = None) -> Received:
        """The next frame that is not damaged.

        Args:
            timeout: seconds to wait at most, in place of the consumer's own.

        Raises:
            TimeoutError: there was none.
        """
        timeout = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        rejected_before = self.num_rejected
        while self._wait(deadline):
            try:
                return self._decode(self._socket.recv_multipart())
            except FrameError as error:
                self.num_rejected += 1
                self.last_error = str(error)
                _log.log(logging.WARNING if self.num_rejected == 1 else logging.DEBUG, "frame skipped: %s", error)
            if time.monotonic() > deadline:
                break
        rejected = self.num_rejected - rejected_before
        why = f"; {rejected} damaged frames were skipped, the last: {self.last_error}" if rejected else ""
        raise TimeoutError(f"no frame from {self.address} within {timeout:g} s{why}")

    def _wait(self, deadline: float) -> bool:
        """Whether a frame is there before the deadline; at least one look, however late it is."""
        while True:
            if self._lost and not self._socket.poll(0):  # what had arrived before is received first
                with contextlib.suppress(zmq.ZMQError):
                    self._socket.disconnect(self.address)
                self._socket.connect(self.address)
                self._lost = False
            left = max(0.0, deadline - time.monotonic())
            ready = [socket for socket, _ in self._poller.poll(int(np.ceil(1000 * left)))]
            if self._socket in ready or not ready:
                return bool(ready)
            _, self._lost = self._watched.watch()

    def _decode(self, parts: list[bytes]) -> Received:
        if len(parts) != 1:
            raise FrameError(f"a message of {len(parts)} parts; one expected")
        offset, tags, payload = decode_frame(parts[0]) if self._pass_tags else (None, [], memoryview(parts[0]))
        item_bytes = self._dtype.itemsize * self._item_shape[0] * self._item_shape[1]
        if len(payload) % item_bytes:
            raise FrameError(f"{len(payload)} bytes of samples are no multiple of an item's {item_bytes}")
        items = np.frombuffer(payload, self._dtype).reshape(-1, *self._item_shape)
        for tag in tags:
            if offset is not None and not 0 <= tag.offset - offset < len(items):
                raise FrameError(f"tag {tag.key!r:.40} at offset {tag.offset} is outside of the frame")
        return Received(items, offset, tags)
