# SPDX-License-Identifier: GPL-3.0-or-later
"""One link, several detectors side by side: what simulated_channel.py, measured_channel.py and demo.py share.

qam_source -> channel_simulator -+-> detector -> ber_meter
                                 +-> detector -> ber_meter
                                 +-> ...
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq import BitErrorRate
from gr_kaq.commands.long_run import PointsProgress, check_picture, exit_status
from gr_kaq.signals.constellation import constellation_named

CONSTELLATION_POINTS = 3000
FEWEST_ITEMS = 1000  # errors come in clusters of bad channels: so many that a rate is not that of a few channels


@dataclass(frozen=True)
class Link:
    """What is transmitted over which channel. `channel` holds further arguments of gr_kaq.channel_simulator."""

    num_rx: int
    num_tx: int
    constellation: str
    num_subcarriers: int
    channel: dict[str, Any] = field(default_factory=dict)
    seed: int = 1


@dataclass(frozen=True)
class Measurement:
    """What one detector did at one SNR."""

    detector: str
    snr_db: float
    bit_errors: BitErrorRate
    vectors_per_second: float
    symbols: np.ndarray  # complex64, estimates of some symbols


class LinkComparison(gr.top_block):
    """The flowgraph: one transmitter and channel, `detectors` in parallel, a BER meter for each."""

    def __init__(self, link: Link, snr_db: float, detectors: Sequence[str], num_items: int):
        gr.top_block.__init__(self, "Detectors side by side", catch_exceptions=False)
        size = (link.num_tx, link.num_subcarriers)
        source = gr_kaq.qam_source(*size, link.constellation, link.seed, num_items)
        channel = gr_kaq.channel_simulator(
            link.num_tx, link.num_rx, link.num_subcarriers, snr_db=snr_db, seed=link.seed, **link.channel
        )
        for stream in range(link.num_tx):
            self.connect((source, stream), (channel, stream))
        self.detectors, self.meters, self.sinks = [], [], []
        for name in detectors:
            detector = gr_kaq.detector(name, link.num_rx, link.num_tx, link.num_subcarriers, link.constellation)
            meter = gr_kaq.ber_meter(*size, link.constellation, seed=link.seed)
            for antenna in range(link.num_rx):
                self.connect((channel, antenna), (detector, antenna))
            for stream in range(link.num_tx):
                self.connect((detector, stream), (meter, stream))
            # not blocks.head: once it has finished, what feeds it can no longer write, and the flowgraph stands
            some = blocks.keep_one_in_n(gr.sizeof_gr_complex * link.num_subcarriers, 4)
            sink = blocks.vector_sink_c(link.num_subcarriers)
            self.connect((detector, 0), some, sink)
            self.detectors.append(detector)
            self.meters.append(meter)
            self.sinks.append(sink)


def measure(
    link: Link,
    snr_db: float,
    detectors: Sequence[str],
    target_errors: int,
    max_bits: int,
    progress: Callable[[int, int], object] = lambda errors, bits: None,
) -> list[Measurement]:
    """Run the flowgraph over so many items that every detector makes `target_errors`, or `max_bits` are compared.

    All detectors see the same items, and the same arguments give the same result (but for a bit in millions, which the
    rounding of BLAS decides): a flowgraph is run to its end, and again with more items if there were too few errors.

    Args:
        progress: called now and then with the fewest errors of a detector so far, and the bits.
    """
    bits_per_item = link.num_tx * link.num_subcarriers * constellation_named(link.constellation).bits_per_symbol
    max_items = max(1, max_bits // bits_per_item)
    num_items = min(max_items, FEWEST_ITEMS)
    while True:
        flowgraph = LinkComparison(link, snr_db, detectors, num_items)
        flowgraph.start()
        while min(meter.bits() for meter in flowgraph.meters) < num_items * bits_per_item:
            time.sleep(0.02)
            progress(
                min(meter.bit_errors() for meter in flowgraph.meters), min(meter.bits() for meter in flowgraph.meters)
            )
        flowgraph.wait()
        errors = min(meter.bit_errors() for meter in flowgraph.meters)
        if errors >= target_errors or num_items == max_items:
            break
        growth = min(32.0, max(1.5, 1.2 * target_errors / max(errors, 1)))
        num_items = min(max_items, int(num_items * growth) + 1)
    return [
        Measurement(
            name,
            snr_db,
            meter.error_rate(),
            1e9 / detector.time_per_vector_ns(),
            np.array(sink.data()[-CONSTELLATION_POINTS:]),
        )
        for name, detector, meter, sink in zip(
            detectors, flowgraph.detectors, flowgraph.meters, flowgraph.sinks, strict=True
        )
    ]


class Sweep:
    """Measures at every SNR with a progress bar, and prints each row of the table as soon as it is there.

    Ctrl-C ends it: `measurements` has what was complete, and `interrupted` is true.
    """

    def __init__(
        self,
        title: str,
        link: Link,
        snrs_db: Sequence[float],
        detectors: Sequence[str],
        target_errors: int,
        max_bits: int,
    ):
        self.title, self.interrupted = title, False
        self.measurements: list[Measurement] = []
        width = max(map(len, detectors))
        print(
            f"{title}\n{'SNR':>8}  {'detector':<{width}}  {'BER':>8}  95 % interval          errors  vectors/s",
            flush=True,
        )
        try:
            with PointsProgress(len(snrs_db), target_errors, max_bits) as progress:
                for snr_db in snrs_db:
                    progress.begin(f"{snr_db:g} dB")
                    measured = measure(link, snr_db, detectors, target_errors, max_bits, progress.update)
                    self.measurements += measured
                    for each in measured:
                        progress.write(table_row(each, width))
        except KeyboardInterrupt:
            self.interrupted = True
        print(flush=True)


def table_row(m: Measurement, width: int) -> str:
    """SNR, detector, BER with its 95 % interval and error count, and the detector's own speed."""
    low, high = m.bit_errors.confidence_interval()
    return (
        f"{m.snr_db:>5g} dB  {m.detector:<{width}}  {m.bit_errors.rate:8.2e}  [{low:.2e}, {high:.2e}]"
        f"  {m.bit_errors.errors:7d}  {m.vectors_per_second:9.2e}"
    )


def as_json(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """What the table shows, for a file."""
    return [
        {
            "detector": m.detector,
            "snr_db": m.snr_db,
            "bit_errors": m.bit_errors.errors,
            "bits": m.bit_errors.bits,
            "ber": m.bit_errors.rate,
            "confidence_interval": m.bit_errors.confidence_interval(),
            "vectors_per_second": m.vectors_per_second,
        }
        for m in measurements
    ]


def plot_ber(axes: Any, title: str, measurements: Sequence[Measurement]) -> None:
    """BER over SNR, a curve per detector, with 95 % intervals."""
    for name in dict.fromkeys(m.detector for m in measurements):
        points = sorted((m for m in measurements if m.detector == name), key=lambda m: m.snr_db)
        rates = np.array([m.bit_errors.rate for m in points])
        intervals = np.array([m.bit_errors.confidence_interval() for m in points])
        error = np.abs(intervals.T - rates)
        # full precision in open circles, which the quantized curve on top of them does not hide
        twin = name.endswith("-fp")
        style = {"fmt": "o", "markersize": 9, "markerfacecolor": "none"} if twin else {"fmt": ".-", "capsize": 2}
        axes.errorbar([m.snr_db for m in points], rates, error, label=name, **style)
    axes.set(title=title, xlabel="SNR [dB]", ylabel="bit error rate", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()


def plot_constellation(axes: Any, measurement: Measurement) -> None:
    """Symbol estimates of one detector."""
    symbols = measurement.symbols
    axes.plot(symbols.real, symbols.imag, ".", markersize=1.5, alpha=0.5)
    axes.set(title=f"{measurement.detector}, {measurement.snr_db:g} dB", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    axes.set(xlabel="in phase", ylabel="quadrature")
    axes.set_aspect("equal")
    axes.grid(True, alpha=0.3)


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def arguments(description: str, snrs_db: Sequence[float], detectors: Sequence[str]) -> argparse.ArgumentParser:
    """The options that both links have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--snr", type=float, nargs="+", default=list(snrs_db), metavar="DB", help="SNRs to measure at")
    parser.add_argument(
        "--detectors", nargs="+", default=list(detectors), metavar="NAME", help="names, or paths of model files"
    )
    parser.add_argument("--target-errors", type=int, default=400, help="bit errors to count per point")
    parser.add_argument("--max-bits", type=float, default=3e7, help="bits after which a point ends anyway")
    parser.add_argument("--seed", type=int, default=1, help="of symbols, channels and noise")
    parser.add_argument("--output", type=Path, help="where to write a picture (PNG)")
    return parser


def run(title: str, link: Link, options: argparse.Namespace) -> int:
    """What main() of both examples does after it knows its link; returns the exit status."""
    if options.target_errors < 1 or options.max_bits < 1:
        print("error: --target-errors and --max-bits have to be at least 1", file=sys.stderr)
        return 2
    try:
        if options.output:
            options.output.absolute().parent.mkdir(parents=True, exist_ok=True)
        check_picture(options.output)
        swept = Sweep(title, link, options.snr, options.detectors, options.target_errors, int(options.max_bits))
    except (ValueError, OSError) as error:  # an unknown detector, an SNR out of range: it says what was expected
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.output and swept.measurements:
        import matplotlib.pyplot as plt  # noqa: PLC0415 - half a second that only a picture needs

        best = max(m.snr_db for m in swept.measurements)
        figure, axes = plt.subplots(1, 1 + len(options.detectors), figsize=(5 + 3.5 * len(options.detectors), 4.5))
        plot_ber(axes[0], title, swept.measurements)
        for place, m in zip(axes[1:], (m for m in swept.measurements if m.snr_db == best), strict=True):
            plot_constellation(place, m)
        figure.tight_layout()
        save_figure(figure, options.output)
    return exit_status(swept.interrupted)
