#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live video over the fading link of arq_link.py, and the PSNR of what is shown on the other side.

    video_link.py --pictures shown.png

camera: FFmpeg's test pattern in two layers -> arq_sender -> frame_transmitter -> fading channel, noise -> ZMQ
viewer: ZMQ -> frame_synchronizer -> channel_estimator -> link_decoder -> arq_receiver -> FFmpeg, PSNR

Acknowledgements and reports go back over a radio and a fading channel of their own, and modulation, code rate and rank
follow the channel. Each coded picture is a PDU, of use for 200 ms: those of the base layer are of class 0, those of the
enhancement of class 1. Both sides are in this process. The radio needs its time: a computer that does not keep up sends
fewer samples per second, and the link carries less; how many there were is said. --slow 4 makes all of it four times as
slow, pictures and lifetimes included. docs/guide/link.md says more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from arq_link import Node, add_link_arguments, sending, threaded_block
from gnuradio import gr
from layered_video import RATE, Layer, encode, make_pattern, psnr, rgb, shown_pictures

from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes
from gr_kaq.commands.long_run import check_picture

LIFETIME_S = 0.2
HELLO = b"?"  # a sender asks for its receiver when it has something for it
LAYERS = ("base", "enhancement")
SHOWN = {"of the enhancement": 1, "of the base": 0, "stood still": None}


class camera(threaded_block):
    """Sends the coded pictures of all layers when they are due, once the sides have met."""

    def __init__(self, layers: list[Layer], slow: float, met: Callable[[], bool]):
        threaded_block.__init__(self, "camera")
        self._layers, self._slow, self._met = layers, slow, met
        self.due: list[float] = []  # when each picture was
        self.message_port_register_out(pmt.intern("pdus"))

    def run(self) -> None:
        """Meet, then film."""
        self.message_port_pub(pmt.intern("pdus"), make_pdu(HELLO))
        while not self._met():
            if self.ended.wait(0.01):
                return
        began = time.monotonic()
        for number in range(len(self._layers[0].pictures)):
            due = began + number * self._slow / RATE
            if self.ended.wait(max(0.0, due - time.monotonic())):
                return
            self.due.append(due)
            for place, layer in enumerate(self._layers):
                data = number.to_bytes(2, "big") + bytes([place]) + layer.pictures[number]
                lifetime = due + LIFETIME_S * self._slow - time.monotonic()
                metadata = python_to_pmt({"class": place, "deadline": max(1e-3, lifetime)})
                self.message_port_pub(pmt.intern("pdus"), make_pdu(data, metadata))

    def over(self) -> bool:
        """Whether the last picture is of no use any more."""
        sent = len(self.due) == len(self._layers[0].pictures)
        return sent and time.monotonic() > self.due[-1] + LIFETIME_S * self._slow


class viewer(gr.basic_block):
    """Notes when pictures come."""

    def __init__(self) -> None:
        gr.basic_block.__init__(self, "viewer", [], [])
        self.came: dict[tuple[int, int], float] = {}  # (layer, picture): when
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle)

    def handle(self, message: Any) -> None:
        """A message on port `pdus`."""
        data = pdu_bytes(message)
        if data == HELLO:
            return
        self.came[data[2], int.from_bytes(data[:2], "big")] = time.monotonic()


def send(options: argparse.Namespace, layers: list[Layer]) -> list[set[int]]:
    """Send the layers over the radio; numbers of the pictures of each that came in time.

    Raises:
        InterruptedError: it was not let finish.
    """
    here = Node(options, "camera", "viewer", sends=True)
    there = Node(options, "viewer", "camera", receives=True)
    source = camera(layers, options.slow, lambda: here.sender.receivers() > 0)
    sink = viewer()
    here.msg_connect(source, "pdus", here.sender, "pdus")
    there.msg_connect(there.receiver, "pdus", sink, "pdus")
    samples: list[tuple[float, int]] = []

    def report() -> str:
        samples.append((time.monotonic(), here.transmitter.nitems_written(0)))
        came = [sum(one == place for one, _ in list(sink.came)) for place in range(len(layers))]
        counts = ", ".join(f"{count} of {name}" for name, count in zip(LAYERS, came, strict=True))
        return f"picture {len(source.due)} of {len(layers[0].pictures)}; there: {counts}; {sending(here)}"

    there.start()
    try:
        here.run_until(source.over, report)
    finally:
        there.stop()
        there.wait()
    if not source.over():
        raise InterruptedError("the video has not ended")
    (first, before), (last, after) = samples[0], samples[-2]  # the last one is of a flowgraph that has ended
    rate = (after - before) / (last - first)
    print(f"{rate:.3g} samples per second: {rate / options.rate:.2f} times what the radio should have")
    lifetime = LIFETIME_S * options.slow
    in_time = [key for key, at in sink.came.items() if at <= source.due[key[1]] + lifetime]
    return [{number for place, number in in_time if place == one} for one in range(len(layers))]


def run(options: argparse.Namespace) -> int:
    """Encode, send, decode and compare; the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder = Path(name)
        pattern = make_pattern(folder, options.seconds)
        layers = [encode(pattern, kbits) for kbits in (options.base, options.enhancement)]
        came = send(options, layers)
        raw, places = shown_pictures(layers, came, folder)
        shown = psnr(raw, pattern)
        base = psnr(shown_pictures(layers[:1], came[:1], folder)[0], pattern)
        whole = psnr(shown_pictures(layers[:1], [set(range(len(places)))], folder)[0], pattern)
        for layer, name, numbers in zip(layers, LAYERS, came, strict=True):
            late = len(layer.pictures) - len(numbers)
            print(f"{name}, {layer.kbits} kbit/s: {late} of {len(layer.pictures)} pictures not there in time")
        counts = ", ".join(f"{places.count(place)} {what}" for what, place in SHOWN.items())
        print(f"shown: {counts}")
        for name, values in (("shown", shown), ("base layer", base), ("base layer, were all there", whole)):
            print(f"PSNR, {name}: mean {values.mean():.1f} dB, least {values.min():.1f} dB")
        if options.pictures:
            draw(shown, base, raw, pattern, options.pictures)
    return 0


def draw(shown: Any, base: Any, raw: bytes, pattern: Path, path: Path) -> None:
    """PSNR over time, and some pictures as they were sent and shown."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # only who wants a picture

    figure = Figure(figsize=(12, 7.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
    axes = above.subplots()
    times = np.arange(len(shown)) / RATE
    axes.plot(times, base, label="base layer alone")
    axes.plot(times, shown, label="shown")
    axes.set(xlabel="time (s)", ylabel="PSNR (dB)", ylim=(0, None))
    axes.legend()
    axes.grid(True, alpha=0.3)
    numbers = [(2 * column + 1) * len(shown) // 8 for column in range(4)]
    for row, (name, video) in zip(below.subplots(2, 4), (("sent", pattern.read_bytes()), ("shown", raw)), strict=True):
        for panel, number in zip(row, numbers, strict=True):
            panel.imshow(rgb(video, number, pattern.parent))
            panel.set(xticks=[], yticks=[], title=f"{name}, {number / RATE:.2f} s")
    figure.savefig(path, dpi=75)


def main() -> int:
    """Run both sides; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=float, default=10.0, help="of video (default: %(default)g)")
    add("--base", type=int, default=100, help="kbit/s of the base layer (default: %(default)s)")
    add("--enhancement", type=int, default=300, help="kbit/s of the enhancement (default: %(default)s)")
    add("--slow", type=float, default=1.0, help="how many times as slow as real time (default: %(default)g)")
    add("--pictures", type=Path, help="picture of the PSNR, and of what is shown")
    add_link_arguments(parser)
    options = parser.parse_args()
    if not options.seconds >= 1 or not options.slow > 0 or min(options.base, options.enhancement) < 1:
        parser.error("--seconds of 1 or more, --slow above 0, --base and --enhancement of 1 or more expected")
    try:
        check_picture(options.pictures)
        return run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"video_link: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
