#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect what another process sends over ZMQ, and send the symbols on to a third one.

    producer process -> ZMQ -> this flowgraph with the detector -> ZMQ -> consumer process

The producer simulates a testbed; the consumer counts bit errors. Neither needs GNU Radio: both are
`python3 -m gr_kaq.testbed`. zmq_testbed.grc is the same flowgraph for GNU Radio Companion, and
docs/guide/zmq-testbed.md says how to put your own programs in their places. The exit status is 1 if the BER is above
--max-ber or samples stay away.
"""

import argparse
import subprocess
import sys

from gnuradio import gr, zeromq

import gr_kaq


class zmq_testbed(gr.top_block):
    """ZMQ PULL -> detector -> ZMQ PUSH. An item holds the samples of all antennas, or the symbols of all streams.

    Args:
        source_address: where the producer is bound.
        detector, num_rx, num_tx, num_subcarriers, constellation: as for `gr_kaq.detector`.
        sink_address: where to bind for the consumer.
    """

    def __init__(
        self,
        source_address: str,
        detector: str,
        num_rx: int,
        num_tx: int,
        *,
        num_subcarriers: int = 1,
        constellation: str = "16qam",
        sink_address: str = "tcp://127.0.0.1:*",
    ):
        super().__init__("KAQ ZMQ testbed")
        size = gr.sizeof_gr_complex
        source = zeromq.pull_source(size, num_rx * num_subcarriers, source_address, 100, True)
        self.detector = gr_kaq.detector(detector, num_rx, num_tx, num_subcarriers, constellation, vector_ports=True)
        self.sink = zeromq.push_sink(size, num_tx * num_subcarriers, sink_address, 100, True)
        self.connect(source, self.detector, self.sink)


def main() -> int:
    """Run the three; the exit status."""
    options = parse_options()
    link = {
        name: vars(options)[name]
        for name in ("num_tx", "num_subcarriers", "constellation", "seed", "vectors", "estimates", "timeout")
    }
    processes = []
    try:
        producer = start("produce", link, num_rx=options.num_rx, snr=options.snr, address="tcp://127.0.0.1:*")
        processes.append(producer)
        source_address = first_line(producer).removeprefix("sending from ")
        flowgraph = zmq_testbed(
            source_address,
            options.detector,
            options.num_rx,
            options.num_tx,
            num_subcarriers=options.num_subcarriers,
            constellation=options.constellation,
        )
        sink_address = flowgraph.sink.last_endpoint()
        consumer = start("consume", link, max_ber=options.max_ber, address=sink_address)
        processes.append(consumer)
        first_line(consumer)  # it is there: what is measured is not what has waited in queues
        print(f"{options.detector}, {options.num_rx} x {options.num_tx} {options.constellation}, {options.snr:g} dB")
        print(f"{source_address} -> detector -> {sink_address}", flush=True)
        flowgraph.start()
        try:
            print(consumer.stdout.read(), end="")
        finally:
            flowgraph.stop()
            flowgraph.wait()
        print(f"{flowgraph.detector.time_per_vector_ns() / 1000:.2f} us per vector in the detector")
        return consumer.wait()
    except (ValueError, RuntimeError) as error:
        print(f"zmq_testbed: {error}", file=sys.stderr)
        return 1
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def start(command: str, options: dict[str, object], **more: object) -> subprocess.Popen:
    """Start `python -m gr_kaq.testbed`; its results come through a pipe, progress and errors go where ours go."""
    words = [sys.executable, "-m", "gr_kaq.testbed", command]
    for name, value in {**options, **more}.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen) -> str:
    """What a testbed process says when it is ready."""
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"the {process.args[3]} process has ended")
    return line


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--detector",
        default="auto",
        help="one of gr_kaq.list_detectors(), or a model file (default: %(default)s)",
    )
    add("--num-rx", type=int, default=8, help="receive antennas (default: %(default)s)")
    add("--num-tx", type=int, default=8, help="transmitted streams (default: %(default)s)")
    add("--num-subcarriers", type=int, default=1, help="channel uses per item (default: %(default)s)")
    add("--constellation", default="16qam", help="of every stream (default: %(default)s)")
    add("--snr", type=float, default=25.0, help="signal over noise power per antenna (default: %(default)s)")
    add("--seed", type=int, default=0, help="of symbols, channels and noise (default: %(default)s)")
    add("--vectors", type=int, default=100, help="items per channel estimate (default: %(default)s)")
    add("--estimates", type=int, default=2000, help="channel estimates (default: %(default)s)")
    add("--max-ber", type=float, default=0.05, help="fail above this bit error rate (default: %(default)s)")
    add("--timeout", type=float, default=10.0, help="seconds without samples to give up after (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
