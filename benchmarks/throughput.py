#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors per second of the bare kernel and of the detector in a flowgraph, side by side in one run.

Every estimate covers 64 subcarriers and 14 items (OFDM symbols). The kernel is called as the block calls it:
`prepare` once per estimate, then `detect_streams` on one buffer per antenna and stream. The flowgraph is vector sources
with CSI tags -> detector -> null sinks. Rounds alternate, so that both see the same machine; medians are reported.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, gr
from tqdm import trange

import gr_kaq
from gr_kaq import native
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.channels import RayleighChannels, complex_normal

NUM_SUBCARRIERS, ITEMS_PER_ESTIMATE, NUM_ESTIMATES = 64, 14, 20


class Data:
    """Channels, and one array (items, subcarriers) per antenna: noise at the SNR is as good as a signal for timing."""

    def __init__(self, num_rx: int, num_tx: int, snr_db: float):
        rng = np.random.default_rng(1)
        self.noise_var = num_tx / 10 ** (snr_db / 10)
        self.h = RayleighChannels(num_rx, num_tx, NUM_SUBCARRIERS, seed=1).draw(NUM_ESTIMATES)
        x = rng.choice(
            gr_kaq.CONSTELLATIONS["16qam"].points, (NUM_ESTIMATES, NUM_SUBCARRIERS, ITEMS_PER_ESTIMATE, num_tx)
        )
        y = x @ self.h.swapaxes(-1, -2)
        y += np.float32(np.sqrt(self.noise_var)) * complex_normal(rng, y.shape)
        by_antenna = y.transpose(3, 0, 2, 1).reshape(num_rx, -1, NUM_SUBCARRIERS)
        self.received = [np.ascontiguousarray(antenna) for antenna in by_antenna]
        self.num_items = NUM_ESTIMATES * ITEMS_PER_ESTIMATE


def bare_kernel(detector: gr_kaq.Detector, data: Data, num_tx: int, with_llrs: bool, seconds: float) -> float:
    """Vectors per second of prepare and detect_streams, without GNU Radio."""
    bits = detector.constellation.bits_per_symbol if with_llrs else 0
    symbols = [np.empty_like(data.received[0]) for _ in range(num_tx)]
    llrs = [np.empty((data.num_items, NUM_SUBCARRIERS * bits), np.float32) for _ in range(num_tx)] if bits else []
    estimates, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        first = estimates % NUM_ESTIMATES * ITEMS_PER_ESTIMATE
        part = slice(first, first + ITEMS_PER_ESTIMATE)
        prepared = detector.prepare(data.h[estimates % NUM_ESTIMATES], noise_var=data.noise_var)
        prepared.detect_streams([a[part] for a in data.received], [s[part] for s in symbols], [o[part] for o in llrs])
        estimates += 1
    return estimates * ITEMS_PER_ESTIMATE * NUM_SUBCARRIERS / (time.perf_counter() - start)


def flowgraph(name: str, data: Data, num_tx: int, with_llrs: bool, seconds: float) -> float:
    """Vectors per second of the detector block between sources and sinks that cost next to nothing."""
    block = gr_kaq.detector(name, len(data.received), num_tx, NUM_SUBCARRIERS, output_llrs=with_llrs)
    tags = []
    for estimate in range(NUM_ESTIMATES):
        tag = gr.tag_t()
        tag.offset = estimate * ITEMS_PER_ESTIMATE
        tag.key = pmt.intern("mimo_channel")
        tag.value = channel_to_pmt(data.h[estimate], data.noise_var, estimate)
        tags.append(tag)
    top = gr.top_block("throughput", catch_exceptions=False)
    for antenna, samples in enumerate(data.received):
        source = blocks.vector_source_c(samples.ravel(), True, NUM_SUBCARRIERS, tags if antenna == 0 else [])
        top.connect(source, (block, antenna))
    for port in range(block.output_signature().min_streams()):
        top.connect((block, port), blocks.null_sink(block.output_signature().sizeof_stream_item(port)))
    top.start()
    time.sleep(0.3)  # the first work calls load code and fill buffers
    items, start = block.items(), time.perf_counter()
    time.sleep(seconds)
    rate = (block.items() - items) * NUM_SUBCARRIERS / (time.perf_counter() - start)
    top.stop()
    top.wait()
    assert block.rejected_csi() == 0 and block.items_without_csi() == 0
    return rate


def processor() -> str:
    """Name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="admm5-16qam", help="name or path of a model file (default %(default)s)")
    parser.add_argument("--num-rx", type=int, default=16, help="default %(default)s")
    parser.add_argument("--num-tx", type=int, default=16, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="per round and measurement (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for throughput.json")
    options = parser.parse_args()

    detector = gr_kaq.load_detector(options.detector)
    data = Data(options.num_rx, options.num_tx, snr_db=20.0)
    rates: dict[str, list[float]] = {"kernel": [], "flowgraph": [], "kernel, LLRs": [], "flowgraph, LLRs": []}
    for _ in trange(options.rounds, unit="round"):
        for key, measured in rates.items():
            with_llrs = key.endswith("LLRs")
            if key.startswith("kernel"):
                measured.append(bare_kernel(detector, data, options.num_tx, with_llrs, options.seconds))
            else:
                measured.append(flowgraph(options.detector, data, options.num_tx, with_llrs, options.seconds))

    machine = processor()
    medians = {key: statistics.median(values) for key, values in rates.items()}
    shares = {
        suffix or "symbols": statistics.median(
            f / k for f, k in zip(rates["flowgraph" + suffix], rates["kernel" + suffix], strict=True)
        )
        for suffix in ("", ", LLRs")
    }
    print(f"{options.detector}, {options.num_rx}x{options.num_tx}, {NUM_SUBCARRIERS} subcarriers, ", end="")
    print(f"{ITEMS_PER_ESTIMATE} vectors per estimate")
    print(f"{machine}, {native.selected_instruction_set()}, median of {options.rounds} rounds [smallest, largest]")
    for key, values in rates.items():
        print(f"  {key:<16} {medians[key]:.3g} vectors/s  [{min(values):.3g}, {max(values):.3g}]")
    for key, share in shares.items():
        print(f"  flowgraph / kernel ({key.strip(', ')}): {100 * share:.0f} %")
    options.output.mkdir(parents=True, exist_ok=True)
    result = {"detector": options.detector, "machine": machine, "rates": rates, "medians": medians, "shares": shares}
    (options.output / "throughput.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
