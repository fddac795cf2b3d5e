#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sweep a jammer over the power while a receiver runs: what messages to `channel_simulator` are for.

    PYTHONPATH=build/test_modules /usr/bin/python3 examples/interference_sweep.py

Frames of two streams go through a fading channel to two antennas, and noise on 4 of 52 carriers is made louder by
messages, in steps. Each line has the power (0 dB is an active carrier of one stream), the density within the band, and
how many blocks arrived. Some are on their way between two steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pmt
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.channels.interference import Interferer

RATE = 2e6
SPACING = RATE / 64
BAND = (8.5 * SPACING, 12.5 * SPACING)


class Sweep(gr.top_block):
    """The flowgraph."""

    def __init__(self, estimator: str, payload: Path):
        super().__init__("interference sweep")
        source = gr_kaq.pdu_file_source(payload, num_tx=2, repeats=0)
        self.transmitter = transmitter = gr_kaq.frame_transmitter(num_tx=2)
        self.channel = gr_kaq.channel_simulator(
            2, 2, channel="tdl-a", sample_rate=RATE, delay_spread=100e-9, doppler=200.0, snr_db=25.0
        )
        self.receiver = gr_kaq.mimo_receiver(num_rx=2, num_tx=2, estimator=estimator)
        self.msg_connect(transmitter, "ready", source, "ready")
        self.msg_connect(source, "pdus", transmitter, "pdus")
        size = self.receiver.frame_format.data_per_stream
        for stream in range(2):
            self.connect((transmitter, stream), (self.channel, stream), (self.receiver, stream))
            self.connect((self.receiver, stream), blocks.null_sink(gr.sizeof_gr_complex * size))

    def counts(self) -> tuple[int, int]:
        """Frames sent, and decoded rightly, so far."""
        decoder = self.receiver.stats()["decoder"]
        return self.transmitter.frames(), decoder["frames"] - decoder["block_errors"]

    def interfere(self, **entries: object) -> None:
        """Send a message to the channel; wait until it is there."""
        before = self.channel.interference()
        self.channel._post(pmt.intern("interference"), python_to_pmt(entries))
        while self.channel.interference() == before:
            time.sleep(1e-3)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--estimator", default="lmmse")
    parser.add_argument("--powers", type=float, nargs="+", default=[-30, -24, -18, -12, -6, 0], metavar="DB")
    parser.add_argument("--frames", type=int, default=300, help="at each power")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder) / "payload"
        payload.write_bytes(bytes(range(256)) * 400)
        sweep = Sweep(options.estimator, payload)
        sweep.start()
        try:
            for power_db in options.powers:
                sweep.interfere(band=BAND, power_db=power_db)
                before = sweep.counts()
                while (now := sweep.counts())[0] < before[0] + options.frames:
                    time.sleep(0.01)
                density = Interferer(BAND, power_db).density_db(RATE)
                sent, right = now[0] - before[0], now[1] - before[1]
                print(
                    f"{power_db:6.1f} dB, {density:6.1f} dB in the band: {right} of {sent} blocks arrived", flush=True
                )
        finally:
            sweep.stop()
            sweep.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
