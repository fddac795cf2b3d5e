#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""BER of a shipped detector when the state of its layers had fewer than 16 bits.

The NumPy reference rounds every saturating sum (x - z, s, s + u, u, v, x) to a coarser unit and a narrower range:
what x, z, u and v of that width would hold, in a range of +-8, +-16 or +-64 half distances. The same transmissions
for every width. i.i.d. Rayleigh, 16-QAM: PYTHONPATH=build/test_modules /usr/bin/python3 benchmarks/state_width.py
"""

from __future__ import annotations

import argparse
import sys

import gr_kaq
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.detection import integer_reference as reference
from gr_kaq.detection.quantization import HALF_DISTANCE
from gr_kaq.links.simulated_link import Link, detect
from gr_kaq.signals.bit_errors import BitErrorRate

FORMATS = ((16, 64), (14, 16), (12, 16), (12, 8), (10, 16), (10, 8), (9, 8), (8, 8))
"""Bits, and the range in half distances."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="admm5-16qam", help="default %(default)s")
    parser.add_argument("--num-rx", type=int, default=16, help="default %(default)s")
    parser.add_argument("--num-tx", type=int, default=16, help="default %(default)s")
    parser.add_argument("--snr", type=float, nargs="+", default=[15.0, 20.0, 25.0], help="dB (default 15 20 25)")
    parser.add_argument(
        "--channels", type=int, default=2000, help="for each SNR, 14 vectors each (default %(default)s)"
    )
    options = parser.parse_args()

    detector = gr_kaq.load_detector(options.detector, backend="reference")
    constellation = detector.constellation
    print(f"{options.detector}, {options.num_rx}x{options.num_tx}; BER [95 % interval] (bit errors)")
    saturate = reference.saturate
    for snr_db in options.snr:
        channels = RayleighChannels(options.num_rx, options.num_tx, 1, seed=1)
        sent = Link(channels, constellation, snr_db, num_vectors=14, seed=1).draw(options.channels)
        for bits, limit in FORMATS:
            unit = 2 * limit * HALF_DISTANCE >> bits
            largest = limit * HALF_DISTANCE - unit

            def narrow(x, unit=unit, largest=largest):
                return ((saturate(x) + unit // 2) // unit * unit).clip(-largest - unit, largest)

            reference.saturate = narrow if unit > 1 else saturate
            try:
                decided = constellation.decide(detect(detector, sent).symbols)
            finally:
                reference.saturate = saturate
            ber = BitErrorRate(int((decided != sent.bits).sum()), sent.bits.size)
            print(f"  {snr_db:4.0f} dB  int{bits:<2}  +-{limit:<2} half distances  {ber}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
