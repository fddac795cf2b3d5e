# SPDX-License-Identifier: GPL-3.0-or-later
"""The detector in a flowgraph: throughput beside the bare kernel, and how long an OFDM symbol takes through it.

Every estimate covers 64 subcarriers and 14 items (OFDM symbols). For the throughput, vector sources with tags feed the
detector block through buffers of 512 items, and null sinks take what it gives: one for each antenna, stream and
stream's LLRs, or with vector ports one for all of them. The bare kernel is called as the block calls it without vector
ports. Rounds alternate, so that all see the same machine. For the latency, a source lets one OFDM symbol out when the
one before has arrived at the sink, both written in Python.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gr_kaq
from benchmarks.report import markdown as md
from benchmarks.report import plots
from gr_kaq.channels.flat import RayleighChannels, complex_normal
from gr_kaq.commands.long_run import progress_bar

from .. import contestants as c
from ..data import CONSTELLATION, SNR_DB
from ..settings import Settings
from ..timing import Spread, number, ratio, spread

TITLE = "In the flowgraph"

NUM_SUBCARRIERS, ITEMS_PER_ESTIMATE, NUM_ESTIMATES = 64, 14, 20
SIZE, OTHER_SIZE = (16, 16), (4, 4)
"""The first is the one that latencies are measured at."""
SOURCE_ITEMS = 512
"""What the buffers of the sources hold in the measurement of throughput; GNU Radio's default is 128 of these items."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
SYMBOLS, LLRS = "symbols", "symbols and LLRs"
KERNEL, SEPARATE, VECTOR = "kernel", "flowgraph", "vector ports"
FLOWGRAPHS = {SEPARATE: "separate", VECTOR: "vector"}
"""The ports of each, for the tables."""
COLUMNS = ("detector", "size", "output", "ports", "bare kernel", "flowgraph", "ns per vector", "flowgraph / kernel")
DETECTORS = (c.ADMM,)
"""The first is the one that latencies are measured for."""


class Signals:
    """Channels, and one array (items, subcarriers) per antenna."""

    def __init__(self, num_rx: int, num_tx: int, seed: int):
        rng = np.random.default_rng(seed)
        self.num_tx = num_tx
        self.noise_var = float(num_tx / 10 ** (SNR_DB / 10))
        self.h = RayleighChannels(num_rx, num_tx, NUM_SUBCARRIERS, seed=seed).draw(NUM_ESTIMATES)
        points = gr_kaq.CONSTELLATIONS[CONSTELLATION].points
        x = rng.choice(points, (NUM_ESTIMATES, NUM_SUBCARRIERS, ITEMS_PER_ESTIMATE, num_tx))
        y = x @ self.h.swapaxes(-1, -2)
        y += np.float32(np.sqrt(self.noise_var)) * complex_normal(rng, y.shape)
        by_antenna = y.transpose(3, 0, 2, 1).reshape(num_rx, -1, NUM_SUBCARRIERS)
        self.received = [np.ascontiguousarray(antenna, np.complex64) for antenna in by_antenna]
        self.together = np.concatenate(self.received, axis=1)
        """Items as a vector port has them."""

    def ports(self, vector_ports: bool) -> list[NDArray[np.complex64]]:
        """The samples (items, length of an item) of each input of the block."""
        return [self.together] if vector_ports else self.received

    def items_of(self, estimate: int) -> slice:
        """Where the items of an estimate lie, estimates coming round again and again."""
        first = estimate % NUM_ESTIMATES * ITEMS_PER_ESTIMATE
        return slice(first, first + ITEMS_PER_ESTIMATE)

    def tag(self, estimate: int) -> Any:
        """The value of a `mimo_channel` tag."""
        from gr_kaq.blocks.csi_pmt import channel_to_pmt  # noqa: PLC0415

        return channel_to_pmt(self.h[estimate % NUM_ESTIMATES], self.noise_var, estimate)


class BareKernel:
    """The detector called as its block calls it, without GNU Radio."""

    def __init__(self, name: str, signals: Signals, with_llrs: bool):
        detector = gr_kaq.load_detector(name)
        bits = detector.constellation.bits_per_symbol if with_llrs else 0
        shape = (NUM_ESTIMATES * ITEMS_PER_ESTIMATE, NUM_SUBCARRIERS)
        self._signals = signals
        self._plan = detector.plan(NUM_SUBCARRIERS, len(signals.received), signals.num_tx)
        self._symbols = [np.empty(shape, np.complex64) for _ in range(signals.num_tx)]
        self._llrs = [np.empty((shape[0], shape[1] * bits), np.float32) for _ in range(signals.num_tx if bits else 0)]

    def prepare(self, estimate: int) -> Any:
        """What an estimate needs once."""
        h = self._signals.h[estimate % NUM_ESTIMATES]
        return self._plan.prepare(h, noise_var=self._signals.noise_var, vectors_per_estimate=ITEMS_PER_ESTIMATE)

    def detect(self, prepared: Any, part: slice) -> None:
        """The items in `part`."""
        prepared.detect_streams(
            [a[part] for a in self._signals.received], [s[part] for s in self._symbols], [o[part] for o in self._llrs]
        )

    def rate(self, seconds: float) -> float:
        """Vectors per second."""
        estimates, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.detect(self.prepare(estimates), self._signals.items_of(estimates))
            estimates += 1
        return estimates * ITEMS_PER_ESTIMATE * NUM_SUBCARRIERS / (time.perf_counter() - start)

    def latencies(self, count: int) -> dict[str, list[float]]:
        """Microseconds of the preparation and of each OFDM symbol, over so many estimates."""
        found: dict[str, list[float]] = {"estimate": [], "OFDM symbol": []}
        for estimate in range(count):
            start = time.perf_counter_ns()
            prepared = self.prepare(estimate)
            found["estimate"].append((time.perf_counter_ns() - start) / 1e3)
            first = self._signals.items_of(estimate).start
            for item in range(first, first + ITEMS_PER_ESTIMATE):
                start = time.perf_counter_ns()
                self.detect(prepared, slice(item, item + 1))
                found["OFDM symbol"].append((time.perf_counter_ns() - start) / 1e3)
        return found


def detector_block(name: str, signals: Signals, with_llrs: bool, vector_ports: bool) -> Any:
    """The detector block for the signals."""
    num_rx = len(signals.received)
    return gr_kaq.detector(
        name, num_rx, signals.num_tx, NUM_SUBCARRIERS, output_llrs=with_llrs, vector_ports=vector_ports
    )


def flowgraph_rate(name: str, signals: Signals, with_llrs: bool, vector_ports: bool, seconds: float) -> float:
    """Vectors per second of the detector block between sources and sinks that cost next to nothing."""
    import pmt  # noqa: PLC0415
    from gnuradio import blocks, gr  # noqa: PLC0415

    block = detector_block(name, signals, with_llrs, vector_ports)
    tags = []
    for estimate in range(NUM_ESTIMATES):
        tag = gr.tag_t()
        tag.offset, tag.key, tag.value = (
            estimate * ITEMS_PER_ESTIMATE,
            pmt.intern("mimo_channel"),
            signals.tag(estimate),
        )
        tags.append(tag)
    top = gr.top_block("throughput", catch_exceptions=False)
    for port, samples in enumerate(signals.ports(vector_ports)):
        source = blocks.vector_source_c(samples.ravel(), True, samples.shape[1], tags if port == 0 else [])
        source.set_log_level("warn")  # the next line would be logged
        source.set_min_output_buffer(SOURCE_ITEMS)
        top.connect(source, (block, port))
    for port in range(block.output_signature().min_streams()):
        top.connect((block, port), blocks.null_sink(block.output_signature().sizeof_stream_item(port)))
    top.start()
    time.sleep(min(0.3, seconds))  # the first work calls load code and fill buffers
    items, start = block.items(), time.perf_counter()
    time.sleep(seconds)
    rate = (block.items() - items) * NUM_SUBCARRIERS / (time.perf_counter() - start)
    top.stop()
    top.wait()
    if block.rejected_csi() or block.items_without_csi():
        raise RuntimeError("the flowgraph lost estimates")
    return float(rate)


def flowgraph_latencies(
    name: str, signals: Signals, with_llrs: bool, vector_ports: bool, count: int
) -> dict[str, list[float]]:
    """Microseconds from the source's to the sink's work, of symbols with an estimate and of the others."""
    import pmt  # noqa: PLC0415
    from gnuradio import gr  # noqa: PLC0415

    num_items = count * ITEMS_PER_ESTIMATE
    released, arrived = np.zeros(num_items, np.int64), np.zeros(num_items, np.int64)
    turn = threading.Semaphore(1)
    received = signals.ports(vector_ports)

    class Source(gr.sync_block):
        """One item a turn, with the estimate on the first of each."""

        def __init__(self) -> None:
            super().__init__("source", [], [(np.complex64, samples.shape[1]) for samples in received])
            self._next = 0

        def work(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
            if self._next == num_items or not turn.acquire(timeout=10):
                return -1
            estimate, item = divmod(self._next, ITEMS_PER_ESTIMATE)
            place = signals.items_of(estimate).start + item
            for output, samples in zip(output_items, received, strict=True):
                output[0] = samples[place]
            if item == 0:
                self.add_item_tag(0, self.nitems_written(0), pmt.intern("mimo_channel"), signals.tag(estimate))
            released[self._next] = time.perf_counter_ns()
            self._next += 1
            return 1

    class Sink(gr.sync_block):
        """Notes when an item has arrived, and gives the source its turn."""

        def __init__(self) -> None:
            super().__init__("sink", outputs, [])
            self._next = 0

        def work(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
            now, taken = time.perf_counter_ns(), len(input_items[0])
            for _ in range(taken):
                arrived[self._next] = now
                self._next += 1
                turn.release()
            return taken

    block = detector_block(name, signals, with_llrs, vector_ports)
    outputs = list(block.out_sig())
    top = gr.top_block("latency", catch_exceptions=False)
    source, sink = Source(), Sink()
    for port in range(len(received)):
        top.connect((source, port), (block, port))
    for port in range(len(outputs)):
        top.connect((block, port), (sink, port))
    top.run()
    if not arrived.all():
        raise RuntimeError("the flowgraph lost items")
    microseconds = ((arrived - released) / 1e3).reshape(count, ITEMS_PER_ESTIMATE)[count // 10 :]
    return {"with an estimate": microseconds[:, 0].tolist(), "without": microseconds[:, 1:].ravel().tolist()}


def measure(settings: Settings) -> dict[str, Any]:
    """Rates of both sizes, then latencies of the first."""
    size = settings.pick(SIZE, OTHER_SIZE)
    signals = Signals(*size, settings.seed)
    rates = measured_rates(signals, settings)
    others = [] if size == OTHER_SIZE else [measured_rates(Signals(*OTHER_SIZE, settings.seed), settings)]
    count = settings.pick(1000, 20)
    latencies: dict[str, dict[str, list[float]]] = {}
    for kind in (SYMBOLS, LLRS):
        bare = BareKernel(c.ADMM, signals, kind == LLRS)
        bare.latencies(max(2, count // 20))
        latencies |= {f"bare kernel, {kind}": percentiles(bare.latencies(count))}
        for which, ports in FLOWGRAPHS.items():
            found = flowgraph_latencies(c.ADMM, signals, kind == LLRS, which == VECTOR, count)
            latencies |= {f"flowgraph, {ports} ports, {kind}": percentiles(found)}
    return {
        "detector": DETECTORS[0],
        **rates,
        "other_sizes": others,
        "percentiles": list(PERCENTILES),
        "latencies_us": latencies,
        "num_estimates": count,
    }


def measured_rates(signals: Signals, settings: Settings) -> dict[str, Any]:
    """Vectors per second of the bare kernel and of flowgraphs, in alternating rounds."""
    seconds = settings.pick(0.6, 0.1)
    rng = np.random.default_rng(settings.seed)
    detectors = settings.pick(DETECTORS, DETECTORS[:1])
    runs: dict[tuple[str, str], Callable[[], float]] = {}
    for detector, kind in itertools.product(detectors, (SYMBOLS, LLRS)):
        bare = BareKernel(detector, signals, kind == LLRS)
        runs[detector, f"{KERNEL}, {kind}"] = partial(bare.rate, seconds)
        for which in FLOWGRAPHS:
            arguments = detector, signals, kind == LLRS, which == VECTOR, seconds
            runs[detector, f"{which}, {kind}"] = partial(flowgraph_rate, *arguments)
    rates: dict[str, dict[str, list[float]]] = {detector: {} for detector in detectors}
    for _ in progress_bar(range(settings.num_rounds(7)), unit="round", desc="flowgraph"):
        for index in rng.permutation(len(runs)):
            detector, which = list(runs)[index]
            rates[detector].setdefault(which, []).append(runs[detector, which]())
    return {"num_rx": len(signals.received), "num_tx": signals.num_tx, "rates": rates}


def percentiles(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Those of PERCENTILES of each kind of latency."""
    return {name: [float(np.percentile(values, p)) for p in PERCENTILES] for name, values in found.items()}


def sizes(data: dict[str, Any]) -> dict[tuple[int, int], dict[str, dict[str, list[float]]]]:
    """(num_rx, num_tx) -> detector -> what was measured -> rates, one per round."""
    return {(size["num_rx"], size["num_tx"]): size["rates"] for size in (data, *data.get("other_sizes", ()))}


def share(rates: dict[str, list[float]], which: str, kind: str) -> Spread | None:
    """Throughput of a flowgraph over the bare kernel's, round by round; None where it was not measured."""
    found = rates.get(f"{which}, {kind}")
    return None if found is None else ratio(found, rates[f"{KERNEL}, {kind}"])


def markdown(data: dict[str, Any]) -> str:
    """Rates and their ratio, then percentiles."""
    rows = []
    for (num_rx, num_tx), detectors in sizes(data).items():
        for detector, kind in itertools.product(detectors, (SYMBOLS, LLRS)):
            rates = detectors[detector]
            kernel = spread([rate / 1e6 for rate in rates[f"{KERNEL}, {kind}"]]).text()
            for which, ports in FLOWGRAPHS.items():
                if (part := share(rates, which, kind)) is None:
                    continue
                flow = spread([rate / 1e6 for rate in rates[f"{which}, {kind}"]])
                shown = f"{100 * part.median:.0f} % [{100 * part.low:.0f}, {100 * part.high:.0f}]"
                size = f"{num_rx}x{num_tx}"
                rows.append([detector, size, kind, ports, kernel, flow.text(), f"{1e3 / flow.median:.0f}", shown])
    names = [f"{p:g} %" if p < 100 else "largest" for p in data["percentiles"]]
    waits = [
        [where, what, *(number(v) for v in values)]
        for where, found in data["latencies_us"].items()
        for what, values in found.items()
    ]
    return md.joined(
        f"{NUM_SUBCARRIERS} subcarriers x {ITEMS_PER_ESTIMATE} OFDM symbols per estimate; 10^6 vectors per second:",
        md.table(COLUMNS, rows),
        f"Latency of {data['detector']} at {data['num_rx']}x{data['num_tx']} in microseconds over "
        f"{data['num_estimates']} estimates, one OFDM symbol (64 vectors) at a time:",
        md.table(("where", "what", *names), waits),
        md.figure("latency", "Latency percentiles in microseconds, symbols only"),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Percentiles as bars, without those of LLRs."""
    figure, axes = plots.axes(1, width=7.2, height=3.6)
    axis = axes[0][0]
    series = [
        (f"{where.removesuffix(f', {SYMBOLS}')}: {what}", values)
        for where, found in data["latencies_us"].items()
        if where.endswith(f", {SYMBOLS}")
        for what, values in found.items()
    ]
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series):
        places = np.arange(len(values)) + index * width
        axis.bar(places, values, width, color=plots.COLOURS[index % len(plots.COLOURS)], label=name)
    labels = [f"{p:g} %" if p < 100 else "largest" for p in data["percentiles"]]
    axis.set_xticks(np.arange(len(labels)) + 0.4 - width / 2, labels)
    axis.set(yscale="log", ylabel="microseconds")
    axis.set_ylim(top=30 * max(max(values) for _, values in series))  # room for the legend
    plots.grid(axis)
    plots.legend(axis, ncols=2, loc="upper left")
    return [plots.save(figure, folder, "latency")]
