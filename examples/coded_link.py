#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the LLRs are worth to a decoder: GNU Radio's LDPC code over a MIMO link, LMMSE and a trained detector beside it.

random bits -> LDPC encoder -> QAM -> one code word per stream -> channel_simulator
    channel_simulator -+-> lmmse -> LLRs -> LDPC decoder -> blocks in error
                       +-> model -> LLRs -> LDPC decoder -> blocks in error

The code is the one of rate 1/2 and 1800 coded bits that ships with GNU Radio (gr-fec), decoded by belief propagation.
A frame is a code word per stream, on independent Rayleigh channels per subcarrier that stay as they are for the frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gnuradio import analog, blocks, digital, fec, gr

import gr_kaq
from gr_kaq import BitErrorRate
from gr_kaq.signals.constellation import Constellation, constellation_named
from link_comparison import save_figure

CODE = "share/gnuradio/fec/ldpc/n_1800_k_0902_gap_28.alist"
CODED_BITS = 1800
ITEMS_PER_FRAME = 25  # divides the symbols of a code word for QPSK to 256-QAM
DECODER_ITERATIONS = 20
# gr-fec's decoder of old weighs its input by 1 / (2 sigma^2): with this sigma it takes it for LLRs
DECODER_SIGMA = 0.5**0.5
# It divides by tanh(LLR / 2), so that one LLR of exactly 0 (a legal one: nothing known) costs it the block, and very
# large ones do as well. Both ended with https://github.com/gnuradio/gnuradio/pull/6748, which 3.10.5 does not have.
LLR_OFFSET = 1e-3
LLR_LIMIT = 15.0


@dataclass(frozen=True)
class Measurement:
    """What one detector did at one SNR."""

    detector: str
    snr_db: float
    block_errors: BitErrorRate


def make_decoder(alist: str) -> Any:
    """GNU Radio's LDPC decoder for LLRs, of which positive ones mean 1, as ours."""
    try:
        return fec.ldpc_decoder.make(alist, sigma=DECODER_SIGMA, max_iterations=DECODER_ITERATIONS)
    except TypeError:  # newer ones have no sigma, and take LLRs as they are
        return fec.ldpc_decoder.make(alist, max_iterations=DECODER_ITERATIONS)


class CodedLink(gr.top_block):
    """The flowgraph. It ends by itself after `frames` frames of num_tx code words.

    Args:
        detectors: names, or paths of model files, for the constellation.
        constellation: what every stream carries.
        num_rx, num_tx: antennas and streams.
        snr_db: SNR in dB, num_tx / noise_var, per coded symbol.
        frames: how many.
        seed: of bits, channels and noise.
    """

    def __init__(
        self,
        detectors: Sequence[str],
        constellation: Constellation,
        num_rx: int,
        num_tx: int,
        snr_db: float,
        frames: int,
        seed: int,
    ):
        gr.top_block.__init__(self, "Coded link", catch_exceptions=False)
        bits_per_symbol = constellation.bits_per_symbol
        num_subcarriers = CODED_BITS // bits_per_symbol // ITEMS_PER_FRAME
        alist = str(Path(gr.prefix()) / CODE)

        code = fec.ldpc_encoder_make(alist)
        self._block_bits = fec.get_encoder_input_size(code)
        rng = np.random.default_rng(seed)
        self._sent = rng.integers(0, 2, (frames * num_tx, self._block_bits), dtype=np.uint8)
        # one code word after the other goes to the next stream
        to_streams = blocks.deinterleave(gr.sizeof_gr_complex * num_subcarriers, ITEMS_PER_FRAME)
        self.connect(
            blocks.vector_source_b(self._sent.ravel().tolist(), False),
            fec.extended_encoder(code, threading=None, puncpat="11"),
            blocks.pack_k_bits_bb(bits_per_symbol),
            digital.chunks_to_symbols_bc(constellation.points.tolist()),
            blocks.stream_to_vector(gr.sizeof_gr_complex, num_subcarriers),
            to_streams,
        )
        channel = gr_kaq.channel_simulator(
            num_tx, num_rx, num_subcarriers, snr_db=snr_db, items_per_estimate=ITEMS_PER_FRAME, seed=seed
        )
        for stream in range(num_tx):
            self.connect((to_streams, stream), (channel, stream))

        self._sinks = []
        for name in detectors:
            detector = gr_kaq.detector(name, num_rx, num_tx, num_subcarriers, constellation.name, output_llrs=True)
            for antenna in range(num_rx):
                self.connect((channel, antenna), (detector, antenna))
            llrs_per_item = num_subcarriers * bits_per_symbol
            from_streams = blocks.interleave(gr.sizeof_float * llrs_per_item, ITEMS_PER_FRAME)
            for stream in range(num_tx):
                symbols_unused = blocks.null_sink(gr.sizeof_gr_complex * num_subcarriers)
                self.connect((detector, stream), symbols_unused)
                self.connect((detector, num_tx + stream), (from_streams, stream))
            sink = blocks.vector_sink_b()
            self.connect(
                from_streams,
                blocks.vector_to_stream(gr.sizeof_float, llrs_per_item),
                blocks.add_const_ff(LLR_OFFSET),
                analog.rail_ff(-LLR_LIMIT, LLR_LIMIT),
                fec.extended_decoder(make_decoder(alist), threading=None, puncpat="11"),
                sink,
            )
            self._sinks.append(sink)

    def block_errors(self) -> list[BitErrorRate]:
        """Blocks lost with each detector, after the flowgraph has ended."""
        counts = []
        for sink in self._sinks:
            decoded = np.array(sink.data(), np.uint8).reshape(-1, self._block_bits)
            wrong = (decoded != self._sent[: len(decoded)]).any(axis=-1)
            counts.append(BitErrorRate(int(np.count_nonzero(wrong)), len(wrong)))
        return counts


def measure(
    detectors: Sequence[str],
    constellation: Constellation,
    num_rx: int,
    num_tx: int,
    snr_db: float,
    frames: int,
    seed: int,
) -> list[Measurement]:
    """Run the flowgraph to its end; arguments as for `CodedLink`."""
    flowgraph = CodedLink(detectors, constellation, num_rx, num_tx, snr_db, frames, seed)
    flowgraph.run()
    return [Measurement(name, snr_db, count) for name, count in zip(detectors, flowgraph.block_errors(), strict=True)]


def plot(axes: Any, title: str, measurements: Sequence[Measurement]) -> None:
    """Block error rate over SNR, a curve per detector, with 95 % intervals."""
    for name in dict.fromkeys(m.detector for m in measurements):
        points = sorted((m for m in measurements if m.detector == name), key=lambda m: m.snr_db)
        # where no block was lost there is no point, but the interval's upper end
        rates = np.array([m.block_errors.rate or np.nan for m in points])
        intervals = np.array([m.block_errors.confidence_interval() for m in points])
        error = np.abs(intervals.T - rates)
        axes.errorbar([m.snr_db for m in points], rates, error, fmt=".-", capsize=2, label=name)
    axes.axhline(0.1, color="grey", linewidth=0.8)
    axes.set(title=title, xlabel="SNR [dB]", ylabel="block error rate", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", default="auto", help="name of a detector, or path of a model file")
    parser.add_argument("--constellation", default="16qam", help="of every stream")
    parser.add_argument("--num-rx", type=int, default=16, help="receive antennas")
    parser.add_argument("--num-tx", type=int, default=16, help="streams")
    parser.add_argument(
        "--snr", type=float, nargs="+", default=[12, 13, 14, 15, 16], metavar="DB", help="SNRs to measure at"
    )
    parser.add_argument("--frames", type=int, default=20, help="code words per stream and SNR")
    parser.add_argument("--seed", type=int, default=1, help="of bits, channels and noise")
    parser.add_argument("--output", type=Path, help="where to write a picture (PNG)")
    options = parser.parse_args()
    if options.frames < 1:
        print("error: --frames has to be at least 1", file=sys.stderr)
        return 2
    title = f"{options.num_rx}x{options.num_tx}, i.i.d. Rayleigh, LDPC code of rate 1/2"
    print(f"{title}\n  {'SNR':>7}  {'detector':<20}  block error rate", flush=True)
    measurements: list[Measurement] = []
    try:
        constellation = constellation_named(options.constellation)
        for snr_db in options.snr:
            new = measure(
                ["lmmse", options.model],
                constellation,
                options.num_rx,
                options.num_tx,
                snr_db,
                options.frames,
                options.seed,
            )
            for m in new:
                low, high = m.block_errors.confidence_interval()
                count = f"[{low:.1e}, {high:.1e}]  {m.block_errors.errors} of {m.block_errors.bits} blocks"
                print(f"  {m.snr_db:4g} dB  {m.detector:<20}  {m.block_errors.rate:.2e}  {count}", flush=True)
            measurements += new
    except ValueError as error:  # an unknown model, an SNR out of range: the message says what was expected
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.output:
        import matplotlib.pyplot as plt  # noqa: PLC0415 - half a second that only a picture needs

        figure, axes = plt.subplots(figsize=(6, 4.5))
        plot(axes, title, measurements)
        figure.tight_layout()
        save_figure(figure, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
