# SPDX-License-Identifier: GPL-3.0-or-later
"""What the transmitters that run without a display share: a file -> frames -> a radio."""

import argparse
import signal
import time
from collections.abc import Callable
from pathlib import Path

from gnuradio import gr

import gr_kaq
from gr_kaq import radios

NO_LIMIT = 1e6  # seconds


class transmitter_flowgraph(gr.top_block):
    """A file -> frames -> num_tx ports of `transmitter`, to be connected to a radio.

    Args:
        options: those of `add_transmitter_arguments`.
        amplitude, idle: as for `gr_kaq.frame_transmitter`.
    """

    def __init__(self, options: argparse.Namespace, *, amplitude: float, idle: str):
        super().__init__("KAQ MIMO transmitter")
        link = (options.num_tx, options.fft_size, options.constellation)
        self.file = gr_kaq.pdu_file_source(options.file, *link, repeats=options.repeats)
        self.transmitter = gr_kaq.frame_transmitter(
            *link, amplitude=amplitude, gap_length=options.gap_length, idle=idle
        )
        self.msg_connect(self.transmitter, "ready", self.file, "ready")
        self.msg_connect(self.file, "pdus", self.transmitter, "pdus")


def run(flowgraph: transmitter_flowgraph, ended: Callable[[], bool] = lambda: False) -> None:
    """Send until the file was sent often enough, `ended`, or Ctrl-C; says every second where it stands."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start, transmitter = time.monotonic(), flowgraph.transmitter

    def report(_: int) -> None:
        print(f"{time.monotonic() - start:.1f} s, {transmitter.frames()} frames", flush=True)

    try:
        radios.run(flowgraph, transmitter.frames, lambda _: ended(), report=report, timeout=NO_LIMIT)
    except KeyboardInterrupt:
        print("interrupted")
    report(0)
    print(f"greatest sample {transmitter.peak():.2f}", flush=True)


def add_transmitter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `transmitter_flowgraph` reads."""
    parser.add_argument("file", type=Path, help="what is sent")
    add = parser.add_argument_group("transmitter").add_argument
    add("--num-tx", "--antennas", type=int, default=2, help="streams, one for each antenna (default: %(default)s)")
    add("--fft-size", type=int, default=64, help="carriers (default: %(default)s)")
    add("--constellation", default="16qam", help="of every stream (default: %(default)s)")
    add("--gap-length", type=int, default=256, help="samples between frames (default: %(default)s)")
    add("--repeats", type=int, default=0, help="how often the file is sent (default: until it is stopped)")
