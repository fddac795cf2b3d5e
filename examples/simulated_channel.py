#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""LMMSE, an ADMM-Net in INT8 and auto side by side over a simulated channel (the same as simulated_channel.grc)."""

import sys

import gr_kaq
from link_comparison import Link, arguments, run


def detectors(constellation: str) -> list[str]:
    """LMMSE, the ADMM-Net if there is one, and auto."""
    return ["lmmse", *({f"admm5-{constellation}"} & set(gr_kaq.list_detectors())), "auto"]


def main() -> int:
    parser = arguments(__doc__ or "", (10, 15, 20, 25), ())
    parser.add_argument("--num-rx", type=int, default=16, help="receive antennas")
    parser.add_argument("--num-tx", type=int, default=16, help="transmitted streams")
    parser.add_argument("--constellation", default="16qam", help="of every stream")
    parser.add_argument("--num-subcarriers", type=int, default=64, help="length of an item")
    parser.add_argument("--items-per-estimate", type=int, default=14, help="items that share a channel")
    parser.add_argument("--correlation", type=float, default=0.0, help="of neighbouring antennas (Kronecker model)")
    parser.add_argument("--estimation-error-db", type=float, help="error of the channel estimates, relative to H")
    parser.add_argument("--snr-error-db", type=float, default=0.0, help="error of the SNR estimates")
    options = parser.parse_args()
    options.detectors = options.detectors or detectors(options.constellation)
    channel = {
        "channel": "kronecker" if options.correlation else "iid",
        "rx_correlation": options.correlation,
        "tx_correlation": options.correlation,
        "items_per_estimate": options.items_per_estimate,
        "estimation_error_db": options.estimation_error_db,
        "snr_error_db": options.snr_error_db,
    }
    link = Link(
        options.num_rx, options.num_tx, options.constellation, options.num_subcarriers, channel, seed=options.seed
    )
    return run(f"{options.num_rx}x{options.num_tx} {options.constellation}, simulated channel", link, options)


if __name__ == "__main__":
    sys.exit(main())
