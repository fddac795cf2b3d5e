#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""KAQ INT8, full precision and LMMSE side by side over measured 3x2 channels (the same as measured_channel.grc)."""

import sys

import gr_kaq
from link_comparison import Link, arguments, run


def main() -> int:
    parser = arguments(__doc__ or "", (8, 12, 16, 20, 24), ())
    parser.add_argument("--constellation", default="16qam", choices=("qpsk", "16qam"), help="of both streams")
    parser.add_argument("--num-subcarriers", type=int, default=56, help="length of an item, at most 56")
    parser.add_argument("--recording", default=gr_kaq.shipped_recording("measured_csi_3x2"), help="recorded channels")
    options = parser.parse_args()
    name = f"measured-3x2-{options.constellation}"
    options.detectors = options.detectors or ["lmmse", f"{name}-fp", name]
    channel = {"channel": "recorded", "recording": str(options.recording), "items_per_estimate": 2}
    link = Link(3, 2, options.constellation, options.num_subcarriers, channel, seed=options.seed)
    return run(f"3x2 {options.constellation}, measured channel", link, options)


if __name__ == "__main__":
    sys.exit(main())
