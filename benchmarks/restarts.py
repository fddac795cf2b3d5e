#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops a flowgraph whose blocks nobody keeps, again and again, and says what memory that took.

    PYTHONPATH=build/test_modules /usr/bin/python3 benchmarks/restarts.py [--restarts 1000] [--flowgraph receiver]

It has ten links of four blocks, or a transmitter and a receiver. Every tenth time it is locked and unlocked as well. A
run in which nothing comes out is an error.
"""

from __future__ import annotations

import argparse
import gc
import time
import weakref
from pathlib import Path

from gnuradio import blocks, gr

import gr_kaq

LINKS = 10  # of four blocks each
ITEMS = 200  # of each link in a run
TIMEOUT_S = 20


def links() -> tuple[gr.top_block, list[weakref.ref]]:
    """A top block, which alone keeps its blocks, and its meters."""
    tb, meters = gr.top_block(), []
    for seed in range(LINKS):
        parts = (
            gr_kaq.qam_source(1, seed=seed, num_items=ITEMS),
            gr_kaq.channel_simulator(1, 1, seed=seed),
            gr_kaq.detector("lmmse", 1, 1, constellation="16qam"),
            gr_kaq.ber_meter(1, seed=seed),
        )
        tb.connect(*parts)
        meters.append(weakref.ref(parts[-1]))
    return tb, meters


def receiver() -> tuple[gr.top_block, list[weakref.ref]]:
    """The same with a transmitter of two streams and a receiver, which is what counts."""
    tb = gr.top_block()
    source = gr_kaq.pdu_file_source(__file__, num_tx=2)
    transmitter, receiving = gr_kaq.frame_transmitter(num_tx=2), gr_kaq.mimo_receiver(2, 2, estimator="lmmse-memory")
    tb.msg_connect(transmitter, "ready", source, "ready")
    tb.msg_connect(source, "pdus", transmitter, "pdus")
    for antenna in range(2):
        out = blocks.null_sink(gr.sizeof_gr_complex * receiving.frame_format.data_per_stream)
        tb.connect((transmitter, antenna), (receiving, antenna), out)
    return tb, [weakref.ref(receiving.decoder)]


FLOWGRAPHS = {"links": links, "receiver": receiver}


def resident_kb() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def count(meter: weakref.ref) -> int:
    """What has arrived: bits of a link, frames of a receiver."""
    block = meter()
    return block.bits() if hasattr(block, "bits") else block.frames()


def wait_for_more(meters: list[weakref.ref], before: list[int]) -> None:
    """Until each meter has counted more than before."""
    deadline = time.monotonic() + TIMEOUT_S
    while any(count(meter) <= counted for meter, counted in zip(meters, before, strict=True)):
        if time.monotonic() > deadline:
            raise SystemExit("nothing comes out")
        time.sleep(1e-3)


def main() -> None:
    """Restart, and print the memory at some times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=1000, help="how often (default: %(default)s)")
    parser.add_argument("--flowgraph", choices=FLOWGRAPHS, default="links", help="(default: %(default)s)")
    options = parser.parse_args()
    tb, meters = FLOWGRAPHS[options.flowgraph]()
    gc.collect()
    for restart in range(1, options.restarts + 1):
        before = [count(meter) for meter in meters]
        tb.start()
        if restart % 10 == 0:
            tb.lock()
            tb.unlock()
        wait_for_more(meters, before)
        tb.stop()
        tb.wait()
        if restart % max(1, options.restarts // 10) == 0:
            gc.collect()
            print(f"{restart} restarts, {resident_kb()} KiB", flush=True)
    kept = len([meter for meter in meters if meter()])
    del tb
    gc.collect()
    freed = kept - len([meter for meter in meters if meter()])
    print(f"{kept} of {len(meters)} meters were kept, and {freed} are freed with the flowgraph")


if __name__ == "__main__":
    main()
