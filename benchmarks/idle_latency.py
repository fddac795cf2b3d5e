#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a source of ours takes after a pause: from what wakes it to the sample that comes out behind it.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 benchmarks/idle_latency.py [--count 1000] [--sources 4] [--json F]

Pauses are random, 0 to 0.6 s. Each kind of source runs several times side by side. "machine" is what a thread takes to
wake up, without a flowgraph: on a busy machine, its tail is that of all others.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pmt
import zmq
from gnuradio import gr

from gr_kaq.blocks.frame_transmitter import frame_transmitter
from gr_kaq.blocks.pdu import make_pdu
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source

PAUSE_S = 0.6
PEERS = {"pull": zmq.PUSH, "sub": zmq.PUB, "req": zmq.REP}
MESSAGE = np.ones(16, np.complex64).tobytes()


class FirstSample(gr.sync_block):
    """Says when a sample has come."""

    def __init__(self):
        gr.sync_block.__init__(self, "first sample", [np.complex64], [])
        self.came = threading.Event()
        self.at = 0.0

    def work(self, input_items, output_items):
        if not self.came.is_set():
            self.at = time.monotonic()
            self.came.set()
        return len(input_items[0])


def wake_up(rng: np.random.Generator) -> float:
    """Seconds until another thread wakes up after a pause: what the machine itself takes, without any of this."""
    woken = threading.Event()
    at: list[float] = []
    thread = threading.Thread(target=lambda: (woken.wait(), at.append(time.monotonic())))
    thread.start()
    time.sleep(rng.uniform(0, PAUSE_S))
    sent = time.monotonic()
    woken.set()
    thread.join()
    return at[0] - sent


def measure(kind: str, count: int, seed: int) -> list[float]:
    """Seconds of each of `count` samples after a pause."""
    rng = np.random.default_rng(seed)
    if kind == "machine":
        return [wake_up(rng) for _ in range(count)]
    tb, sink = gr.top_block(), FirstSample()
    with zmq.Context() as context:
        if kind == "transmitter":
            source = frame_transmitter(1)

            def send():
                source._post(pmt.intern("pdus"), make_pdu(b"payload"))
        else:
            peer = context.socket(PEERS[kind])
            peer.setsockopt(zmq.LINGER, 0)
            port = peer.bind_to_random_port("tcp://127.0.0.1")
            source = zmq_sample_source([f"tcp://127.0.0.1:{port}"], 1, kind)

            def send():
                peer.send(MESSAGE)

        tb.connect(source, sink)
        tb.start()
        seconds = []
        for _ in range(count):
            if kind == "req":
                peer.recv()
            time.sleep(rng.uniform(0, PAUSE_S))
            sink.came.clear()
            sent = time.monotonic()
            send()
            if not sink.came.wait(5):
                raise SystemExit(f"{kind}: nothing came")
            seconds.append(sink.at - sent)
        tb.stop()
        tb.wait()
        context.destroy(linger=0)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="samples of each kind (default: %(default)s)")
    parser.add_argument("--sources", type=int, default=4, help="of each kind at a time (default: %(default)s)")
    parser.add_argument("--json", help="where to write the percentiles to")
    options = parser.parse_args()
    results = {}
    for kind in ("machine", *PEERS, "transmitter"):
        with ThreadPoolExecutor(options.sources) as pool:
            measured = pool.map(partial(measure, kind, options.count // options.sources), range(options.sources))
            found = [second for seconds in measured for second in seconds]
        milliseconds = 1e3 * np.array(found)
        results[kind] = {f"{p}": round(float(np.percentile(milliseconds, p)), 3) for p in (50, 99, 99.9, 100)}
        results[kind]["count"] = len(found)
        print(kind, " ".join(f"{name}: {value}" for name, value in results[kind].items()), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
