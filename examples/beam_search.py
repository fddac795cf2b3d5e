#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user in front of an array: the beam is found, frames are decoded that were lost before, and it follows the user."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from gnuradio import blocks, gr

import gr_kaq

CONSTELLATION = "qpsk"


class Link(gr.top_block):
    """Transmitter, channel with an array in front, receiver, beam search."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        super().__init__("beam search")
        content = folder / "sent"
        content.write_bytes(bytes(1000))
        source = gr_kaq.pdu_file_source(content, 1, constellation=CONSTELLATION)
        transmitter = gr_kaq.frame_transmitter(1, constellation=CONSTELLATION)
        self.channel = gr_kaq.channel_simulator(
            1,
            2,
            channel="tdl-d",
            snr_db=options.snr,
            seed=options.seed,
            array={
                "size": options.array,
                "angles_deg": options.angles,
                "speed_deg": (options.speed, 0.0),
                "beam": (0, 0),
            },
        )
        self.receiver = gr_kaq.mimo_receiver(2, 1, constellation=CONSTELLATION)
        self.search = gr_kaq.beam_search(
            options.array, options.policy, options.budget, tracking=True, hold=options.hold, seed=options.seed
        )
        throttle = blocks.throttle(gr.sizeof_gr_complex, options.rate)
        self.msg_connect(transmitter, "ready", source, "ready")
        self.msg_connect(source, "pdus", transmitter, "pdus")
        self.connect(transmitter, throttle, self.channel)
        for antenna in range(2):
            self.connect((self.channel, antenna), (self.receiver, antenna))
        self.connect((self.channel, 0), self.search)
        frame = gr.sizeof_gr_complex * self.receiver.frame_format.data_per_stream
        self.connect(self.receiver, blocks.null_sink(frame))
        self.msg_connect(self.receiver, "frames", self.search, "frames")
        self.msg_connect(self.search, "beam", self.channel, "beam")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--array", type=int, nargs=2, default=(8, 8), help="elements on each axis")
    parser.add_argument("--angles", type=float, nargs=2, default=(23.0, -31.0), help="of the user, in degrees")
    parser.add_argument("--speed", type=float, default=5.0, help="in degrees per second of the signal")
    parser.add_argument("--snr", type=float, default=20.0, help="of a beam that points at the user")
    parser.add_argument("--policy", default="parametric", help="see kaq beams --help")
    parser.add_argument("--budget", type=int, default=64, help="frames of a search")
    parser.add_argument("--hold", type=int, default=13, help="frames between two rounds of tracking")
    parser.add_argument("--rate", type=float, default=5e5, help="samples per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of channel, noise and policy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        link = Link(options, Path(folder))
        link.start()
        frames = errors = 0
        for second in range(max(round(2 * options.seconds), 1)):
            time.sleep(0.5)
            decoder = link.receiver.stats()["decoder"]
            new, wrong = decoder["frames"] - frames, decoder["block_errors"] - errors
            frames, errors = decoder["frames"], decoder["block_errors"]
            state = "searching" if link.search.searching() else "following"
            beam = link.channel.beam()
            print(
                f"{(second + 1) / 2:5.1f} s  {state}, beam ({beam.first}, {beam.second}): {new - wrong} decoded, "
                f"{wrong} lost; {link.search.searches()} searches, {link.search.missing_frames()} pilots unheard",
                flush=True,
            )
        link.stop()
        link.wait()
    return 0 if frames > errors else 1


if __name__ == "__main__":
    sys.exit(main())
