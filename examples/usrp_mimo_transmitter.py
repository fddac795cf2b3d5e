#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a file over and over with USRPs: one with several channels, or several that share 10 MHz and PPS.

    usrp_mimo_transmitter.py --args addr=192.168.10.2 --freq 2.45e9 --rate 2e6 --gain 20 --antennas 2 FILE
    usrp_mimo_transmitter.py --args addr0=192.168.10.2,addr1=192.168.20.2 --reference external --continuous ... FILE

usrp_mimo_transmitter.grc is the same flowgraph for GNU Radio Companion.
docs/guide/hardware.md says how to set the radios up.
"""

import argparse
import sys

import transmitter_script

from gr_kaq.radios import REFERENCES, usrp_sink


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    transmitter_script.add_transmitter_arguments(parser)
    parser.add_argument(
        "--amplitude",
        type=float,
        default=0.25,
        help="of a carrier; at 0.25, full scale is 6 standard deviations of the samples (default: %(default)g)",
    )
    add = parser.add_argument_group("radio").add_argument
    add("--args", default="", help="of the device, such as addr0=192.168.10.2,addr1=192.168.20.2")
    add("--freq", type=float, required=True, metavar="HZ", help="centre frequency")
    add("--rate", type=float, required=True, metavar="HZ", help="sample rate")
    add("--gain", type=float, metavar="DB", help="of every antenna (default: the device's)")
    add("--connector", metavar="NAME", help="antenna connector such as TX/RX (default: the device's)")
    add("--reference", choices=REFERENCES, default="internal", help="of clock and time (default: %(default)s)")
    add(
        "--continuous",
        action="store_true",
        help="send zeros between the frames, which keeps several devices aligned (default: nothing)",
    )
    return parser.parse_args()


def main() -> int:
    """Run the flowgraph; the exit status."""
    options = parse_options()
    try:
        idle = "zeros" if options.continuous else "wait"
        flowgraph = transmitter_script.transmitter_flowgraph(options, amplitude=options.amplitude, idle=idle)
        radio = usrp_sink(
            options.args,
            options.num_tx,
            options.freq,
            options.rate,
            gain=options.gain,
            connector=options.connector,
            reference=options.reference,
            bursts=not options.continuous,
        )
        for stream in range(options.num_tx):
            flowgraph.connect((flowgraph.transmitter, stream), (radio, stream))
        transmitter_script.run(flowgraph)
    except (ValueError, OSError) as error:
        print(f"usrp_mimo_transmitter: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
