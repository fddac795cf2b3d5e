# SPDX-License-Identifier: GPL-3.0-or-later
"""One BLAS thread while a flowgraph runs.

Every block has a thread of its own. BLAS's threads wait for each other at work; where cores are busy, which in a
flowgraph they are, the inverse of a 3 x 3 matrix takes milliseconds.
"""

from __future__ import annotations

import contextlib
import threading

try:
    from threadpoolctl import threadpool_limits
except ImportError:  # a convenience: OPENBLAS_NUM_THREADS=1 does the same
    threadpool_limits = None

__all__ = ["begin", "end"]

_lock = threading.Lock()
_running: set[int] = set()
_limit = contextlib.ExitStack()


def begin(block: object) -> None:
    """A block starts: limit BLAS, unless another one has."""
    with _lock:
        if not _running and threadpool_limits is not None:
            _limit.enter_context(threadpool_limits(1, "blas"))
        _running.add(id(block))


def end(block: object) -> None:
    """A block has stopped: after the last one, BLAS has as many threads as before."""
    with _lock:
        _running.discard(id(block))
        if not _running:
            _limit.close()
