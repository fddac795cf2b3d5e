# SPDX-License-Identifier: GPL-3.0-or-later
"""How rarely a receiver may look at training: the others' channels are forecast, their phase and timing from pilots.

    PYTHONPATH=build/test_modules /usr/bin/python3 examples/rare_estimates.py

    file -> frame_transmitter -> channel_simulator -> mimo_receiver, which estimates one frame of so many

Two streams of 16-QAM reach two antennas over a fading channel, with offsets of carrier and clock that nobody knows.
Each line has how many frames were found, of how many the channel was forecast, and how many blocks were wrong. In the
first line every frame is estimated.
"""

import argparse
import random
import tempfile
from pathlib import Path

from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.frames.payload import max_payload


def receive(options, payload, every):
    """The counters of a receiver that estimates one frame of so many."""
    top = gr.top_block()
    source = gr_kaq.pdu_file_source(payload, num_tx=2, repeats=1)
    transmitter = gr_kaq.frame_transmitter(num_tx=2)
    channel = gr_kaq.channel_simulator(
        *(2, 2),
        channel="tdl-a",
        delay_spread=100e-9,
        doppler=options.doppler,
        snr_db=options.snr,
        carrier_offset=5e3,
        clock_offset_ppm=20.0,
        seed=options.seed,
    )
    receiver = gr_kaq.mimo_receiver(2, 2, estimator="lmmse-memory", estimate_every=every)
    top.msg_connect(transmitter, "ready", source, "ready")
    top.msg_connect(source, "pdus", transmitter, "pdus")
    for stream in range(2):
        top.connect((transmitter, stream), (channel, stream), (receiver, stream))
        sink = blocks.null_sink(gr.sizeof_gr_complex * receiver.frame_format.data_per_stream)
        top.connect((receiver, stream), sink)
    top.run()
    return receiver.stats()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 4, 8], help="frames of which one is estimated")
    parser.add_argument("--doppler", type=float, default=50.0, help="Hz")
    parser.add_argument("--snr", type=float, default=20.0, metavar="DB")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder) / "payload"
        size = max_payload(gr_kaq.mimo_receiver(2, 2).frame_format) - 16  # a chunk's header
        payload.write_bytes(random.Random(options.seed).randbytes(options.frames * size))
        for every in options.every:
            stats = receive(options, payload, every)
            print(
                f"1 frame of {every} estimated: {stats['decoder']['frames']} found, "
                f"{stats['estimator']['forecast_frames']} forecast, {stats['decoder']['block_errors']} blocks wrong",
                flush=True,
            )


if __name__ == "__main__":
    main()
