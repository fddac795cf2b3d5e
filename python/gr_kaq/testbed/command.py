# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated testbed: `python -m gr_kaq.testbed produce`, and `... consume`.

`produce` sends pseudo-random symbols over simulated channels; `consume`, started with the same options, knows the
symbols from the seed and counts bit errors in what the flowgraph between the two has detected. Neither needs GNU Radio.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..channels.flat import RayleighChannels, complex_normal
from ..signals.bit_errors import BitErrorRate
from ..signals.constellation import CONSTELLATIONS
from ..signals.known_symbols import KnownSymbols
from ..signals.signal_model import from_db
from .consumer import CONSUMER_ADDRESS, Consumer, Received
from .producer import PRODUCER_ADDRESS, Producer

__all__ = ["ErrorCounter", "main", "simulated_frames"]

Frame = tuple[NDArray[np.complex64], NDArray[np.complex64], float]


def simulated_frames(
    num_rx: int,
    num_tx: int,
    num_subcarriers: int = 1,
    *,
    constellation: str,
    snr_db: float,
    vectors: int,
    seed: int,
    first_estimate: int = 0,
) -> Iterator[Frame]:
    """Frames without end, each over a new i.i.d. Rayleigh channel.

    Args:
        num_rx, num_tx, num_subcarriers: size of a channel.
        constellation: name of what every stream carries.
        snr_db: mean SNR over all channels: num_tx / noise_var, as E|h|^2 = 1.
        vectors: T, items per frame.
        seed: of everything.
        first_estimate: leave out the symbols of so many frames.

    Yields:
        y (T, num_rx, num_subcarriers), h (num_subcarriers, num_rx, num_tx) and noise_var.
    """
    points = CONSTELLATIONS[constellation].points
    symbols = KnownSymbols(num_tx, num_subcarriers, CONSTELLATIONS[constellation], seed)
    symbols.skip(first_estimate * vectors)
    rng = np.random.default_rng((seed, first_estimate))
    channels = RayleighChannels(num_rx, num_tx, num_subcarriers, seed=int(rng.integers(1 << 63)))
    noise_var = float(num_tx / from_db(snr_db))
    while True:
        h = channels.draw(1)[0]
        x = points[symbols.draw(vectors)]
        y = (h @ x.transpose(2, 1, 0)).transpose(2, 1, 0)
        y += complex_normal(rng, y.shape) * np.float32(np.sqrt(noise_var))
        yield y, h, noise_var


class ErrorCounter:
    """Counts bit errors in frames of detected symbols, `vectors` items per channel estimate.

    The sequence number of an estimate says which items follow, so that a lost frame costs its own items only.

    Attributes:
        ber: bit errors so far.
        items: items so far.
    """

    def __init__(self, num_tx: int, num_subcarriers: int, *, constellation: str, vectors: int, seed: int):
        self._size = num_tx, num_subcarriers, CONSTELLATIONS[constellation]
        self._seed = seed
        self._vectors = vectors
        self._next = 0  # place of the next item in the sequence of known symbols
        self._symbols = KnownSymbols(*self._size, self._seed)
        self.ber = BitErrorRate()
        self.items = 0

    def count(self, received: Received) -> None:
        """Compare one frame (T, num_tx, num_subcarriers) with what was sent."""
        starts = [
            (tag.offset - (received.offset or 0), tag.value["seq"] * self._vectors)
            for tag in received.tags
            if tag.key == "mimo_channel" and isinstance(tag.value, dict) and isinstance(tag.value.get("seq"), int)
        ]
        first = 0
        for start, place in [*sorted(starts), (len(received.items), None)]:
            self._compare(received.items[first:start])
            first = start
            if place is not None:
                self._go_to(place)

    def _go_to(self, place: int) -> None:
        if place < self._next:
            self._symbols = KnownSymbols(*self._size, self._seed)
            self._next = 0
        self._symbols.skip(place - self._next)
        self._next = place

    def _compare(self, items: NDArray[np.complex64]) -> None:
        if not len(items):
            return
        sent = self._symbols.bits(self._symbols.draw(len(items)))
        self._next += len(items)
        errors = np.count_nonzero(self._size[2].decide(items) != sent)
        self.ber += BitErrorRate(errors, sent.size)
        self.items += len(items)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _produce(options) if options.command == "produce" else _consume(options)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _produce(options: argparse.Namespace) -> int:
    frames = simulated_frames(
        options.num_rx,
        options.num_tx,
        options.num_subcarriers,
        constellation=options.constellation,
        snr_db=options.snr,
        vectors=options.vectors,
        seed=options.seed,
        first_estimate=options.first_estimate,
    )
    with Producer(
        options.num_rx,
        options.num_tx,
        options.num_subcarriers,
        address=options.address,
        pattern=options.pattern,
        timeout=options.timeout,
    ) as producer:
        print(f"sending from {producer.address}", flush=True)
        start = time.monotonic()
        estimates = range(options.first_estimate, options.first_estimate + options.estimates)
        for seq, (y, h, noise_var) in zip(estimates, frames, strict=False):
            producer.send(y, h=h, noise_var=noise_var, snr_db=options.snr, seq=seq)
            if options.rate:
                time.sleep(max(0.0, start + producer.num_items / options.rate - time.monotonic()))
    print(f"sent {options.estimates} estimates, {producer.num_items} items", file=sys.stderr)
    return 0


def _consume(options: argparse.Namespace) -> int:
    counter = ErrorCounter(
        options.num_tx,
        options.num_subcarriers,
        constellation=options.constellation,
        vectors=options.vectors,
        seed=options.seed,
    )
    wanted = options.estimates * options.vectors
    with Consumer(
        options.num_tx,
        options.num_subcarriers,
        address=options.address,
        pattern=options.pattern,
        timeout=options.timeout,
    ) as consumer:
        print(f"receiving from {consumer.address}", flush=True)
        try:
            seconds = _count(counter, consumer, wanted)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {counter.items} of {wanted} items, BER {counter.ber}") from None
    print(f"BER {counter.ber}, {counter.items * options.num_subcarriers / seconds:.0f} vectors/s")
    if counter.ber.rate > options.max_ber:
        raise ValueError(f"the BER is above {options.max_ber:g}")
    return 0


def _count(counter: ErrorCounter, consumer: Consumer, wanted: int) -> float:
    """Seconds from the first frame until `wanted` items were counted."""
    received = consumer.receive()
    start = reported = time.monotonic()
    while True:
        counter.count(received)
        now = time.monotonic()
        if counter.items >= wanted:
            return now - start
        if now > reported + 1:
            reported = now
            print(f"{counter.items} of {wanted} items, BER {counter.ber}", file=sys.stderr, flush=True)
        received = consumer.receive()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gr_kaq.testbed", description=__doc__.split("\n\n", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text, address, patterns in (
        ("produce", "send simulated samples to zeromq.pull_source or sub_source", PRODUCER_ADDRESS, ("push", "pub")),
        ("consume", "count bit errors in what zeromq.push_sink or pub_sink sends", CONSUMER_ADDRESS, ("pull", "sub")),
    ):
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        add = command.add_argument
        if name == "produce":
            add("--num-rx", type=_whole, default=4, help="receive antennas")
        add("--num-tx", type=_whole, default=4, help="transmitted streams")
        add("--num-subcarriers", type=_whole, default=1, help="channel uses per item, each with its own H")
        add("--constellation", choices=CONSTELLATIONS, default="16qam", help="of every stream")
        add("--seed", type=int, default=0, help="of symbols, channels and noise")
        add("--vectors", type=_whole, default=100, help="items per channel estimate")
        add("--estimates", type=_whole, default=1000, help="channel estimates, each a frame")
        add("--address", default=address, help="ZMQ endpoint")
        add("--pattern", choices=patterns, default=patterns[0], help="socket type")
        add("--timeout", type=float, default=10.0, help="seconds without a peer after which to give up")
        if name == "produce":
            add("--snr", type=float, default=20.0, help="mean received signal power over noise power per antenna")
            add("--first-estimate", type=int, default=0, help="where to go on in the sequence")
            add("--rate", type=float, default=0.0, help="items per second; 0: as fast as they are taken")
        else:
            add("--max-ber", type=float, default=0.1, help="exit with status 1 above it")
    return parser


def _whole(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: 1 or more expected")
    return int(text)
