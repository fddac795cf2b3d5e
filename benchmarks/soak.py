# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver at its highest rate for minutes or hours, its peers killed at random: it must neither grow nor lose.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 -m benchmarks.soak [--minutes 3] [--limit-mib 4] [--output DIR]

A peer, a process of its own, sends frames over ZMQ as fast as they are taken, one in each message, and now and then a
message that is damaged. After some seconds it ends, or is killed in the middle of whatever it does, and another takes
its place. The model is swapped meanwhile.

Every payload has the peer's number and its own. So it is seen that what the source gave out was decoded, once and in
order; that nothing is missing in front of it; and, of a peer that was not killed, that all that it sent has come.

Written to soak.json and soak.png: resident memory and what malloc has of it over time, the rate, and how long a frame
takes from the peer to its payload: at the highest rate, it waits in full buffers for most of that.

The exit status is 1 when memory grew beyond the limit after the warm-up, when anything was lost, or when a block
counted an internal error.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pmt
import zmq
from gnuradio import blocks, gr

from gr_kaq.blocks.mimo_receiver import mimo_receiver
from gr_kaq.blocks.pdu import pdu_bytes
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source
from gr_kaq.commands.long_run import progress_bar
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder

GAP = 64  # zeros behind a frame
POOL = 256  # different frames of a peer
TIMES = 1 << 16  # send times that are kept
HEADER = struct.Struct("<IH")  # of a payload: the peer, and the frame modulo POOL
FRAME = FrameFormat(2, 64, "16qam")
MODELS = ("auto", "lmmse", "auto-fast")
LIFETIME_S = (2.0, 12.0)  # of a peer
DAMAGED = 0.003  # share of the messages
DRAIN_S = 10.0
WARM_UP = 0.3  # of the time
INTERVAL_S = 0.5  # of the measurement
LATENCY_S = np.logspace(-5, 3, 1900)
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


class MallocInfo(ctypes.Structure):
    """glibc's mallinfo2: of all arenas, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def malloc_mib() -> tuple[float, float]:
    """What is in use of malloc's memory, and what of it is free but kept: fragments."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = MallocInfo
    info = libc.mallinfo2()
    return (info.uordblks + info.hblkhd) / 2**20, info.fordblks / 2**20


def rss_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20


# The peer


def peer(address: str, number: int, times: Path) -> int:
    """Send until SIGTERM; then say how many frames that were, once they are on their way."""
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    coder, rng = PayloadCoder(FRAME), random.Random(number)
    pool = []
    for place in range(POOL):
        sent = FRAME.modulate(FRAME.map_bits(coder.encode(HEADER.pack(number, place) + bytes(20))))
        samples = np.concatenate([np.zeros((FRAME.num_tx, GAP), np.complex64), sent], axis=1)
        pool.append(samples.T.astype("<c8").tobytes())
    with times.open("r+b") as file:
        clock = np.frombuffer(mmap.mmap(file.fileno(), 0), np.float64)
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 4)
    socket.setsockopt(zmq.SNDTIMEO, 100)
    for _ in range(500):  # the port of the one before may be taken for a while
        try:
            socket.bind(address)
            break
        except zmq.ZMQError:
            time.sleep(0.01)
    count = 0
    while not ending:
        try:
            if rng.random() < DAMAGED:
                socket.send(pool[0][: rng.randrange(1, 16 * 50) | 1])
            clock[count % TIMES] = time.monotonic()
            socket.send(pool[count % POOL])
            count += 1
        except zmq.Again:
            pass
    context.destroy(linger=int(1000 * DRAIN_S))
    print(count)
    return 0


# The receiver


@dataclass
class Tally:
    """What has come of the peers."""

    received: dict[int, int] = field(default_factory=dict)  # frames of each peer
    disorder: int = 0
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(LATENCY_S.size - 1, np.int64))  # a histogram
    clocks: dict[int, Any] = field(default_factory=dict)  # send times of each peer

    def take(self, payload: bytes) -> None:
        """A payload: it has to be the next one of its peer."""
        number, place = HEADER.unpack_from(payload)
        count = self.received.get(number, 0)
        if place != count % POOL:
            self.disorder += 1
        self.received[number] = count + 1
        if number in self.clocks and count % 8 == 0:
            latency = time.monotonic() - self.clocks[number][count % TIMES]
            self.latencies[np.searchsorted(LATENCY_S[1:-1], latency)] += 1

    def percentiles(self, shares: tuple[float, ...]) -> list[float]:
        """Latencies in seconds, to 1 %: what is measured must not grow itself."""
        ranks = np.cumsum(self.latencies)
        return [float(LATENCY_S[np.searchsorted(ranks, share / 100 * ranks[-1])]) for share in shares]


class PayloadSink(gr.basic_block):
    """Hands payloads to the tally."""

    def __init__(self, tally: Tally):
        gr.basic_block.__init__(self, "payload sink", [], [])
        self.tally = tally
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle)

    def handle(self, message: Any) -> None:
        self.tally.take(pdu_bytes(message))


class Flowgraph(gr.top_block):
    """ZMQ -> the receiver -> the tally."""

    def __init__(self, address: str, tally: Tally):
        super().__init__("Soak")
        self.source = zmq_sample_source([address], FRAME.num_tx)
        self.receiver = mimo_receiver(FRAME.num_tx, FRAME.num_tx, FRAME.fft_size, FRAME.constellation_name)
        self.sink = PayloadSink(tally)
        for antenna in range(FRAME.num_tx):
            self.connect((self.source, antenna), (self.receiver, antenna))
            self.connect((self.receiver, antenna), blocks.null_sink(gr.sizeof_gr_complex * FRAME.data_per_stream))
        self.msg_connect(self.receiver, "pdus", self.sink, "pdus")

    def arrived(self) -> float:
        """Frames that the source has given out."""
        return int(self.source.nitems_written(0)) / (FRAME.frame_length + GAP)


class Peers:
    """One peer after the other at the same address."""

    def __init__(self, address: str, tally: Tally, folder: Path, seed: int):
        self.address, self.tally, self.folder, self.random = address, tally, folder, random.Random(seed)
        self.number = self.killed = 0
        self.sent: dict[int, int] = {}  # by those that were not killed
        self.process: subprocess.Popen | None = None
        self.until = 0.0

    def step(self) -> None:
        """Have the peer end whose time has come, and start another."""
        if self.process and time.monotonic() < self.until:
            return
        self.end(self.random.random() < 0.7)
        self.number += 1
        times = self.folder / f"{self.number}"
        times.write_bytes(bytes(8 * TIMES))
        self.tally.clocks[self.number] = np.memmap(times, np.float64, "r")
        self.tally.clocks.pop(self.number - 3, None)
        command = [sys.executable, "-m", "benchmarks.soak", "--peer", self.address, str(self.number), str(times)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.until = time.monotonic() + self.random.uniform(*LIFETIME_S)

    def end(self, kill: bool) -> None:
        """End the peer, or kill it."""
        if not self.process:
            return
        if kill:
            self.process.kill()
            self.process.wait()
            self.killed += 1
        else:
            self.process.terminate()
            out, _ = self.process.communicate(timeout=10 * DRAIN_S)
            self.sent[self.number] = int(out or 0)
        self.process = None


def free_address() -> str:
    """An address that nobody uses now."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        return f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"


def soak(minutes: float, seed: int) -> dict[str, Any]:
    """Run it; what was measured."""
    tally, address = Tally(), free_address()
    flowgraph = Flowgraph(address, tally)
    samples = np.ones((math.ceil(60 * minutes / INTERVAL_S) + 2, 5))  # seconds, RSS, in use, free, frames
    count = 0
    with tempfile.TemporaryDirectory(prefix="kaq-soak-") as folder:
        peers = Peers(address, tally, Path(folder), seed)
        flowgraph.start()
        began = time.monotonic()
        with progress_bar(total=round(60 * minutes), unit="s") as progress:
            while (passed := time.monotonic() - began) < 60 * minutes and count < len(samples):
                peers.step()
                samples[count] = passed, rss_mib(), *malloc_mib(), sum(tally.received.values())
                progress.set_postfix_str(f"{samples[count, 4]:.0f} frames, {samples[count, 1]:.0f} MiB", refresh=False)
                count += 1
                if int(passed) % 10 == 5:
                    flowgraph.receiver.set_model(peers.random.choice(MODELS))
                progress.update(min(progress.total, int(passed)) - progress.n)
                time.sleep(max(0.01, min(INTERVAL_S, (count * INTERVAL_S) - passed)))
        peers.end(kill=False)
        deadline = time.monotonic() + DRAIN_S
        while sum(tally.received.values()) < flowgraph.arrived() and time.monotonic() < deadline:
            time.sleep(0.05)
        flowgraph.stop()
        flowgraph.wait()
    return report(minutes, seed, flowgraph, tally, peers, samples[:count])


def report(
    minutes: float, seed: int, flowgraph: Flowgraph, tally: Tally, peers: Peers, samples: np.ndarray
) -> dict[str, Any]:
    """What was measured, as JSON has it."""
    stats = flowgraph.receiver.stats() | {"source": flowgraph.source.stats()}
    warm = samples[samples[:, 0] >= WARM_UP * samples[-1, 0]]
    part = max(1, len(warm) // 5)
    growth = float(np.median(warm[-part:, 1]) - np.median(warm[:part, 1]))
    slope = float(np.polyfit(warm[:, 0] / 60, warm[:, 1], 1)[0]) if len(warm) > 2 else 0.0
    received = sum(tally.received.values())
    return {
        "minutes": minutes,
        "seed": seed,
        "frames": received,
        "frames_per_second": round(received / (60 * minutes), 1),
        "samples_per_second": round(received * (FRAME.frame_length + GAP) / (60 * minutes)),
        "frames_given_out_by_the_source": flowgraph.arrived(),
        "lost_after_the_source": flowgraph.arrived() - received,
        "lost_of_peers_that_were_not_killed": sum(
            count - tally.received.get(number, 0) for number, count in peers.sent.items()
        ),
        "out_of_order": tally.disorder,
        "peers": peers.number,
        "peers_killed": peers.killed,
        "damaged_messages": stats["source"]["bad_messages"],
        "internal_errors": sum(part["internal_errors"] for part in stats.values()),
        "rss_growth_mib": round(growth, 3),
        "rss_slope_mib_per_minute": round(slope, 4),
        "warm_up_seconds": round(float(warm[0, 0]), 1),
        "latency_ms": {
            f"{share:g}": round(1000 * latency, 2)
            for share, latency in zip(PERCENTILES, tally.percentiles(PERCENTILES), strict=True)
        },
        "samples": {
            name: samples[:, place].round(3).tolist()
            for place, name in enumerate(("seconds", "rss_mib", "malloc_in_use_mib", "malloc_free_mib", "frames"))
        },
        "stats": stats,
    }


def failures(result: dict[str, Any], limit_mib: float) -> list[str]:
    """What must not be."""
    found = [
        f"{name} is {result[name]:g}"
        for name in (
            *("lost_after_the_source", "lost_of_peers_that_were_not_killed"),
            *("out_of_order", "internal_errors"),
        )
        if result[name]
    ]
    if result["rss_growth_mib"] > limit_mib:
        found.append(f"memory grew by {result['rss_growth_mib']:.2f} MiB after the warm-up; {limit_mib:g} at most")
    return found + ["no frame came"] * (not result["frames"])


def plot(result: dict[str, Any], path: Path) -> None:
    """Memory and rate over time."""
    import matplotlib  # noqa: PLC0415  # not for a peer

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    samples = {name: np.array(values) for name, values in result["samples"].items()}
    minutes = samples["seconds"] / 60
    figure, (memory, malloc, rate) = plt.subplots(3, 1, sharex=True, figsize=(8, 8), layout="constrained")
    memory.plot(minutes, samples["rss_mib"])
    memory.axvline(result["warm_up_seconds"] / 60, color="grey", linestyle=":")
    memory.set_ylabel("resident memory (MiB)")
    memory.set_title(
        f"{result['frames']} frames, {result['peers']} peers, {result['peers_killed']} of them killed: "
        f"{result['rss_growth_mib']:+.2f} MiB after the warm-up"
    )
    malloc.plot(minutes, samples["malloc_in_use_mib"], label="in use")
    malloc.plot(minutes, samples["malloc_free_mib"], label="free, but kept")
    malloc.set_ylabel("malloc (MiB)")
    malloc.legend()
    rate.plot(minutes[1:], np.diff(samples["frames"]) / np.maximum(np.diff(samples["seconds"]), 1e-3))
    rate.set_ylabel("frames per second")
    rate.set_xlabel("minutes")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> int:
    """Soak, and write what came of it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: %(default)g)")
    parser.add_argument("--limit-mib", type=float, default=4.0, help="how much memory may grow (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens to the peers (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("out/soak"), help="folder (default: %(default)s)")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        address, number, times = options.peer
        return peer(address, int(number), Path(times))
    result = soak(options.minutes, options.seed)
    found = result["failures"] = failures(result, options.limit_mib)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "soak.json").write_text(json.dumps(result, indent=2, default=float) + "\n")
    plot(result, options.output / "soak.png")
    for name, value in result.items():
        if name not in ("samples", "stats"):
            print(f"{name.replace('_', ' '):40} {value}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
