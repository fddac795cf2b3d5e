#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/guide/counters.md, out of what the blocks declare (`gr_kaq.blocks.counters`).

PYTHONPATH=build/test_modules /usr/bin/python3 docs/internals/counters_page.py > docs/guide/counters.md
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from gr_kaq import blocks
from gr_kaq.blocks.base import KaqBlock, KaqGeneralBlock
from gr_kaq.blocks.counters import Counters, Entry, entries

HEADING = """\
# What the blocks count

Nothing that arrives in a stream stops a block, so its counters are where a fault shows. Every entry below is a method
of the block, and an entry of its `stats()`. A Function Probe of GNU Radio Companion calls the method by name.

Blocks with a message port `stats` publish all of them as a dict, about every `stats_interval_s` seconds and at the end.
`ber_meter` has the port `ber` instead. `mimo_receiver` counts in the blocks that it is made of; its `stats()` has a
dict for each of them.

Every block has `internal_errors`, exceptions that were caught and should not have happened: 0 on a sound system. The
first of each type is logged, with the places where it was raised; please report it. Every block has two more:

| name | unit | meaning |
|---|---|---|
{common}

A block that cannot start, because a port is taken or a device is gone, says why and ends the flowgraph.

**lock() and unlock() lose what is on its way.** GNU Radio 3.10 empties all buffers in unlock(), with their tags, and
counts items from 0 again (gnuradio#6105, #6110). Each block says so once, and counts what waited in front of it, and
in front of blocks of GNU Radio before it: all of it where a block of gr-kaq sends, and at least what was there when
this block stopped where another does. `frame_transmitter` counts bursts that were cut off. Settings of a block can be
changed while it runs, without lock().

**A log line is one line.** What is quoted from a message, tag or file has escape sequences in place of line breaks and
control characters. A block logs at most 16 warnings of a kind, and one kind never silences another.

This page is made from the sources:

    PYTHONPATH=build/test_modules /usr/bin/python3 docs/internals/counters_page.py > docs/guide/counters.md
"""


def counting_blocks() -> dict[str, type]:
    """Every block that counts more than all blocks do, under its name."""
    found = {}
    for module in pkgutil.iter_modules(blocks.__path__):
        block = getattr(importlib.import_module(f"gr_kaq.blocks.{module.name}"), module.name, None)
        if isinstance(block, type) and issubclass(block, KaqBlock | KaqGeneralBlock) and own_entries(block):
            found[module.name] = block
    return found


def own_entries(block: type) -> list[Entry]:
    """Its entries without those that every block has."""
    return [entry for entry in entries(block) if entry.name not in Counters.__annotations__]


def _rows(described: list[Entry]) -> str:
    return "\n".join(f"| `{entry.name}` | {entry.unit} | {entry.meaning} |" for entry in described)


def page() -> str:
    """docs/guide/counters.md."""
    common = [entry for entry in entries(KaqBlock) if entry.name != "internal_errors"]
    lines = [HEADING.format(common=_rows(common))]
    for name, block in counting_blocks().items():
        lines += [f"## {name}", "", "| name | unit | meaning |", "|---|---|---|"]
        lines += [_rows(own_entries(block)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
