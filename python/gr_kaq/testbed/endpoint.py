# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a ZMQ connection, and checks of the arguments that both ends share."""

from __future__ import annotations

import itertools
import logging
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
    """A ZMQ socket, and one that tells what becomes of its connections.

    For as long as a socket tells, somebody has to be there, and has to take any number of events: a peer that is away
    gives ten a second, whether anybody reads them or not. Otherwise ZMQ's own thread waits, and with it every socket of
    the context. So both are closed together and in this order, even when they are forgotten.

    Args:
        socket: whose it is from now on.

    Attributes:
        socket: the same.
        events: is readable when something has become of a connection.
        close: closes both.
    """

    def __init__(self, socket: zmq.Socket):
        self.socket = socket
        address = f"inproc://kaq.monitor.{next(_monitors)}"
        socket.monitor(address, zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        self.events = socket.context.socket(zmq.PAIR)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.setsockopt(zmq.RCVHWM, 0)
        self.events.connect(address)
        self.close = weakref.finalize(self, _close_watched, self.socket, self.events)
        self.close.atexit = False  # a flowgraph may still use it

    def watch(self, lost: bool) -> tuple[int, bool]:
        """What has become of the connection since the last time.

        ZMQ connects again by itself, and says so at once, except to a peer that broke its protocol, as by too long a
        message.

        Args:
            lost: what this found last; False at first. If it was lost, this waits a little for what comes next.

        Returns:
            How often it has ended, and whether it is lost for good.
        """
        ended = 0
        while self.events.poll(RETRY_MS if lost else 0):
            lost = recv_monitor_message(self.events)["event"] == zmq.EVENT_DISCONNECTED
            ended += lost
        return ended, lost


def _close_watched(socket: zmq.Socket, events: zmq.Socket) -> None:
    socket.disable_monitor()
    events.close()
    socket.close()


def positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; a whole number, 1 or more, expected")
    return int(value)


def socket_type(name: str, **kinds: int) -> int:
    if name not in kinds:
        raise ValueError(f"pattern={name!r}; one of {', '.join(kinds)} expected")
    return kinds[name]
