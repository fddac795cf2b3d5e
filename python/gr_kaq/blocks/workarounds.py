# SPDX-License-Identifier: GPL-3.0-or-later
"""What the blocks do only because GNU Radio, or pybind11 under it, does not.

`WORKAROUNDS` says what was reported, and from which version on each is not needed. tests/blocks/qa_workarounds.py fails
when the installed version is that new. Where no such version is known, it shows the fault itself, in a process of its
own, and fails when the fault is gone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .access import _gnuradio

__all__ = ["WORKAROUNDS", "KeptThreadState", "Workaround"]


@dataclass(frozen=True)
class Workaround:
    """A fault of GNU Radio, and what works around it.

    Attributes:
        fault: what goes wrong without.
        remedy: where it is worked around.
        reports: what was reported upstream, as it stood in 2026.
        needless_from: the first version of GNU Radio without the fault; None: none is known.
    """

    fault: str
    remedy: str
    reports: str
    needless_from: tuple[int, ...] | None = None


WORKAROUNDS = {
    "references": Workaround(
        "a Python block that nobody keeps is freed while its flowgraph calls it: a crash in start()",
        "to_basic_block in gr_kaq.blocks.base, and owned_block in python/bindings/gnuradio_bindings.cc",
        "gnuradio#8137, open; PR gnuradio#8141 mends it and is open; gnuradio#3435 and #5133 are earlier reports",
    ),
    "thread state": Workaround(
        "Python's state of a block's thread is made and deleted for each call of work: a fifth of a receiver's speed",
        "KeptThreadState, and keep_thread_state in python/bindings/gnuradio_bindings.cc",
        "pybind11#6179, open",
    ),
    "port arrays": Workaround(
        "gr.sync_block makes a class for the array of each port in each call of work, which takes some 10 us",
        "handle_general_work in gr_kaq.blocks.base, and port_arrays in python/bindings/gnuradio_bindings.cc",
        "none of the speed; gnuradio#5357 asked for arrays made by pybind11, and was closed without",
    ),
    "message ports": Workaround(
        "a hierarchical block whose message ports are connected inside is never freed, nor are its buffers",
        "mimo_receiver, and connect_own_message_port in python/bindings/gnuradio_bindings.cc",
        "gnuradio#7706, open",
    ),
    "failing start": Workaround(
        "tb.start() waits for good where a block's start() raises; one whose stop() raises ends the process",
        "start and stop of gr_kaq.blocks.base, which call begin and end",
        "none was found",
    ),
    "idle source": Workaround(
        "a source that gave out nothing is called again after 250 ms",
        "set_blkd_input_timer_value in zmq_sample_source and zmq_sample_sink",
        "gnuradio#3192, gnuradio#5345",
    ),
}


class KeptThreadState:
    """Python's state of a block's thread, kept from `keep` to `drop`, which that thread calls.

    Without it, pybind11 makes one for each call from C++ and deletes it afterwards (pybind11#6179).
    """

    def __init__(self) -> None:
        self._thread: int | None = None

    def keep(self) -> None:
        """Keep it, unless it is kept already, or belongs to a thread that Python has started."""
        if self._thread != threading.get_ident() and _gnuradio.keep_thread_state():
            self._thread = threading.get_ident()

    def drop(self) -> None:
        """Undo `keep` of this thread, if it kept anything."""
        if self._thread == threading.get_ident():
            self._thread = None
            _gnuradio.drop_thread_state()
