# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases that go wrong on purpose."""

from __future__ import annotations

import ctypes
import os
import sys
import time

from tests.fuzz.values import FORGED

__all__ = ["go_wrong"]


def go_wrong(how: str) -> None:
    """Do what the harness has to notice."""
    if how == "crash":
        ctypes.string_at(0)
    elif how == "hang":
        time.sleep(60)
    elif how == "exit":
        os._exit(3)
    elif how == "raise":
        raise RuntimeError("on purpose")
    elif how == "forge":
        print(f"a name\n{FORGED}", file=sys.stderr)
    elif how == "fill":
        ctypes.memset(ctypes.create_string_buffer(400 << 20), 1, 400 << 20)
    elif how == "burn":
        end = time.process_time() + 1.5
        while time.process_time() < end:
            pass
