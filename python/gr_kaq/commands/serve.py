# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq serve`: a detector of any size between two ZMQ sockets."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..signals.constellation import CONSTELLATIONS
from .arguments import antenna_count, number, parse_size, whole_number
from .optional import import_optional

__all__ = ["add_parser"]

WAITING_ITEMS = 100
POLL_SECONDS = 0.2


def add_parser(commands: Any) -> None:
    """Add `serve` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "serve",
        help="detect what arrives over ZMQ",
        description="Take samples with channel estimates from a testbed over ZMQ (gr_kaq.testbed.Producer, or any "
        "program: docs/guide/zmq-testbed.md has the wire format), detect them in a GNU Radio flowgraph, and give out "
        "symbols or LLRs for gr_kaq.testbed.Consumer. Runs until Ctrl-C, and prints what it has counted then.",
    )
    add = command.add_argument
    add("size", type=parse_size, metavar="NxM", help="receive antennas and streams, for example 16x16")
    add("--detector", default="auto", metavar="NAME", help="name or path of a detector (default %(default)s)")
    add("--num-subcarriers", type=whole_number, default=1, help="channel uses per item (default %(default)s)")
    add("--constellation", choices=CONSTELLATIONS, default="16qam", help="of every stream (default %(default)s)")
    add("--source", metavar="ADDRESS", help="where samples come from (default: where a Producer is by itself)")
    add("--sink", metavar="ADDRESS", help="where results are taken (default: where a Consumer looks by itself)")
    add("--llrs", action="store_true", help="give out LLRs in place of symbols")
    add("--seconds", type=number(0), metavar="S", help="end after so long (default: run until Ctrl-C)")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    gr = import_optional("gnuradio.gr", "kaq serve", "gnuradio")
    zeromq = import_optional("gnuradio.zeromq", "kaq serve", "gnuradio")
    import_optional("zmq", "kaq serve", "python3-zmq")
    from ..blocks.detector import detector  # noqa: PLC0415  # needs GNU Radio
    from ..testbed import CONSUMER_ADDRESS, PRODUCER_ADDRESS  # noqa: PLC0415  # needs pyzmq

    source_address, sink_address = options.source or PRODUCER_ADDRESS, options.sink or CONSUMER_ADDRESS

    num_rx, num_tx = (antenna_count(str(count)) for count in options.size)
    block = detector(
        options.detector,
        num_rx,
        num_tx,
        options.num_subcarriers,
        options.constellation,
        output_llrs=options.llrs,
        vector_ports=True,
    )
    items = num_tx * options.num_subcarriers
    flowgraph = gr.top_block("kaq serve", catch_exceptions=False)
    source = zeromq.pull_source(
        gr.sizeof_gr_complex, num_rx * options.num_subcarriers, source_address, WAITING_ITEMS, True
    )
    flowgraph.connect(source, block)
    symbols = gr.sizeof_gr_complex, items
    llrs = gr.sizeof_float, items * CONSTELLATIONS[options.constellation].bits_per_symbol
    sink = zeromq.push_sink(*(llrs if options.llrs else symbols), sink_address, WAITING_ITEMS, True)
    flowgraph.connect((block, int(options.llrs)), sink)
    if options.llrs:
        blocks = import_optional("gnuradio.blocks", "kaq serve", "gnuradio")
        flowgraph.connect((block, 0), blocks.null_sink(symbols[0] * symbols[1]))
    print(f"{source_address} -> {options.detector}, {num_rx}x{num_tx} -> {sink.last_endpoint()}", flush=True)
    flowgraph.start()
    end = time.monotonic() + (options.seconds if options.seconds is not None else float("inf"))
    try:
        while time.monotonic() < end:
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        flowgraph.stop()
        flowgraph.wait()
        print(
            f"{block.items()} items, {block.csi_updates()} estimates, {block.rejected_csi()} rejected, "
            f"{block.items_without_csi()} items without an estimate, "
            f"{block.time_per_vector_ns() / 1000:.2f} us per vector"
        )
    return 0
