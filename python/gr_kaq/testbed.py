# SPDX-License-Identifier: GPL-3.0-or-later
"""Feed a GNU Radio flowgraph from a program without GNU Radio, and take its results back, over ZMQ.

    with Producer(num_rx=4, num_tx=4) as producer, Consumer(num_streams=4) as consumer:
        producer.send(y, h=h, noise_var=0.01)       # -> zeromq.pull_source(..., pass_tags=True)
        symbols = consumer.receive().items          # <- zeromq.push_sink(..., pass_tags=True)

Samples of all antennas travel through one socket, since sockets are not aligned with each other. An item is one
channel use of one OFDM symbol: (num_rx, num_subcarriers) in C order, which `blocks.vector_to_streams` cuts into one
vector of num_subcarriers per antenna. docs/zmq-testbed.md has the wire format and both flowgraphs.

`python -m gr_kaq.testbed produce` and `... consume` are a simulated testbed: see their `--help`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zmq.utils.monitor import recv_monitor_message

from .csi import ChannelEstimate, check_snr
from .zmq_frames import FrameError, Tag, Uint64, decode_frame, encode_frame

__all__ = ["CONSUMER_ADDRESS", "PRODUCER_ADDRESS", "Consumer", "FrameError", "Producer", "Received", "Tag", "Uint64"]

PRODUCER_ADDRESS = "tcp://127.0.0.1:5570"
CONSUMER_ADDRESS = "tcp://127.0.0.1:5571"

RETRY_MS = 50

_log = logging.getLogger(__name__)


class _Endpoint:
    """A ZMQ socket that is closed with its context, so that nothing is left behind."""

    def __init__(self, kind: int, address: str, bind: bool, timeout: float, options: dict[int, Any]):
        if not 0 < timeout < 1e6:
            raise ValueError(f"timeout={timeout}; seconds, more than 0, expected")
        self.timeout = timeout
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        try:
            for option, value in options.items():
                self._socket.setsockopt(option, value)
            self._socket.setsockopt(zmq.SNDTIMEO, int(1000 * timeout))
            (self._socket.bind if bind else self._socket.connect)(address)
            self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        except zmq.ZMQError as error:
            self.close()
            what = f"cannot {'bind' if bind else 'connect'} to {address!r}: {error.strerror}"
            raise (OSError if error.errno == zmq.EADDRINUSE else ValueError)(what) from None

    def close(self) -> None:
        """Close the socket. A producer first waits, for `timeout` at most, until a receiver has taken what was sent."""
        self._context.destroy(linger=int(1000 * self.timeout))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Producer(_Endpoint):
    """Sends received samples with their channel estimates to `zeromq.pull_source` or `sub_source` (pass_tags=True).

    It binds, because GNU Radio's sources connect. Whatever could kill the source at the other end (a wrong size or
    type, an estimate that is not finite) is refused here. Not thread-safe.

    Args:
        num_rx, num_tx: receive antennas and transmitted streams.
        num_subcarriers: channel uses per item, each with its own H.
        address: ZMQ endpoint; ``tcp://127.0.0.1:*`` takes any free port. There is neither authentication nor
            encryption: leave the loopback interface only within a network that you trust.
        pattern: ``"push"`` (every frame reaches one receiver, `send` waits for it) or ``"pub"`` (every frame goes to
            all receivers that are there, and is dropped for those that are too slow).
        high_water_mark: how many frames wait for a receiver before `send` blocks (push) or drops (pub).
        timeout: seconds that `send` and `close` wait at most.

    Attributes:
        address: the endpoint, with the port that was taken.
        num_items: items sent, which is the next item's offset.
        num_estimates: channel estimates sent.

    Raises:
        ValueError: an argument is out of range, or `address` is none.
        OSError: the address is in use.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        num_subcarriers: int = 1,
        *,
        address: str = PRODUCER_ADDRESS,
        pattern: str = "push",
        high_water_mark: int = 16,
        timeout: float = 10.0,
    ):
        self._item_shape = (_positive("num_rx", num_rx), _positive("num_subcarriers", num_subcarriers))
        self._h_shape = (num_subcarriers, num_rx, _positive("num_tx", num_tx))
        self.num_items = 0
        self.num_estimates = 0
        options = {
            zmq.SNDHWM: _positive("high_water_mark", high_water_mark),  # ZMQ takes 0 for 'no limit'
        }
        super().__init__(_pattern(pattern, push=zmq.PUSH, pub=zmq.PUB), address, True, timeout, options)

    def send(
        self,
        samples: ArrayLike,
        *,
        h: ArrayLike | None = None,
        noise_var: float | None = None,
        snr_db: float | None = None,
        seq: int | None = None,
        tags: Sequence[Tag] = (),
    ) -> None:
        """Send one frame of samples; an estimate holds from its first item until the next estimate.

        Args:
            samples: complex (T, num_rx, num_subcarriers), T >= 1; with one subcarrier also (T, num_rx). NaN and Inf
                are left to the detector.
            h: complex (num_subcarriers, num_rx, num_tx); with one subcarrier also (num_rx, num_tx).
            noise_var: noise variance per receive antenna, known together with `h`.
            snr_db: mean received signal power over noise power per receive antenna, in dB; needed where no
                `noise_var` is known.
            seq: number of the estimate, 64 bits; by default how many were sent before.
            tags: further tags, with offsets counted from the first item of this frame.

        Raises:
            ValueError: a shape, type or value is not as above. Nothing was sent.
            TimeoutError: no receiver took the frame within `timeout`. Nothing was sent.
        """
        samples = np.asarray(samples)
        if self._item_shape[1] == 1 and samples.ndim == 2:
            samples = samples[:, :, None]
        if samples.ndim != 3 or samples.shape[1:] != self._item_shape or not len(samples):
            raise ValueError(
                f"samples have shape {samples.shape}; (T, {self._item_shape[0]}, {self._item_shape[1]}) expected"
            )
        if not np.iscomplexobj(samples):
            raise ValueError(f"samples are {samples.dtype}; complex expected")
        for tag in tags:
            if not isinstance(tag.key, str) or not 0 <= tag.offset < len(samples):
                raise ValueError(
                    f"a tag has key {tag.key!r} and offset {tag.offset}; a string and an item of the frame expected"
                )
        all_tags = [*self._estimate_tags(h, noise_var, snr_db, seq), *tags]
        absolute = [tag._replace(offset=self.num_items + tag.offset) for tag in all_tags]
        frame = encode_frame(samples.astype(np.complex64).tobytes(), self.num_items, absolute)
        try:
            self._socket.send(frame)
        except zmq.Again:
            raise TimeoutError(f"no receiver at {self.address} took a frame within {self.timeout:g} s") from None
        self.num_items += len(samples)
        self.num_estimates += h is not None

    def _estimate_tags(
        self, h: ArrayLike | None, noise_var: float | None, snr_db: float | None, seq: int | None
    ) -> list[Tag]:
        tags = []
        if h is not None:
            h = np.asarray(h)
            if self._h_shape[0] == 1 and h.ndim == 2:
                h = h[None]
            if not np.iscomplexobj(h):
                raise ValueError(f"h is {h.dtype}; complex expected")
            with np.errstate(over="ignore"):
                h = h.astype(np.complex64)
            ChannelEstimate(h, noise_var).check(self._h_shape)
            estimate: dict[str, Any] = {"h": h.ravel(), "shape": self._h_shape}
            if noise_var is not None:
                estimate["noise_var"] = float(noise_var)
            estimate["seq"] = Uint64(self.num_estimates if seq is None else seq)
            tags.append(Tag(0, "mimo_channel", estimate))
        elif noise_var is not None or seq is not None:
            raise ValueError("noise_var and seq belong to h, which is missing")
        if snr_db is not None:
            tags.append(Tag(0, "snr", check_snr(snr_db)))
        return tags


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


class Consumer(_Endpoint):
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
        self._item_shape = (_positive("num_streams", num_streams), _positive("num_subcarriers", num_subcarriers))
        self._dtype = np.dtype(dtype)
        self._pass_tags = pass_tags
        self.num_rejected = 0
        self.last_error = ""
        options: dict[int, Any] = {
            zmq.RCVHWM: _positive("high_water_mark", high_water_mark),
            zmq.MAXMSGSIZE: _positive("max_frame_bytes", max_frame_bytes),
        }
        if pattern == "sub":
            options[zmq.SUBSCRIBE] = b""
        super().__init__(_pattern(pattern, pull=zmq.PULL, sub=zmq.SUB), address, bind, timeout, options)
        self._lost = False
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        if not bind:
            self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
            self._poller.register(self._monitor, zmq.POLLIN)

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
            # ZMQ connects again by itself, and says so at once, except to a peer that broke its protocol, as by too
            # long a frame
            while self._monitor.poll(RETRY_MS if self._lost else 0):
                self._lost = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_DISCONNECTED

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


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; a whole number, 1 or more, expected")
    return int(value)


def _pattern(name: str, **kinds: int) -> int:
    if name not in kinds:
        raise ValueError(f"pattern={name!r}; one of {', '.join(kinds)} expected")
    return kinds[name]


if __name__ == "__main__":
    from gr_kaq.testbed_command import main

    sys.exit(main())
