#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the samples of all antennas of a radio in SigMF.

    radio -> NAME.sigmf-meta, NAME.sigmf-data

The radio is any that gr-kaq knows: USRPs, what SoapySDR has a driver for, a ZMQ testbed, or another recording, of which
this copies a part. docs/guide/hardware.md says how to set them up. Every program that takes --radio plays the
recording with --radio recording --args NAME.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

import numpy as np
from gnuradio import gr

from gr_kaq.radios import add_radio_arguments, positive_number, radio_source, recording_sink, run, sample_count
from gr_kaq.radios.sigmf import open_recording


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; the exit status."""
    options = parse_options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        source = radio_source(options)
        if source.sample_rate is None:
            raise ValueError("--rate is missing; the recording has to say it")
        wanted = sample_count(options.seconds, source.sample_rate)
        sink = recording_sink(options.output, options.antennas, source.sample_rate, source.frequency, wanted)
        flowgraph = gr.top_block("recorder")
        for antenna in range(options.antennas):
            flowgraph.connect((source, antenna), (sink, antenna))
        try:
            run(flowgraph, sink.num_samples, lambda count: count >= wanted, report=report(sink, wanted))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        except OSError:
            sink.check()  # no samples come any more where the disk is full
            raise
        print_summary(options.output, options.antennas)
        sink.check()
    except (ValueError, OSError) as error:
        print(f"recorder: error: {error}", file=sys.stderr)
        return 2
    return 0


def report(sink: gr.hier_block2, wanted: int):
    """What says how far it got, and ends where the disk is full."""

    def say(count: int) -> None:
        print(f"{100 * count / wanted:.0f} %", file=sys.stderr, flush=True)
        sink.check(running=True)

    return say


def print_summary(path: str, num_antennas: int) -> None:
    """What came out: length, and mean and peak power of each antenna's first samples."""
    recording = open_recording(path, num_antennas)
    seconds = recording.num_samples / recording.sample_rate
    print(f"{recording.data_path}: {recording.num_samples} samples ({seconds:.3f} s) of {num_antennas} antennas")
    if recording.rest_bytes:
        print(f"its last {recording.rest_bytes} bytes are of a sample that was cut off, and are left out")
    samples = recording.read(0, 1 << 20)
    with np.errstate(divide="ignore"):
        power = 10 * np.log10(np.mean(np.abs(samples) ** 2, axis=1))
        peak = 20 * np.log10(np.abs(samples).max(axis=1))
    for antenna in range(num_antennas):
        print(f"antenna {antenna}: {power[antenna]:.1f} dB of full scale, peak {peak[antenna]:.1f} dB")


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_radio_arguments(parser)
    parser.add_argument("--output", required=True, metavar="NAME", help="of the recording, without suffix")
    parser.add_argument("--seconds", type=positive_number, default=1.0, help="how long (default %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
