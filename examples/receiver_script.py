# SPDX-License-Identifier: GPL-3.0-or-later
"""What the receivers that run without a display share: a radio, the receiver, what it receives.

    radio -> mimo_receiver -> the file that a transmitter sends

`main` is a whole script for one kind of radio. A script with arguments of its own calls `add_receiver_arguments`, makes
a `receiver_flowgraph`, and calls `run`.
"""

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pmt
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq import radios
from gr_kaq.blocks.receiver_status import trouble
from gr_kaq.detection.detectors import fitting_detectors
from gr_kaq.estimation.estimator import INTERPOLATORS
from gr_kaq.estimation.learned import list_estimators

NO_LIMIT = 1e6  # seconds
FRAMES_PER_BLOCK = 33 / 32  # of a file: announcements are between them


class receiver_flowgraph(gr.top_block):
    """A radio -> mimo_receiver -> a file.

    Args:
        radio: a block with num_rx complex ports, as from `gr_kaq.radios`.
        num_rx: antennas.
        options: those of `add_receiver_arguments`.
    """

    def __init__(self, radio: Any, num_rx: int, options: argparse.Namespace):
        super().__init__("KAQ MIMO receiver")
        link = (options.num_tx, options.fft_size, options.constellation)
        self.radio = radio
        self.receiver = gr_kaq.mimo_receiver(
            num_rx, *link, detector=options.detector, estimator=options.estimator, monitor=bool(options.publish)
        )
        self.file = gr_kaq.pdu_file_sink(options.output) if options.output else None
        self.last = last_payload()
        self._frames_before = 0  # the file was announced
        self._best_snr_db = -math.inf
        self.msg_connect(self.receiver, "pdus", self.last, "pdus")
        for antenna in range(num_rx):
            self.connect((self.radio, antenna), (self.receiver, antenna))
        shown = {}  # ports of the receiver -> of what publishes them
        if options.publish:
            fitting = [each.name for each in fitting_detectors(options.constellation, num_rx, options.num_tx)]
            publisher = gr_kaq.receiver_publisher(
                *(num_rx, options.num_tx, options.fft_size),
                address=options.publish,
                detectors=["auto", "auto-fast", *fitting],
                estimators=[*INTERPOLATORS, *(list_estimators() if find_spec("onnxruntime") else [])],
            )
            self.msg_connect(self.receiver, "stats", publisher, "stats")
            self.msg_connect(publisher, "model", self.receiver, "model")
            self.msg_connect(publisher, "estimator", self.receiver, "estimator")
            shown = {0: 0, options.num_tx: 1, options.num_tx + num_rx: 2}
        for port in range(options.num_tx + (num_rx + 1 if options.publish else 0)):
            size = self.receiver.output_signature().sizeof_stream_item(port)
            sink = (publisher, shown[port]) if port in shown else blocks.null_sink(size)
            self.connect((self.receiver, port), sink)
        if self.file:
            self.msg_connect(self.receiver, "pdus", self.file, "pdus")

    def samples(self) -> int:
        """Samples of each antenna that the receiver has taken."""
        return self.receiver.synchronizer.nitems_read(0)

    def trouble(self) -> str:
        """What keeps it from receiving, and what to check; empty if nothing does."""
        stats = self.receiver.stats()
        decoder, estimator = stats["decoder"], stats["estimator"]
        self._best_snr_db = max(self._best_snr_db, estimator["snr_db"])
        return trouble(
            self.receiver.frame_format,
            self.samples(),
            decoder["frames"],
            decoder["block_errors"],
            estimator["interfered_frames"],
            self._best_snr_db,
        )

    def passes(self) -> float:
        """How often the transmitter has sent the file since it was announced, as far as its frames were found."""
        wanted = self.file.progress()[1] if self.file else 0
        frames = self.receiver.decoder.frames()
        if not wanted:
            self._frames_before = frames
            return 0.0
        return (frames - self._frames_before) / (wanted * FRAMES_PER_BLOCK)

    def complete(self) -> bool:
        """Whether a file was asked for, and is there."""
        return self.file is not None and self.file.complete()


class last_payload(gr.basic_block):
    """Keeps what came with the last payload."""

    def __init__(self):
        gr.basic_block.__init__(self, "last payload", [], [])
        self._metadata = pmt.make_dict()
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle_pdu)

    def handle_pdu(self, message: Any) -> None:
        """A PDU of the receiver."""
        self._metadata = pmt.car(message)

    def metadata(self) -> dict[str, Any]:
        """Its carrier_offset, snr and others; empty before the first."""
        return pmt.to_python(self._metadata) or {}


def run(
    flowgraph: receiver_flowgraph,
    timeout: float = 0.0,
    *,
    silence: float = 10.0,
    ended: Callable[[], bool] = lambda: False,
) -> int:
    """Receive until the file is there, the samples end, or Ctrl-C.

    Args:
        flowgraph: with or without a file.
        timeout: seconds after which to stop; 0: no limit.
        silence: seconds without a sample after which to stop.
        ended: says whether there is nothing more to come.

    Returns:
        The exit status: 0 if the file is there or, where none was asked for, if a payload came; otherwise 1.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    deadline = start + (timeout or NO_LIMIT)
    said = set()

    def report(_: int) -> None:
        print(progress(flowgraph, time.monotonic() - start), flush=True)
        hint = flowgraph.trouble()
        if hint and time.monotonic() > start + 3 and hint not in said:
            said.add(hint)
            print(hint, flush=True)

    try:
        radios.run(
            flowgraph,
            flowgraph.samples,
            lambda _: flowgraph.complete() or time.monotonic() > deadline or ended(),
            report=report,
            timeout=silence,
        )
        if time.monotonic() > deadline:
            print(f"stopped after {timeout:g} s")
        elif not flowgraph.complete():
            print("the samples have ended")
    except KeyboardInterrupt:
        print("interrupted")
    except radios.RadioError as error:
        print(error)
    print(progress(flowgraph, time.monotonic() - start))
    print(summary(flowgraph), flush=True)
    if hint := flowgraph.trouble():
        print(hint, flush=True)
    decoder = flowgraph.receiver.decoder
    received = flowgraph.complete() if flowgraph.file else decoder.frames() > decoder.block_errors()
    return 0 if received else 1


def progress(flowgraph: receiver_flowgraph, seconds: float) -> str:
    """Where it stands, in a line."""
    decoder, last = flowgraph.receiver.decoder, flowgraph.last.metadata()
    parts = [
        f"{seconds:.1f} s",
        f"{flowgraph.samples() / seconds / 1e6:.3f} Msample/s",
        f"{decoder.frames()} frames",
        f"{decoder.block_errors()} block errors",
    ]
    if last:
        offset, rate = last["carrier_offset"], flowgraph.radio.sample_rate
        parts.append(f"SNR {last['snr']:.1f} dB")
        parts.append(f"carrier {offset * rate:+.0f} Hz" if rate else f"carrier {offset:+.2e} cycles/sample")
    if flowgraph.file:
        there, wanted = flowgraph.file.progress()
        passes, frames_per_second = flowgraph.passes(), decoder.frames() / seconds
        if not wanted:
            parts.append("file not announced")
        elif there == wanted or not frames_per_second:
            parts.append(f"file {there}/{wanted}")
        else:  # what is missing comes in the rest of this pass, or in the next ones
            left = wanted * FRAMES_PER_BLOCK * (1 - passes % 1) / frames_per_second
            parts.append(f"file {there}/{wanted}, pass {int(passes) + 1}, {left:.0f} s to its end")
    return ", ".join(parts)


USUAL = ("frames", "cut_frames", "items", "csi_updates", "csi_age", "duplicates")  # counters of what is no trouble


def summary(flowgraph: receiver_flowgraph) -> str:
    """What went wrong: the counters of each part."""
    parts = flowgraph.receiver.stats()
    if flowgraph.file:
        parts["file"] = flowgraph.file.stats()
    lines = []
    for name, counters in parts.items():
        troubles = [f"{key} {value}" for key, value in counters.items() if key not in USUAL and is_count(value)]
        if troubles:
            lines.append(f"  {name}: {', '.join(troubles)}")
    return "\n".join(["what went wrong:", *lines]) if lines else "nothing went wrong"


def is_count(value: Any) -> bool:
    """Whether it counts something that happened, once or, for some of the antennas, in a list."""
    return any(map(is_count, value)) if isinstance(value, list) else type(value) is int and value > 0


def add_receiver_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `receiver_flowgraph` reads."""
    parser.add_argument(
        "output", nargs="?", type=Path, help="where the received file goes (default: none, figures only)"
    )
    add = parser.add_argument_group("receiver").add_argument
    add("--num-tx", type=int, default=2, help="streams that are sent (default: %(default)s)")
    add("--fft-size", type=int, default=64, help="carriers (default: %(default)s)")
    add("--constellation", default="16qam", help="of every stream (default: %(default)s)")
    add(
        "--detector",
        default="auto",
        help="one of gr_kaq.list_detectors(), or a model file (default: %(default)s)",
    )
    add("--estimator", default="lmmse", help="of the channel: ls, lmmse, or a learned one (default: %(default)s)")
    add("--publish", metavar="ADDRESS", help="show it in the browser by `kaq monitor ADDRESS`: tcp://127.0.0.1:5580")
    add("--timeout", type=float, default=0.0, help="seconds to give up after (default: none)")


def main(radio: str, description: str) -> int:
    """A script for one kind of radio of `gr_kaq.radios`, unless --radio names another; the exit status."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_receiver_arguments(parser)
    radios.add_radio_arguments(parser, radio)
    options = parser.parse_args()
    try:
        return run(receiver_flowgraph(radios.radio_source(options), options.antennas, options), options.timeout)
    except (ValueError, OSError, ImportError) as error:
        print(f"{Path(parser.prog).stem}: {error}", file=sys.stderr)
        return 1
