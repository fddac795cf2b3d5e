#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over a fading channel, with modulation, code rate and rank that follow it frame by frame.

file -> arq_sender -> frame_transmitter -> channel_simulator -> frame_synchronizer -> FFT -> channel_estimator
    -> link_decoder -> arq_receiver -> file
link_decoder -> reports -> arq_receiver -> acknowledgements -> arq_sender -> link_adapter -> MCS and rank -> arq_sender

All in one process, so that acknowledgements are not lost. docs/guide/link.md says more.
"""

import argparse
import sys
import time
from pathlib import Path

from gnuradio import blocks, fft, gr

import gr_kaq
from gr_kaq import radios
from gr_kaq.adaptation.policies import POLICIES
from gr_kaq.blocks.channel_simulator import RADIO_CHANNELS
from gr_kaq.frames.modulation_coding import MCS_TABLE

DELAY = 20  # frames until a report takes effect, about
BUFFER = 4096  # samples that wait between transmitter and channel: what waits there is old when it is sent


class AdaptiveLink(gr.top_block):
    """The flowgraph."""

    def __init__(self, options: argparse.Namespace):
        super().__init__("KAQ adaptive link")
        num_tx, num_rx = options.num_tx, options.num_rx
        self.transmitter = gr_kaq.frame_transmitter(num_tx, 64, "", idle="zeros")
        self.transmitter.set_max_output_buffer(BUFFER)
        self.channel = gr_kaq.channel_simulator(
            num_tx,
            num_rx,
            channel=options.profile,
            sample_rate=options.rate,
            doppler=options.doppler,
            snr_db=options.snr_db,
            seed=options.seed,
        )
        synchronizer = gr_kaq.frame_synchronizer(num_rx, num_tx)
        estimator = gr_kaq.channel_estimator(num_rx, num_tx)
        self.decoder = gr_kaq.link_decoder(num_rx, num_tx, detector=options.detector, horizon=options.horizon)
        for stream in range(num_tx):
            throttle = blocks.throttle(gr.sizeof_gr_complex, options.rate)
            self.connect((self.transmitter, stream), throttle, (self.channel, stream))
        for antenna in range(num_rx):
            transform = fft.fft_vcc(64, True, [1 / 8] * 64, True)
            self.connect((self.channel, antenna), (synchronizer, antenna), transform, (estimator, antenna))
            self.connect((estimator, antenna), (self.decoder, antenna))

        self.sender, self.receiver = gr_kaq.arq_sender(num_tx), gr_kaq.arq_receiver()
        self.adapter = gr_kaq.link_adapter(num_tx, policy=options.policy, delay=max(0, DELAY - options.horizon))
        source = gr_kaq.pdu_file_source(options.file, num_tx)
        self.file = gr_kaq.pdu_file_sink(options.output)
        for sends, port, receives, its_port in (
            (self.sender, "ready", source, "ready"),
            (source, "pdus", self.sender, "pdus"),
            (self.sender, "blocks", self.transmitter, "pdus"),
            (self.transmitter, "ready", self.sender, "ready"),
            (self.decoder, "pdus", self.receiver, "blocks"),
            (self.decoder, "report", self.receiver, "report"),
            (self.receiver, "acks", self.sender, "acks"),
            (self.sender, "report", self.adapter, "report"),
            (self.sender, "outcomes", self.adapter, "outcomes"),
            (self.adapter, "mcs", self.sender, "mcs"),
            (self.receiver, "pdus", self.file, "pdus"),
        ):
            self.msg_connect(sends, port, receives, its_port)

    def status(self) -> str:
        """Where it stands."""
        snrs = " ".join(f"{snr:.1f}" for snr in self.decoder.effective_snrs_db())
        return (
            f"{MCS_TABLE[self.adapter.mcs()]} x{self.adapter.rank()}, effective SNR {snrs or '-'} dB, "
            f"first errors {self.adapter.first_error_rate():.3f}, offset {self.adapter.offset_db():.1f} dB, "
            f"{self.decoder.frames()} frames, {self.decoder.repeats()} repeats, "
            f"file {self.file.progress()[0]}/{self.file.progress()[1]}"
        )


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("file", type=Path, help="to send")
    add("output", type=Path, help="where it goes")
    add("--policy", choices=list(POLICIES), default="both", help="of the link_adapter (default: %(default)s)")
    add("--detector", default="auto", help="auto, auto-fast, lmmse or zf (default: %(default)s)")
    add("--num-tx", type=int, default=2, help="antennas that send (default: %(default)s)")
    add("--num-rx", type=int, default=2, help="antennas that receive (default: %(default)s)")
    add("--rate", type=float, default=5e5, help="samples per second (default: %(default)g)")
    add("--profile", choices=list(RADIO_CHANNELS), default="tdl-a", help="of 3GPP TR 38.901 (default: %(default)s)")
    add("--doppler", type=float, default=2.0, help="largest Doppler shift in Hz (default: %(default)g)")
    add("--snr-db", type=float, default=18.0, help="signal over noise power per antenna (default: %(default)g)")
    add("--horizon", type=int, default=0, help="frames that reports look ahead (default: %(default)s)")
    add("--timeout", type=float, default=600.0, help="seconds after which to give up (default: %(default)g)")
    add("--seed", type=int, default=0, help="of channel and noise (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Send the file; the exit status is 0 if it has arrived."""
    options = parse_options()
    link, began = AdaptiveLink(options), time.monotonic()

    def say(_: int) -> None:
        print(f"{time.monotonic() - began:.1f} s, {link.status()}", flush=True)

    try:
        radios.run(
            link,
            lambda: 1,
            lambda _: link.file.complete() or time.monotonic() - began > options.timeout,
            report=say,
            timeout=options.timeout + 10,
        )
    except KeyboardInterrupt:
        print("interrupted")
    say(0)
    return 0 if link.file.complete() else 1


if __name__ == "__main__":
    sys.exit(main())
