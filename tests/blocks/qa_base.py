# SPDX-License-Identifier: GPL-3.0-or-later
"""What `KaqGeneralBlock` promises to blocks whose inputs and outputs differ in rate, and what all blocks share."""

import gc
import threading
import time
import weakref

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr
from threadpoolctl import threadpool_info, threadpool_limits

from gr_kaq.blocks.base import MAX_WARNINGS, KaqGeneralBlock, ports
from gr_kaq.blocks.ber_meter import ber_meter
from gr_kaq.blocks.qam_source import qam_source
from tests.blocks.flowgraphs import Flowgraph, run, run_to_end, wait_until

IN, OUT = 14, 11


class DropThree(KaqGeneralBlock):
    """Of every 14 items the last 11. Raises as often as it is told to."""

    def __init__(self, failures=0):
        super().__init__("drop three", ports(np.complex64, 4, 2), ports(np.complex64, 4, 2))
        self.set_output_multiple(OUT)
        self.failures = failures

    def forecast(self, noutput_items, ninputs):
        return [noutput_items // OUT * IN] * ninputs

    def process(self, input_items, output_items):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("as told")
        count = min(len(input_items[0]) // IN, len(output_items[0]) // OUT)
        for received, given in zip(input_items, output_items, strict=True):
            given[: count * OUT] = received[: count * IN].reshape(count, IN, 4)[:, IN - OUT :].reshape(-1, 4)
        return count * IN, count * OUT


@pytest.mark.parametrize("chunk", [None, 1, 13, 50])
@pytest.mark.parametrize("frames", [1, 2, 57])
def test_no_tail_is_lost(frames, chunk):
    """What comes in whole frames goes out in whole frames, up to the end of the stream."""
    data = np.arange(frames * IN * 4 * 2).reshape(-1, 4, 2)
    flowgraph = run(DropThree(), data, chunk=chunk)
    expected = data.reshape(frames, IN, 4, 2)[:, IN - OUT :].reshape(-1, 4, 2)
    np.testing.assert_array_equal(flowgraph.output(), expected)


def test_an_exception_costs_what_was_there_to_read():
    """It is counted, and the block goes on."""
    data = np.arange(20 * IN * 4 * 2).reshape(-1, 4, 2)
    block = DropThree(failures=2)
    flowgraph = Flowgraph(block, data)
    with flowgraph:
        for failed in (1, 2):
            flowgraph.source.limit += IN
            flowgraph.wait_until(lambda failed=failed: block.internal_errors() == failed)
    np.testing.assert_array_equal(flowgraph.output(), data.reshape(20, IN, 4, 2)[2:, IN - OUT :].reshape(-1, 4, 2))


class Log:
    """Instead of GNU Radio's logger."""

    def __init__(self):
        self.lines = []
        self.warn = self.error = self.lines.append


def test_a_programming_error_says_what_and_where_once():
    """Zeros and a counter alone would look like bad reception."""
    block = DropThree(failures=3)
    block.logger = Log()
    flowgraph = Flowgraph(block, np.zeros((4 * IN, 4, 2)))
    with flowgraph:
        for failed in (1, 2, 3):
            flowgraph.source.limit += IN
            flowgraph.wait_until(lambda failed=failed: block.internal_errors() == failed)
    (line,) = block.logger.lines
    assert line.startswith("internal error, please report: RuntimeError: as told\n")
    assert "qa_base.py" in line and 'raise RuntimeError("as told")' in line
    block.failed(KeyError("of another type"))  # without a traceback, as it was never raised
    assert block.logger.lines[1:] == ["internal error, please report: KeyError: 'of another type'"]


def test_a_name_that_makes_the_loader_fail_is_told_from_a_wrong_one():
    """What is wrong with a name needs no traceback; what is wrong with the program does."""
    block, missing = DropThree(), {}
    block.logger = Log()

    def refuse(name):
        raise ValueError("no such thing")

    assert not block.take_name("thing", pmt.intern("a"), refuse, lambda: "old")
    assert not block.take_name("thing", pmt.intern("a"), missing.__getitem__, lambda: "old")
    assert not block.take_name("thing", pmt.PMT_T, print, lambda: "old")
    assert block.take_name("thing", pmt.intern("a"), len, lambda: "old")
    assert block.logger.lines[0] == "thing rejected, old stays: no such thing"
    assert (
        block.logger.lines[1].startswith("thing rejected, old stays: KeyError: 'a'\n")
        and "File" in block.logger.lines[1]
    )
    assert block.logger.lines[2] == "thing rejected, old stays: the message is no string"


def test_nobody_silences_what_is_another_kind():
    """Ever new nonsense may not use up what a fault of the program needs to be seen."""
    block = DropThree()
    block.logger = Log()
    for number in range(1000):
        block.take_name("thing", pmt.intern(f"thing {number}"), [].index, lambda: "old")
    assert len(block.logger.lines) == MAX_WARNINGS
    assert block.logger.lines[-1].endswith("; others of this kind are not logged")
    block.failed(RuntimeError("a fault"))
    assert block.logger.lines[-1] == "internal error, please report: RuntimeError: a fault"


@pytest.mark.parametrize("name", ["a\nKAQ :error: all is lost", "\x1b[2Jgone", "a\rb", "a\u2028b", "\x9b1m", "\u202eb"])
def test_a_name_cannot_forge_lines_of_the_log(name):
    """Nor command the terminal that shows it."""
    block = DropThree()
    block.logger = Log()

    def refuse(name):
        raise error(f"no thing {name}")

    for error in (ValueError, RuntimeError):  # noqa: B007 - which `refuse` raises
        assert not block.take_name("thing", pmt.intern(name), refuse, lambda: "old")
    block.failed(RuntimeError(name))
    for line in block.logger.lines:
        assert line.splitlines()[0].isprintable() and name not in line


def test_a_name_may_be_of_any_length_and_encoding():
    block = DropThree()
    block.logger = Log()
    not_utf8 = pmt.deserialize_str(b"\x02\x00\x02\xff\xfe")
    for message in (pmt.intern("a" * 10_000_000), not_utf8):
        assert not block.take_name("thing", message, print, lambda: "old")
    assert "10000000 characters; at most 4096" in block.logger.lines[0]
    assert "utf-8" in block.logger.lines[1] and all(len(line) < 1000 for line in block.logger.lines)


class Unstartable(ber_meter):
    """Its resource, which may be a port or a device, is gone."""

    error = OSError("the port is taken")

    def begin(self):
        super().begin()
        if self.error:
            raise self.error


class Idle(qam_source):
    """Waits for something that does not come."""

    def process(self, input_items, output_items):
        time.sleep(1e-3)
        return 0


@pytest.mark.parametrize("error", [OSError("the port is taken"), KeyError("a fault of ours")])
@pytest.mark.parametrize("source", [Idle, qam_source])
def test_a_block_that_cannot_start_ends_the_flowgraph(source, error):
    """GNU Radio waits for ever in start() where a block raises, and no Control-C helps."""
    tb, block, other = gr.top_block(), Unstartable(1), ber_meter(1)
    source = source(1)
    tb.connect(source, blocks.copy(gr.sizeof_gr_complex), block)
    tb.connect(source, other)
    block.error, block.logger = error, Log()
    for starts in (1, 2):
        run_to_end(tb)
        assert block.failed_starts() == starts and block.bits() == 0
    assert len(block.logger.lines) == 2
    for line in block.logger.lines:
        assert line.splitlines()[0] == f"cannot start, so the flowgraph ends: {error}"
        assert ("qa_base.py" in line) == isinstance(error, KeyError)


def test_it_can_start_again_when_the_reason_is_gone():
    tb, block = gr.top_block(), Unstartable(1)
    tb.connect(qam_source(1, num_items=1000), block)
    run_to_end(tb)
    block.error = None
    run_to_end(tb)
    assert (block.failed_starts(), block.bits(), block.bit_errors()) == (1, 4000, 0)


class Unstoppable(qam_source):
    def end(self):
        raise RuntimeError("as told")


def test_a_block_that_fails_at_the_end_has_ended():
    """An exception in stop() would end the process."""
    tb, block = gr.top_block(), Unstoppable(1, num_items=10)
    block.logger = Log()
    tb.connect(block, blocks.null_sink(gr.sizeof_gr_complex))
    run_to_end(tb)
    run_to_end(tb)
    assert block.internal_errors() == 2 and len(block.logger.lines) == 1


class Remembers(DropThree):
    """Keeps something in its thread's storage, which lives as long as Python's state of the thread."""

    def __init__(self):
        super().__init__()
        self.local, self.threads, self.kept = threading.local(), [], []

    def process(self, input_items, output_items):
        if not hasattr(self.local, "object"):
            self.local.object = DropThree()
            self.kept.append(weakref.ref(self.local.object))
            self.threads.append(threading.get_ident())
        assert threading.get_ident() == self.threads[-1]
        return super().process(input_items, output_items)


def run_in_several_calls(block, data):
    flowgraph = Flowgraph(block, data)
    with flowgraph:
        for frames in range(1, len(data) // IN + 1):
            flowgraph.source.limit = frames * IN
            flowgraph.wait_until(lambda frames=frames: len(flowgraph.sinks[0].data()) == frames * OUT * 4)


def test_a_thread_keeps_its_state_between_calls_and_no_longer():
    """A new one for each call costs a fifth of a receiver's speed; one that stayed would be lost memory."""
    data = np.arange(4 * IN * 4 * 2).reshape(-1, 4, 2)
    block = Remembers()
    for times in (1, 2):
        run_in_several_calls(block, data)
        assert len(block.kept) == times
        assert block.kept[-1]() is None
    assert block.internal_errors() == 0


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


class SeesBlas(DropThree):
    """Notes how many threads BLAS has."""

    seen = frozenset()

    def process(self, input_items, output_items):
        self.seen |= blas_threads()
        return super().process(input_items, output_items)


@pytest.mark.skipif(not threadpool_info(), reason="no BLAS that has threads")
def test_blas_has_one_thread_while_any_block_runs():
    with threadpool_limits(2, "blas"):
        block, other = SeesBlas(), DropThree()
        other.start()
        run(block, np.ones((IN, 4, 2)))
        assert block.seen == {1}
        assert blas_threads() == {1}
        other.stop()
        assert blas_threads() == {2}
        run(block, np.ones((IN, 4, 2)))
        assert block.seen == {1}
        assert blas_threads() == {2}


def test_blocks_that_nobody_keeps_are_started_again():
    """GNU Radio calls them by pointers that keep nothing; sixteen blocks used to be the limit."""
    tb = gr.top_block()
    for _ in range(20):
        tb.connect(qam_source(1, num_items=100), blocks.null_sink(gr.sizeof_gr_complex))
    for _ in range(3):
        gc.collect()
        run_to_end(tb)


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_a_block_is_freed_with_its_flowgraph(runs):
    """Whether it has run or not: a program may make receivers for ever."""
    tb, source, sink = gr.top_block(), qam_source(1, num_items=100), ber_meter(1)
    tb.connect(source, sink)
    for _ in range(runs):
        run_to_end(tb)
    freed = [weakref.ref(source), weakref.ref(sink)]
    del source, sink
    gc.collect()
    assert all(block() for block in freed)
    del tb
    gc.collect()
    assert not any(block() for block in freed)


def test_a_block_is_replaced_while_the_flowgraph_runs():
    """It is freed when GNU Radio has let it go, in whatever thread that is."""
    tb, source = gr.top_block(), qam_source(1)
    meter = ber_meter(1)
    tb.connect(source, meter)
    tb.start()
    for _ in range(5):
        wait_until(meter.bits)
        other = ber_meter(1)
        tb.lock()
        tb.disconnect(source, meter)
        tb.connect(source, other)
        tb.unlock()
        freed, meter = weakref.ref(meter), other
        gc.collect()
        assert not freed()
    wait_until(meter.bits)
    tb.stop()
    tb.wait()
    assert meter.bit_errors() == meter.internal_errors() == 0


def test_start_and_stop_of_a_caller_leave_its_own_thread_alone():
    for calls in (("start", "stop"), ("stop", "start", "start", "stop", "stop")):
        block = DropThree()
        for call in calls:
            assert getattr(block, call)()
    np.testing.assert_array_equal(run(block, np.ones((IN, 4, 2))).output(), np.ones((OUT, 4, 2)))
