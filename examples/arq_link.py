#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over a fading link between two processes that repeats what is lost; start both in any order, kill either.

    arq_link.py send FILE         file -> arq_sender -> frames -> fading channel, noise -> ZMQ
    arq_link.py receive OUTPUT    ZMQ -> link_decoder -> arq_receiver -> file

Each side has a transmitter and a receiver. Acknowledgements go back in frames of the other direction, over a fading
channel of its own, and some more of them are lost than that loses. Modulation, code rate and rank follow the channel.
`Node` is one side; tun_link.py sends and receives IP with it. docs/guide/link.md says more.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pmt
from gnuradio import blocks, fft, gr
from zmq_virtual_radio import gone

import gr_kaq
from gr_kaq import radios
from gr_kaq.blocks.channel_simulator import RADIO_CHANNELS
from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source

NO_LIMIT = 1e6  # seconds
PEER_GONE_S = 10.0
BUFFER = 4096  # samples that wait between transmitter and channel: what waits there is old when it is sent


class lossy_messages(gr.basic_block):
    """Lets messages through but for a share of them."""

    def __init__(self, loss: float, seed: int):
        gr.basic_block.__init__(self, "lossy messages", [], [])
        self._loss, self._rng = loss, random.Random(seed)
        self.count = 0
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.handle)
        self.message_port_register_out(pmt.intern("out"))

    def handle(self, message: Any) -> None:
        """A message on port `in`."""
        self.count += 1
        if self._rng.random() >= self._loss:
            self.message_port_pub(pmt.intern("out"), message)


class threaded_block(gr.basic_block):
    """A block without streams, with a thread of its own while the flowgraph runs; `run` has to look at `ended`."""

    def __init__(self, name: str):
        gr.basic_block.__init__(self, name, [], [])
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """What the thread does."""
        raise NotImplementedError

    def start(self) -> bool:
        """Called by GNU Radio."""
        self._thread.start()
        return True

    def stop(self) -> bool:
        """Called by GNU Radio."""
        self.ended.set()
        self._thread.join()
        return True


class Node(gr.top_block):
    """One side of a link: a radio that sends and receives, and what sends PDUs over it, or receives them, or both.

    Args:
        options: those of `add_link_arguments`.
        side, other: names of the two sides.
        sends, receives: whether PDUs begin here, and end here.
        sender: further arguments of the `arq_sender`.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        side: str,
        other: str,
        *,
        sends: bool = False,
        receives: bool = False,
        **sender: Any,
    ):
        super().__init__("KAQ ARQ link")
        self._options = options
        self._size = (options.num_tx, options.fft_size)
        self._make_transmitter(side)
        self._make_receiver(other)
        if sends:
            self._make_sender(sender)
        if receives:
            self.receiver = gr_kaq.arq_receiver()
            self.msg_connect(self.decoder, "pdus", self.receiver, "blocks")
            self.msg_connect(self.decoder, "report", self.receiver, "report")
            self.msg_connect(self.receiver, "acks", self.transmitter, "acks")

    def _address(self, side: str) -> str:
        return f"ipc://{self._options.folder}/samples-{side}"

    def _make_transmitter(self, side: str) -> None:
        options = self._options
        self.transmitter = gr_kaq.frame_transmitter(*self._size, "", idle="zeros")
        self.transmitter.set_max_output_buffer(BUFFER)
        channel = gr_kaq.channel_simulator(
            options.num_tx,
            options.num_rx,
            channel=options.profile,
            sample_rate=options.rate,
            doppler=options.doppler,
            snr_db=options.snr_db,
            seed=options.seed + sum(side.encode()),
        )
        sink = zmq_sample_sink([self._address(side)], options.num_rx, "pub")
        for stream in range(options.num_tx):
            throttle = blocks.throttle(gr.sizeof_gr_complex, options.rate)
            self.connect((self.transmitter, stream), throttle, (channel, stream))
        for antenna in range(options.num_rx):
            self.connect((channel, antenna), (sink, antenna))

    def _make_receiver(self, other: str) -> None:
        options = self._options
        source = zmq_sample_source([self._address(other)], options.num_rx, "sub")
        num_rx, size = options.num_rx, options.fft_size
        synchronizer = gr_kaq.frame_synchronizer(num_rx, *self._size)
        estimator = gr_kaq.channel_estimator(num_rx, *self._size)
        self.decoder = gr_kaq.link_decoder(num_rx, *self._size)
        for antenna in range(num_rx):
            transform = fft.fft_vcc(size, True, [size**-0.5] * size, True)
            self.connect((source, antenna), (synchronizer, antenna), transform)
            self.connect(transform, (estimator, antenna), (self.decoder, antenna))

    def _make_sender(self, arguments: dict[str, Any]) -> None:
        options = self._options
        self.sender = gr_kaq.arq_sender(*self._size, **arguments)
        self.adapter = gr_kaq.link_adapter(*self._size, delay=options.delay)
        self.acks = lossy_messages(options.ack_loss, options.seed)
        self.msg_connect(self.decoder, "acks", self.acks, "in")
        self.msg_connect(self.acks, "out", self.sender, "acks")
        self.msg_connect(self.sender, "blocks", self.transmitter, "pdus")
        self.msg_connect(self.transmitter, "ready", self.sender, "ready")
        self.msg_connect(self.sender, "report", self.adapter, "report")
        self.msg_connect(self.sender, "outcomes", self.adapter, "outcomes")
        self.msg_connect(self.adapter, "mcs", self.sender, "mcs")

    def run_until(self, done: Callable[[], bool], report: Callable[[], str]) -> None:
        """Run until `done`, or Ctrl-C; says every second where it stands."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        began = time.monotonic()

        def say(_: int) -> None:
            print(f"{time.monotonic() - began:.1f} s, {report()}", flush=True)

        try:
            radios.run(self, lambda: 1, lambda _: done(), report=say, timeout=NO_LIMIT)
        except KeyboardInterrupt:
            print("interrupted")
        say(0)


def sending(node: Node) -> str:
    """Where a sender stands."""
    sender, adapter = node.sender, node.adapter
    counts = f"{sender.delivered_pdus()} PDUs there, {sender.transmissions()} frames, {sender.blocks()} blocks"
    return f"{counts}, {sender.receivers()} receivers met, MCS {adapter.mcs()}, rank {adapter.rank()}"


def receiving(node: Node) -> str:
    """Where a receiver stands."""
    decoder, receiver = node.decoder, node.receiver
    received = f"{receiver.delivered_pdus()} PDUs, {decoder.frames()} frames, {decoder.block_errors()} block errors"
    return f"{received}, {receiver.senders()} senders met"


def send(options: argparse.Namespace) -> int:
    """Send until the receiver has been there and has gone; the exit status."""
    node = Node(options, "sender", "receiver", sends=True)
    source = gr_kaq.pdu_file_source(options.file, options.num_tx, options.fft_size)
    node.msg_connect(node.sender, "ready", source, "ready")
    node.msg_connect(source, "pdus", node.sender, "pdus")
    node.run_until(gone(lambda: node.acks.count, PEER_GONE_S), lambda: sending(node))
    return 0


def receive(options: argparse.Namespace) -> int:
    """Receive until the file is there; the exit status."""
    node = Node(options, "receiver", "sender", receives=True)
    file = gr_kaq.pdu_file_sink(options.output)
    node.msg_connect(node.receiver, "pdus", file, "pdus")
    began = time.monotonic()

    def done() -> bool:
        return file.complete() or time.monotonic() - began > (options.timeout or NO_LIMIT)

    node.run_until(done, lambda: f"{receiving(node)}, file {file.progress()[0]}/{file.progress()[1]}")
    return 0 if file.complete() else 1


def add_link_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `Node` reads."""
    add = parser.add_argument_group("link, the same on both sides").add_argument
    add("--num-tx", type=int, default=2, help="antennas that send (default: %(default)s)")
    add("--num-rx", type=int, default=2, help="antennas that receive (default: %(default)s)")
    add("--fft-size", type=int, default=64, help="carriers (default: %(default)s)")
    folder = Path(tempfile.gettempdir())
    add("--folder", type=Path, default=folder, help="of the sockets; both sides see it (default: %(default)s)")
    add = parser.add_argument_group("channel of what is sent here, and acknowledgements").add_argument
    add("--rate", type=float, default=5e5, help="samples per second (default: %(default)g)")
    add("--profile", choices=list(RADIO_CHANNELS), default="tdl-a", help="of 3GPP TR 38.901 (default: %(default)s)")
    add("--doppler", type=float, default=5.0, help="largest Doppler shift in Hz (default: %(default)g)")
    add("--snr-db", type=float, default=18.0, help="signal over noise power per antenna (default: %(default)g)")
    add("--delay", type=int, default=16, help="frames until a report is of use, about (default: %(default)s)")
    add("--ack-loss", type=float, default=0.05, help="share of acknowledgements to lose, too (default: %(default)g)")
    add("--seed", type=int, default=0, help="of channel, noise and losses (default: %(default)s)")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sender = commands.add_parser("send", help="send a file")
    sender.add_argument("file", type=Path, help="what is sent, again and again until the receiver has gone")
    receiver = commands.add_parser("receive", help="receive it")
    receiver.add_argument("output", type=Path, help="where it goes")
    receiver.add_argument("--timeout", type=float, default=0.0, help="seconds after which to stop (default: never)")
    for command in (sender, receiver):
        add_link_arguments(command)
    return parser.parse_args()


def main() -> int:
    """Run one end of the link; the exit status."""
    options = parse_options()
    try:
        return send(options) if options.command == "send" else receive(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"arq_link: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
