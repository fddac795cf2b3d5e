# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a ZMQ connection, and checks of the arguments that both ends share."""

from __future__ import annotations

from typing import Any

import numpy as np
import zmq

__all__ = ["Endpoint", "positive", "socket_type"]


class Endpoint:
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


def positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; a whole number, 1 or more, expected")
    return int(value)


def socket_type(name: str, **kinds: int) -> int:
    if name not in kinds:
        raise ValueError(f"pattern={name!r}; one of {', '.join(kinds)} expected")
    return kinds[name]
