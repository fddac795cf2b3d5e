# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a ZMQ connection, and checks of the arguments that both ends share."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import weakref
from typing import Any

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["MAX_REQUEST_BYTES", "Endpoint", "WatchedSocket", "close_sockets", "positive", "socket_type"]

CLOSING_SECONDS = 2.0  # beyond the linger period, on a busy machine
RETRY_MS = 50

MAX_REQUEST_BYTES = 4096
"""That a socket takes which sends samples: of a request, or of a subscription. Who connects may send anything."""

_log = logging.getLogger(__name__)
_monitors = itertools.count()


class Endpoint:
    """A ZMQ socket that is closed with its context, so that nothing is left behind."""

    def __init__(self, kind: int, address: str, bind: bool, timeout: float, options: dict[int, Any]):
        if not 0 < timeout < 1e6:
            raise ValueError(f"timeout={timeout}; seconds, more than 0, expected")
        self.timeout, self.address = timeout, address
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
        if not close_sockets(self._context, self.timeout):
            _log.warning("ZMQ did not close %s within %g s", self.address, self.timeout)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def close_sockets(context: zmq.Context, linger: float) -> bool:
    """Close a context and its sockets, which wait for `linger` seconds at most until what was sent has gone out.

    libzmq 4.3.4 does not always end after that, where a peer is gone in the middle of a message. What it holds then
    stays until the process ends.

    Returns:
        Whether it ended.
    """
    closing = threading.Thread(target=context.destroy, kwargs={"linger": int(1000 * linger)}, daemon=True)
    closing.start()
    closing.join(linger + CLOSING_SECONDS)
    return not closing.is_alive()


class WatchedSocket:
    """A ZMQ socket, and what becomes of its connections.

    For as long as a socket tells that, somebody has to be there, and has to take any number of events: a peer that is
    away gives ten a second. Where nobody does, ZMQ's own thread waits, and with it every socket of the context, or
    memory fills. So a thread takes them, also while nobody asks; and all is closed together, even when it is forgotten.

    Args:
        socket: whose it is from now on.

    Attributes:
        socket: the same.
        news: is readable when a connection has ended since `watch` was called; for a poller.
        close: closes all.
    """

    def __init__(self, socket: zmq.Socket):
        self.socket = socket
        address = f"inproc://kaq.monitor.{next(_monitors)}"
        socket.monitor(address, zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_MONITOR_STOPPED)
        events = socket.context.socket(zmq.PAIR)
        events.setsockopt(zmq.LINGER, 0)
        events.setsockopt(zmq.RCVHWM, 0)
        events.connect(address)
        self._connections = _Connections()
        self.news = self._connections.news
        thread = threading.Thread(target=_follow, args=(events, self._connections), daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _close_watched, self.socket, thread, self._connections)
        self.close.atexit = False  # a flowgraph may still use it

    def watch(self) -> tuple[int, bool]:
        """What has become of the connection since the last time.

        ZMQ connects again by itself, and says so at once, except to a peer that broke its protocol, as by too long a
        message. If a connection has ended, this waits a little for what comes next.

        Returns:
            How often it has ended, and whether it is lost for good.
        """
        return self._connections.ended()


class _Connections:
    """What is known of the connections of a socket: one thread says it, another one asks."""

    def __init__(self) -> None:
        self.news, self._say = socket.socketpair()
        for end in (self.news, self._say):
            end.setblocking(False)
        self._changed = threading.Condition()
        self._ended, self._lost = 0, False

    def note(self, lost: bool) -> None:
        """A connection has ended, or is tried again."""
        with self._changed:
            self._ended += lost
            self._lost = lost
            self._changed.notify()
        if lost:
            with contextlib.suppress(OSError):  # it says so already, or is closed
                self._say.send(b"!")

    def ended(self) -> tuple[int, bool]:
        """How often one has ended since the last time, and whether it is tried no more."""
        with contextlib.suppress(BlockingIOError):
            while self.news.recv(4096):
                pass
        with self._changed:
            self._changed.wait_for(lambda: not self._lost, RETRY_MS / 1000)
            ended, self._ended = self._ended, 0
            return ended, self._lost

    def close(self) -> None:
        self.news.close()
        self._say.close()


def _follow(events: zmq.Socket, connections: _Connections) -> None:
    with events:
        while (event := recv_monitor_message(events)["event"]) != zmq.EVENT_MONITOR_STOPPED:
            connections.note(event == zmq.EVENT_DISCONNECTED)


def _close_watched(socket: zmq.Socket, thread: threading.Thread, connections: _Connections) -> None:
    socket.disable_monitor()
    if thread is not threading.current_thread():  # which may be the one that finds that it is forgotten
        thread.join()
    connections.close()
    socket.close()


def positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; a whole number, 1 or more, expected")
    return int(value)


def socket_type(name: str, **kinds: int) -> int:
    if name not in kinds:
        raise ValueError(f"pattern={name!r}; one of {', '.join(kinds)} expected")
    return kinds[name]
