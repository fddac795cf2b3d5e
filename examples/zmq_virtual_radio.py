#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over a simulated radio link between two processes, joined by ZMQ: start both, in any order.

    zmq_virtual_radio.py transmit FILE      file -> frames -> fading channel, offsets, noise -> ZMQ
    zmq_virtual_radio.py receive OUTPUT     ZMQ -> mimo_receiver -> file

The channel is in the transmitter's process, so the receiver is the one that runs with a radio. The transmitter repeats
the file until the receiver has it and goes. docs/guide/virtual-radio.md says more.
"""

import argparse
import sys
import time
from collections.abc import Callable

import receiver_script
import transmitter_script

import gr_kaq
from gr_kaq.blocks.channel_simulator import RADIO_CHANNELS
from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink
from gr_kaq.radios import zmq_source

ADDRESSES = {"push": "tcp://127.0.0.1:5555", "srsran": "tcp://127.0.0.1:2000"}
PATTERNS = {"push": ("push", "pull"), "srsran": ("rep", "req")}
RECEIVER_GONE_S, TRANSMITTER_GONE_S = 3.0, 10.0


def transmit(options: argparse.Namespace) -> int:
    """Send until the file was sent often enough, or the receiver has gone; the exit status."""
    flowgraph = transmitter_script.transmitter_flowgraph(options, amplitude=1.0, idle="zeros")
    channel = gr_kaq.channel_simulator(
        options.num_tx,
        options.num_rx,
        channel=options.profile,
        sample_rate=options.rate,
        delay_spread=options.delay_spread,
        doppler=options.doppler,
        snr_db=options.snr,
        carrier_offset=options.carrier_offset,
        clock_offset_ppm=options.clock_offset_ppm,
        interference=jammer(options),
        seed=options.seed,
    )
    endpoints = addresses(options)
    sink = zmq_sample_sink(endpoints, options.num_rx, PATTERNS[options.protocol][0])
    for stream in range(options.num_tx):
        flowgraph.connect((flowgraph.transmitter, stream), (channel, stream))
    for antenna in range(options.num_rx):
        flowgraph.connect((channel, antenna), (sink, antenna))

    print(f"{options.file} in {flowgraph.file.num_blocks()} blocks, at {' '.join(endpoints)}", flush=True)
    transmitter_script.run(flowgraph, gone(lambda: sink.nitems_read(0), RECEIVER_GONE_S))
    print(f"{sink.nitems_read(0)} samples of each antenna", flush=True)
    return 0


def jammer(options: argparse.Namespace) -> dict[str, object] | None:
    """Who interferes, for a `channel_simulator`."""
    if options.interference is None:
        return None
    return {"band": tuple(options.interference), "power_db": options.interference_db}


def receive(options: argparse.Namespace) -> int:
    """Receive until the file is there; the exit status."""
    radio = zmq_source(addresses(options), options.num_rx, PATTERNS[options.protocol][1], sample_rate=options.rate)
    flowgraph = receiver_script.receiver_flowgraph(radio, options.num_rx, options)
    ended = gone(flowgraph.samples, TRANSMITTER_GONE_S)
    return receiver_script.run(flowgraph, options.timeout, silence=receiver_script.NO_LIMIT, ended=ended)


def gone(samples: Callable[[], int], seconds: float) -> Callable[[], bool]:
    """What says whether the other side was there, and has let no sample through for so long."""
    last, changed = 0, 0.0

    def is_gone() -> bool:
        nonlocal last, changed
        before, last = last, samples()
        if last != before:
            changed = time.monotonic()
        return last > 0 and time.monotonic() - changed > seconds

    return is_gone


def addresses(options: argparse.Namespace) -> list[str]:
    """The address for all antennas, or with srsRAN's protocol one for each: ports that follow each other."""
    address = options.address or ADDRESSES[options.protocol]
    if options.protocol == "push":
        return [address]
    host, _, port = address.rpartition(":")
    if not address.startswith("tcp://") or not port.isdecimal():
        raise ValueError(
            f"--address is {address!r}; with --protocol srsran, one such as {ADDRESSES['srsran']} expected"
        )
    return [f"{host}:{int(port) + antenna}" for antenna in range(options.num_rx)]


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    transmitter = commands.add_parser("transmit", help="send a file")
    receiver = commands.add_parser("receive", help="receive it")
    for command in (transmitter, receiver):
        add = command.add_argument_group("link").add_argument
        add("--num-rx", type=int, default=2, help="receive antennas (default: %(default)s)")
        add("--rate", type=float, default=2e6, help="sample rate, for what is given in Hz (default: %(default)g)")
        add("--protocol", choices=list(PATTERNS), default="push", help="of ZMQ (default: %(default)s)")
        add("--address", help=f"of ZMQ; the first one, for srsran (default: {' or '.join(ADDRESSES.values())})")
    receiver_script.add_receiver_arguments(receiver)
    transmitter_script.add_transmitter_arguments(transmitter)
    add = transmitter.add_argument_group("channel").add_argument
    add("--profile", choices=list(RADIO_CHANNELS), default="tdl-a", help="of 3GPP TR 38.901 (default: %(default)s)")
    add("--delay-spread", type=float, default=1e-7, help="RMS, in seconds (default: %(default)g)")
    add("--doppler", type=float, default=200.0, help="largest Doppler shift in Hz (default: %(default)g)")
    add("--snr", type=float, default=20.0, help="signal over noise power per antenna (default: %(default)g)")
    add("--carrier-offset", type=float, default=5000.0, help="in Hz (default: %(default)g)")
    add("--clock-offset-ppm", type=float, default=20.0, help="of the sampling clocks (default: %(default)g)")
    band = {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
    add("--interference", **band, help="noise from LOW to HIGH Hz, as a jammer makes it (default: none)")
    add(
        "--interference-db",
        type=float,
        default=0.0,
        help="its power over a carrier's of a stream (default: %(default)g)",
    )
    add("--seed", type=int, default=0, help="of channel and noise (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run one end of the link; the exit status."""
    options = parse_options()
    try:
        return transmit(options) if options.command == "transmit" else receive(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"zmq_virtual_radio: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
