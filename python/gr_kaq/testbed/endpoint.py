# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a ZMQ connection, and checks of the arguments that both ends share."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import zmq

__all__ = ["Endpoint", "close_sockets", "positive", "socket_type"]

CLOSING_SECONDS = 2.0  # beyond the linger period, on a busy machine

_log = logging.getLogger(__name__)


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


def positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; a whole number, 1 or more, expected")
    return int(value)


def socket_type(name: str, **kinds: int) -> int:
    if name not in kinds:
        raise ValueError(f"pattern={name!r}; one of {', '.join(kinds)} expected")
    return kinds[name]
