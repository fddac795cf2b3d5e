# SPDX-License-Identifier: GPL-3.0-or-later
"""Flowgraphs that a test feeds step by step, and that fail instead of hanging."""

from __future__ import annotations

import importlib
import pkgutil
import threading
import time

import numpy as np
import pmt
from gnuradio import blocks, gr

import gr_kaq.blocks

TIMEOUT_S = 300


def names_of_blocks():
    """Of all blocks that there are, public or not."""
    names = {module.name for module in pkgutil.iter_modules(gr_kaq.blocks.__path__)}
    return {
        name
        for name in names
        if hasattr(getattr(importlib.import_module(f"gr_kaq.blocks.{name}"), name, None), "counters_type")
    }


def tag(item, value, key="mimo_channel", port=0):
    return port, item, key, value


def snr_tag(item, snr_db):
    return tag(item, pmt.from_double(snr_db), "snr")


def holds_none():
    """Whether a PMT in Python can hold a null pointer. In newer GNU Radio only those of C++ blocks can."""
    try:
        pmt.cons(None, None)
    except TypeError:
        return False
    return True


NONE = [None] if holds_none() else []


class TaggedSource(gr.sync_block):
    """Sends `data` (items, subcarriers, ports) with tags, only as far as `limit`, in chunks."""

    def __init__(self, data, tags=(), chunk=None):
        num_subcarriers, ports = data.shape[1:]
        vector = np.complex64 if num_subcarriers == 1 else (np.complex64, num_subcarriers)
        gr.sync_block.__init__(self, "tagged source", [], [vector] * ports)
        self.data, self.tags, self.chunk, self.limit = data, list(tags), chunk or len(data), 0

    def work(self, input_items, output_items):
        start = self.nitems_written(0)
        if start == len(self.data):
            return -1
        count = min(self.chunk, self.limit - start, len(output_items[0]))
        if count <= 0:
            time.sleep(0.001)
            return 0
        for port, items in enumerate(output_items):
            items[:count] = self.data[start : start + count, :, port].reshape(items[:count].shape)
        for port, item, key, value in self.tags:
            if start <= item < start + count:
                self.add_item_tag(port, item, pmt.intern(key), value)
        return count


class Gate(gr.sync_block):
    """Takes nothing before `open`: a radio that is slower than whatever comes."""

    def __init__(self, width=1):
        kind = np.complex64 if width == 1 else (np.complex64, width)
        gr.sync_block.__init__(self, "gate", [kind], [kind])
        self.open = threading.Event()

    def work(self, input_items, output_items):
        if not self.open.wait(0.001):
            return 0
        output_items[0][:] = input_items[0]
        return len(output_items[0])


class Flowgraph:
    """A source, the block under test, a sink per output. Fails the test where it would hang."""

    def __init__(self, block, data, tags=(), chunk=None):
        self.block, self.source = block, TaggedSource(np.asarray(data, np.complex64), tags, chunk)
        self.sinks = []
        self.tb = gr.top_block()
        for port in range(data.shape[2]):
            self.tb.connect((self.source, port), (block, port))
        for port, dtype in enumerate(block.out_sig()):
            sink = (blocks.vector_sink_c if dtype.base == np.complex64 else blocks.vector_sink_f)(
                dtype.itemsize // dtype.base.itemsize
            )
            self.sinks.append(sink)
            self.tb.connect((block, port), sink)
        self._thread = threading.Thread(target=self.tb.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        if exception[0] is None:
            self.finish()
        self.tb.stop()

    def wait_until(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, "the flowgraph hangs"
            time.sleep(0.001)

    def send(self, count):
        """Let `count` more items through, and wait until all of them have been processed."""
        self.source.limit += count
        self.wait_until(lambda: len(self.sinks[0].data()) >= self.source.limit * self._width(0))

    def post(self, port, message, done):
        """Send a message, and wait until it has been handled, which `done` tells."""
        self.block._post(pmt.intern(port), message)
        self.wait_until(done)

    def finish(self):
        """Let the rest through, and wait until the flowgraph has ended."""
        self.source.limit = len(self.source.data)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the flowgraph hangs"

    def output(self, ports=None):
        """What came out: (items, width, ports)."""
        ports = range(len(self.sinks)) if ports is None else ports
        return np.stack([np.array(self.sinks[p].data()).reshape(-1, self._width(p)) for p in ports], axis=-1)

    def tags(self, port=0):
        return [(t.offset, str(t.key)) for t in self.sinks[port].tags()]

    def _width(self, port):
        dtype = self.block.out_sig().port_types(port + 1)[port]
        return dtype.itemsize // dtype.base.itemsize


def run(block, data, tags=(), chunk=None):
    """Send everything at once. Returns the flowgraph that has ended."""
    with Flowgraph(block, data, tags, chunk) as flowgraph:
        pass
    return flowgraph


def run_to_end(tb):
    """tb.run() that fails instead of hanging."""
    thread = threading.Thread(target=tb.run, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the flowgraph hangs"


def wait_until(condition):
    """Until it holds; fails where that takes too long."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the flowgraph hangs"
        time.sleep(0.001)
