#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the processes that the ZMQ blocks talk to, one after the other, in the middle of what they are at.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 benchmarks/killed_peers.py [--kills 1000] [--kinds push,rep]

The kind is that of the killed peer's socket: push, pub and rep send to a zmq_sample_source; pull, sub and req receive
from a zmq_sample_sink. A peer is killed (SIGKILL) some milliseconds after its first message has arrived, and the next
one takes its place. Each message is numbered, so it shows what is lost, comes twice or out of order. What is on its way
to a peer that is killed, or still within it, has not arrived, and does not count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import socket
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np
import zmq

SENDERS = {"push": "pull", "pub": "sub", "rep": "req"}
"""What a zmq_sample_source is that they send to."""
RECEIVERS = {"pull": "push", "sub": "pub", "req": "rep"}
"""What a zmq_sample_sink is that they receive from."""

SAMPLES = 32  # of a message
STALLED_S = 20.0
LIFE_S = 0.02  # of a peer whose first message has arrived, at most
context = multiprocessing.get_context("forkserver")


@dataclass
class Outcome:
    """What became of the messages.

    Attributes:
        kind: of the peers.
        kills: how many were killed.
        messages: that arrived.
        gaps: messages that did not arrive although an earlier and a later one of the same peer did.
        repeated: messages that came twice, or after a later one.
        cut: messages that did not come as a whole.
        stalled: peers from which, or to which, nothing came in 20 s.
    """

    kind: str
    kills: int = 0
    messages: int = 0
    gaps: int = 0
    repeated: int = 0
    cut: int = 0
    stalled: int = 0

    def add(self, last: int | None, number: int) -> int:
        """Count a message, given the number of the last one of this peer, and return its own."""
        self.messages += 1
        if last is not None:
            self.gaps += max(0, number - last - 1)
            self.repeated += number <= last
        return number

    @property
    def sound(self) -> bool:
        """Whether all that arrived was delivered once, as a whole, and in order."""
        return not (self.gaps or self.repeated or self.cut or self.stalled)


def send(kind: str, address: str, peer: int) -> None:
    """A peer that sends: samples whose real part is its own number, and whose imaginary part is the message's."""
    chance = random.Random(peer)
    with zmq.Context() as own, own.socket(getattr(zmq, kind.upper())) as out:
        out.bind(address)
        for message in itertools.count():
            if kind == "rep":
                out.recv()
                time.sleep(chance.uniform(0, 0.004))  # so that many are killed between request and answer
            else:
                time.sleep(0.0005)
            out.send(np.full(SAMPLES, complex(peer, message), np.complex64).tobytes())


def receive(kind: str, address: str, numbers: multiprocessing.connection.Connection) -> None:
    """A peer that receives, and tells the numbers of all samples."""
    with zmq.Context() as own, own.socket(getattr(zmq, kind.upper())) as incoming:
        if kind == "sub":
            incoming.setsockopt(zmq.SUBSCRIBE, b"")
        incoming.connect(address)
        while True:
            if kind == "req":
                incoming.send(b"\xff")
            samples = np.frombuffer(incoming.recv(), np.complex64)
            numbers.send((int(samples[0].real), int(samples[-1].real), len(samples)))


def kill_senders(kind: str, kills: int) -> Outcome:
    """Kill peers that send to a flowgraph."""
    from gnuradio import gr  # noqa: PLC0415 - the peers need none

    from gr_kaq.blocks.zmq_sample_source import zmq_sample_source  # noqa: PLC0415

    class Collector(gr.sync_block):
        """Keeps what arrives."""

        def __init__(self):
            gr.sync_block.__init__(self, "collector", [np.complex64], [])
            self.pieces: list[np.ndarray] = []
            self.peer = -1

        def work(self, input_items, output_items):
            self.pieces.append(input_items[0].copy())
            self.peer = int(input_items[0][-1].real)
            return len(input_items[0])

    outcome, chance, address = Outcome(kind), random.Random(1), free_address()
    tb, collector = gr.top_block(), Collector()
    tb.connect(zmq_sample_source([address], 1, SENDERS[kind]), collector)
    tb.start()
    for peer in range(kills):
        process = context.Process(target=send, args=(kind, address, peer), daemon=True)
        process.start()
        outcome.stalled += not wait_until(lambda peer=peer: collector.peer == peer)
        time.sleep(chance.uniform(0, LIFE_S))
        process.kill()
        process.join()
        outcome.kills += 1
    time.sleep(0.3)
    tb.stop()
    tb.wait()
    samples = np.concatenate(collector.pieces)
    outcome.cut = len(samples) % SAMPLES
    messages = samples[: len(samples) // SAMPLES * SAMPLES].reshape(-1, SAMPLES)
    outcome.cut += int((messages != messages[:, :1]).any(axis=1).sum())
    earlier, last = -1, None
    for first in messages[:, 0]:
        peer, number = int(first.real), int(first.imag)
        outcome.repeated += peer < earlier
        if peer != earlier:
            # a subscriber may come late; all others get everything from the first message on
            last = None if kind == "pub" else -1
        earlier, last = peer, outcome.add(last, number)
    return outcome


def kill_receivers(kind: str, kills: int) -> Outcome:
    """Kill peers that receive from a flowgraph."""
    from gnuradio import gr  # noqa: PLC0415 - the peers need none

    from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink  # noqa: PLC0415

    class Counter(gr.sync_block):
        """Numbers its samples, as fast as a slow radio would."""

        def __init__(self):
            gr.sync_block.__init__(self, "counter", [], [np.complex64])

        def work(self, input_items, output_items):
            count = min(SAMPLES, len(output_items[0]))
            output_items[0][:count] = self.nitems_written(0) + np.arange(count)
            time.sleep(0.001)
            return count

    outcome, chance, address = Outcome(kind), random.Random(1), free_address()
    tb, counter = gr.top_block(), Counter()
    tb.connect(counter, zmq_sample_sink([address], 1, RECEIVERS[kind]))
    tb.start()
    newest = -1  # sample of any peer so far
    for _ in range(kills):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=receive, args=(kind, address, theirs), daemon=True)
        process.start()
        theirs.close()
        outcome.stalled += not ours.poll(STALLED_S)
        time.sleep(chance.uniform(0, LIFE_S))
        process.kill()
        process.join()
        outcome.kills += 1
        last = None
        while True:
            try:
                first, final, count = ours.recv()
            except EOFError:
                break
            outcome.cut += final - first + 1 != count
            outcome.repeated += first <= newest
            outcome.add(last, first)
            newest = last = final
        ours.close()
    tb.stop()
    tb.wait()
    return outcome


def free_address() -> str:
    """An address that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def wait_until(condition) -> bool:
    """Whether it holds, before it counts as stalled."""
    deadline = time.monotonic() + STALLED_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


def kill(kind: str, kills: int) -> Outcome:
    """Kill so many peers of a kind."""
    context.set_forkserver_preload(["benchmarks.killed_peers"])
    return (kill_senders if kind in SENDERS else kill_receivers)(kind, kills)


def main() -> int:
    """Kill peers of all kinds; the exit status says whether all was sound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="peers of each kind (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join([*SENDERS, *RECEIVERS]), help="of sockets (default: %(default)s)")
    options = parser.parse_args()
    sound = True
    for kind in options.kinds.split(","):
        outcome = kill(kind, options.kills)
        print(json.dumps(asdict(outcome)), flush=True)
        sound &= outcome.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
