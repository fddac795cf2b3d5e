# SPDX-License-Identifier: GPL-3.0-or-later
"""One case: a flowgraph around a block, a random sequence of what may happen to it, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from gnuradio.gr.gr_python import top_block_wait_unlocked

from tests.fuzz import targets
from tests.fuzz.plumbing import Collector, Feeder, Listener
from tests.fuzz.target import Target, Verdict, within
from tests.fuzz.values import Choices

__all__ = ["Case", "run_case"]

SETTLE_S = 5.0  # in which nothing moves: what has arrived is not worked off any more then
MAX_STEPS = 16
EXTREME = 1e15  # what is larger may overflow in single precision when it is squared
DENORMAL = 1e-30  # the square of what is smaller is
REFUSALS = (ValueError, OSError, ImportError)


class Case:
    """The flowgraph of a target, and what was done to it."""

    def __init__(self, target: Target, choices: Choices):
        self.target, self.choices = target, choices
        self.tb = gr.top_block()
        self.fed = 0  # items, since the last start
        self.fed_before = 0
        self.exact = True  # never stopped or locked: what is in buffers then is gone
        self.interrupted = False  # stopped, whatever followed
        self.complete = True  # not locked since the last start
        self.extreme = self.denormal = False  # samples were
        self.set = False  # a setter was called
        self.tags: list[tuple[int, Any, Any, Any, Verdict]] = []  # port, item since the last start, key, value, verdict
        self.earlier_tags: list[tuple[int, Any, Any, Any, Verdict]] = []
        self.messages: dict[str, list[tuple[Any, Verdict]]] = {port: [] for port in target.message_inputs}
        self.did: list[str] = []
        self._connect()

    def _connect(self) -> None:
        target, tb = self.target, self.tb
        self.feeder = Feeder(target.inputs, self.choices.getrandbits(32)) if target.inputs else None
        self.collector = Collector(target.outputs, self.choices.getrandbits(32)) if target.outputs else None
        for port in range(len(target.inputs)):
            tb.connect((self.feeder, port), (target.block, port))
        for port in range(len(target.outputs)):
            tb.connect((target.block, port), (self.collector, port))
        self.listeners = {port: Listener() for port in target.message_outputs}
        for port, listener in self.listeners.items():
            tb.msg_connect(target.message_block(port, False), port, listener, "in")
        target.wire(tb)

    def note(self, what: str) -> None:
        """For who wants to know how it came about, also after a crash."""
        self.did.append(what)
        os.write(2, f"- {what}\n".encode())

    # What may happen

    def run(self) -> Iterator[str]:
        """Do it all; yields what went wrong."""
        target, choices = self.target, self.choices
        steps = [self.feed] * 6 * bool(self.feeder) + [self.say] * 4 * bool(target.message_inputs)
        steps += [self.turn] * 2 * bool(target.setters()) + [self.read, self.pause, self.lock]
        steps += [self.restart] * target.restarts + target.actions(self) * 3
        while choices.one_in(3):  # messages and settings come before the start, too
            choices.choice([step for step in steps if step in (self.say, self.turn, self.read)] or [self.read])()
        self.start()
        for _ in range(choices.randint(1, MAX_STEPS)):
            choices.choice(steps)()
        yield from self._settle()
        if self.feeder:
            self.feeder.end()
        else:
            target.finish(self)
        self.wait()
        for fault in self._check():
            yield f"denormal samples: {fault}" if self.denormal else fault

    def feed(self) -> None:
        """Items with tags."""
        count = self.target.items()
        tags = self.target.tags(count)
        self.tags += [(port, self.fed + item, key, value, verdict) for port, item, key, value, verdict in tags]
        piece = self.target.piece(count)
        self.feeder.feed(piece, [tag[:4] for tag in tags])
        self.fed += count
        sizes = [np.abs(items[np.isfinite(items)]) for items in piece]
        self.extreme |= any(size.max(initial=0) > EXTREME for size in sizes)
        self.denormal |= any(((size > 0) & (size < DENORMAL)).any() for size in sizes)
        self.note(f"feed {count} items, {len(tags)} tags")

    def say(self) -> None:
        """Messages on a port."""
        port = self.choices.choice(self.target.message_inputs)
        count = self.choices.choice((1, 1, 2, 5)) if not self.choices.one_in(40) else 300
        for _ in range(count):
            message, verdict = self.target.message(port)
            if message is not None:  # GNU Radio takes a null for the end of the queue: no block ever sees it
                self.messages[port].append((message, verdict))
            self.post(port, message)
        self.note(f"{count} messages on {port}")

    def post(self, port: str, message: Any) -> None:
        """One message. A block that sends it would keep the flowgraph from ending."""
        self.target.message_block(port, True)._post(pmt.intern(port), message)

    def turn(self) -> None:
        """A setting, or a model."""
        self.set = True
        with contextlib.suppress(REFUSALS):
            self.choices.choice(self.target.setters())()
        self.note("set")

    def read(self) -> None:
        """Readings from another thread."""
        for part in self.target.parts():
            part.stats()

    def pause(self) -> None:
        """Idle, then go on."""
        time.sleep(self.choices.choice((0, 0.001, 0.01)))

    def lock(self) -> None:
        """Reconfigure a flowgraph that runs. GNU Radio empties its buffers: blocks have to say so."""
        if not self.choices.one_in(2):
            return
        self.note("lock")
        self.tb.lock()
        self.tb.unlock()
        self.exact = self.complete = False
        if self.feeder:
            self.feeder.wake()

    def restart(self) -> None:
        """Stop, and start again: what is in buffers goes, what comes after stays."""
        if not self.choices.one_in(2):
            return
        self.note("stop")
        self.tb.stop()
        self.wait()
        self.exact, self.interrupted, self.complete = False, True, True
        if self.collector:
            self.collector.taken = 0
        if self.feeder:
            self.feeder.given = 0
            self.feeder.pieces.clear()
            self.feeder.tags.clear()
            self.fed_before += self.fed
            self.fed = 0
            self.earlier_tags += self.tags
            self.tags = []
        while self.target.message_inputs and self.choices.one_in(2):
            self.say()
        self.target.while_stopped(self)
        self.start()

    def start(self) -> None:
        """Start the flowgraph."""
        self.note("start")
        self.tb.start()
        if self.feeder:
            self.feeder.wake()

    def wait(self) -> None:
        """Until the flowgraph has ended."""
        waiting = threading.Thread(target=top_block_wait_unlocked, args=(self.tb._impl,), daemon=True)
        waiting.start()  # tb.wait() looks every 0.1 s
        while waiting.is_alive():
            self.target.meanwhile()
            waiting.join(0.002)

    # What must hold

    def _settle(self) -> Iterator[str]:
        """Let what has arrived be worked off, before the stream ends: messages that wait then are lost by design."""
        self.note("settle")
        deadline = time.monotonic() + SETTLE_S
        missing = {"": (0, 1)}
        while missing and time.monotonic() < deadline:
            bounds = self.target.lower_bounds(self)
            if self.feeder:
                bounds["items given out by the source"] = self.feeder.given, self.fed
            if self.target.equal_rate() and self.complete:
                bounds["items that came out"] = self.collector.taken, self.fed
            before, missing = missing, {name: bound for name, bound in bounds.items() if bound[0] < bound[1]}
            if missing != before:
                deadline = time.monotonic() + SETTLE_S
            if missing:
                time.sleep(0.002)
                self._nudge()
        for name, (count, expected) in missing.items():
            yield f"lost: {name}: {count} of {expected}"

    def _nudge(self) -> None:
        """Behind a null, GNU Radio leaves what is in the queue until the next message."""
        for port in self.target.message_inputs:
            nothing = pmt.cons(pmt.intern("nudge"), pmt.PMT_NIL)
            self.target.message_block(port, True)._post(pmt.intern("system"), nothing)

    def _check(self) -> Iterator[str]:
        target = self.target
        for part in target.parts():
            if part.internal_errors():
                yield f"internal error of {type(part).__name__}"
        if target.equal_rate():
            came = self.collector.taken
            if not self.fed * self.complete <= came <= self.fed:
                yield f"items: {came} came out of {self.fed}"
        if self.collector and self.collector.not_finite and target.finite(self):
            yield f"not finite: {self.collector.not_finite} values"
        yield from target.faults(self)

    def taken(self, name: str, counted: int) -> Iterator[str]:
        """A fault unless the block has taken all items that were fed, but for those that GNU Radio has dropped."""
        yield from within(name, counted, self.fed * self.complete, self.fed + self.fed_before)
        if not self.interrupted:
            dropped = self.target.block.dropped_items()  # at least so many
            yield from within(f"{name} with {dropped} dropped", counted + dropped, counted, self.fed)


def run_case(name: str, seed: int, number: int) -> tuple[list[str], list[str]]:
    """Run a case.

    Returns:
        What went wrong, and what was done.
    """
    choices = Choices(name, seed, number)
    with tempfile.TemporaryDirectory(prefix="kaq-fuzz-") as folder:
        target = targets.TARGETS[name](choices, Path(folder))
        case = None
        try:
            case = Case(target, choices)
            return list(case.run()), case.did
        except Exception:
            traceback.print_exc()
            if case:  # one that still runs would hang when it is freed
                case.tb.stop()
                case.wait()
            raise
        finally:
            target.close()
