# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a flowgraph whose radio may fall silent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from .radio_block import MANUAL, RadioError

__all__ = ["run"]

STOP_SECONDS = 10.0
POLL_SECONDS = 0.05


def run(
    flowgraph: Any,
    count: Callable[[], int],
    done: Callable[[int], bool] = lambda count: False,
    *,
    report: Callable[[int], None] = lambda count: None,
    timeout: float = 10.0,
) -> None:
    """Run a flowgraph until it ends or is done. A flowgraph whose radio has fallen silent never ends by itself.

    Args:
        flowgraph: a `gr.top_block`.
        count: says how many samples were received.
        done: says of this count, and whatever else it knows, whether that is enough.
        report: called with the count about once a second.
        timeout: seconds without samples after which to give up.

    Raises:
        RadioError: nothing came for that long.
        KeyboardInterrupt: Ctrl-C; the flowgraph has been stopped.
    """
    ended = threading.Event()

    def wait() -> None:
        flowgraph.wait()
        ended.set()

    flowgraph.start()
    threading.Thread(target=wait, daemon=True).start()
    last = count()
    changed = reported = time.monotonic()
    try:
        while not ended.wait(POLL_SECONDS):
            received, now = count(), time.monotonic()
            if done(received):
                break
            if now > reported + 1:
                reported = now
                report(received)
            if received != last:
                last, changed = received, now
            elif now > changed + timeout:
                raise RadioError(f"no samples for {timeout:g} s; {MANUAL}")
    finally:
        _stop(flowgraph, ended)


def _stop(flowgraph: Any, ended: threading.Event) -> None:
    """Stop it and wait, though Ctrl-C may come again: Python must not end while its blocks run."""
    deadline, stopped = time.monotonic() + STOP_SECONDS, False
    while not ended.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(KeyboardInterrupt):
            if not stopped:
                flowgraph.stop()
                stopped = True
            ended.wait(deadline - time.monotonic())
