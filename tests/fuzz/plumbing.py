# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks around a block under test: what feeds it in random chunks, and what takes and counts what it gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pmt
from gnuradio import gr

__all__ = ["Collector", "Feeder", "Listener", "connect_silence"]

MAX_KEPT = 20000  # messages


class Feeder(gr.sync_block):
    """Gives out arrays (items, width) of each port with their tags, in chunks, as far as it is let."""

    def __init__(self, ports: list[Any], seed: int):
        gr.sync_block.__init__(self, "feeder", [], ports)
        self.set_tag_propagation_policy(gr.TPP_DONT)
        self.random = random.Random(seed)
        self.pieces: list[list[np.ndarray]] = []  # of each port
        self.tags: list[list[tuple[int, int, Any, Any]]] = []  # of each piece: port, item, key, value
        self.given = 0  # items since the last start
        self.ending = False
        self.message_port_register_in(pmt.intern("wake"))
        self.set_msg_handler(pmt.intern("wake"), self.handle_wake)

    def handle_wake(self, message: Any) -> None:
        """GNU Radio calls a source that had nothing again only after a message, or a quarter of a second."""

    def feed(self, piece: list[np.ndarray], tags: list[tuple[int, int, Any, Any]]) -> None:
        """Let these items through."""
        self.tags.append(tags)
        self.pieces.append(piece)
        self.wake()

    def end(self) -> None:
        """End when all has been given."""
        self.ending = True
        self.wake()

    def wake(self) -> None:
        self._post(pmt.intern("wake"), pmt.PMT_NIL)

    def work(self, input_items: list[Any], output_items: list[Any]) -> int:
        if not self.pieces:
            return -1 if self.ending else 0
        piece = self.pieces[0]
        room = len(output_items[0])
        count = min(len(piece[0]), room, self.random.choice((1, 2, 3, 14, 100, room)))
        for items, values in zip(output_items, piece, strict=True):
            items[:count] = values[:count].reshape(items[:count].shape)
        first = self.nitems_written(0)
        tags = self.tags[0]
        for port, item, key, value in tags:
            if item < count:
                self.add_item_tag(port, first + item, key, value)
        if count == len(piece[0]):
            self.pieces.pop(0), self.tags.pop(0)
        else:
            self.pieces[0] = [values[count:] for values in piece]
            self.tags[0] = [(port, item - count, key, value) for port, item, key, value in tags if item >= count]
        self.given += count
        return count


class Collector(gr.basic_block):
    """Takes what comes on any number of ports, each at its own pace, a random part of what is there."""

    def __init__(self, ports: list[Any], seed: int):
        gr.basic_block.__init__(self, "collector", ports, [])
        self.set_tag_propagation_policy(gr.TPP_DONT)
        self.random = random.Random(seed)
        self.taken = 0
        self.tags = [0] * len(ports)
        self.not_finite = 0
        self.keep = False
        self.kept: list[list[np.ndarray]] = []

    def forecast(self, noutput_items: int, ninputs: int) -> list[int]:
        return [1] * ninputs

    def general_work(self, input_items: list[Any], output_items: list[Any]) -> int:
        there = min(map(len, input_items))
        count = min(there, self.random.choice((1, 5, there, there)))
        for port, items in enumerate(input_items):
            self.not_finite += int(np.count_nonzero(~np.isfinite(items[:count])))
            self.tags[port] += len(self.get_tags_in_window(port, 0, count))
        if self.keep:
            self.kept.append([np.array(items[:count]) for items in input_items])
        self.consume_each(count)
        self.taken += count
        return 0


class Listener(gr.basic_block):
    """Keeps the messages that come, and wakes nobody."""

    def __init__(self) -> None:
        gr.basic_block.__init__(self, "listener", [], [])
        self.messages: list[Any] = []
        self.count = 0
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.handle)

    def handle(self, message: Any) -> None:
        self.count += 1
        if len(self.messages) < MAX_KEPT:
            self.messages.append(message)


class Silence(gr.basic_block):
    """Sends nothing."""

    def __init__(self) -> None:
        gr.basic_block.__init__(self, "silence", [], [])
        self.message_port_register_out(pmt.intern("out"))


def connect_silence(tb: gr.top_block, block: Any, port: str) -> None:
    """Connect a message port of a block that has nothing else: one that is connected to nothing has no thread."""
    block.silence = Silence()  # kept as long as the block
    tb.msg_connect(block.silence, "out", block, port)
