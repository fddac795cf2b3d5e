#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` runs: measured and simulated channels, BER tables, and a picture of both."""

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl

import gr_kaq
from link_comparison import Link, as_json, plot_ber, plot_constellation, save_figure, sweep

mpl.use("Agg")
import matplotlib.pyplot as plt

MEASURED_DETECTORS = ("lmmse", "measured-3x2-16qam", "auto")
SIMULATED_DETECTORS = ("lmmse", "admm5-16qam", "auto")
MEASURED_SNRS_DB = (8, 12, 16, 20, 24)
SIMULATED_SNRS_DB = (10, 15, 18, 20, 22, 25)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for demo.png and demo.json")
    parser.add_argument("--target-errors", type=int, default=2000, help="bit errors to count per point")
    parser.add_argument("--max-bits", type=int, default=4_000_000, help="bits after which a point ends anyway")
    options = parser.parse_args()

    recording = {
        "channel": "recorded",
        "recording": gr_kaq.shipped_recording("measured_csi_3x2"),
        "items_per_estimate": 2,  # so that even the shortest run sees all 401 packets
    }
    measured_title, measured_link = "measured 3x2 channels, 16-QAM", Link(3, 2, "16qam", 56, recording)
    simulated_title, simulated_link = "i.i.d. Rayleigh 16x16, 16-QAM", Link(16, 16, "16qam", 64)
    limits = (options.target_errors, options.max_bits)
    measured = sweep(measured_title, measured_link, MEASURED_SNRS_DB, MEASURED_DETECTORS, *limits)
    simulated = sweep(simulated_title, simulated_link, SIMULATED_SNRS_DB, SIMULATED_DETECTORS, *limits)

    figure, axes = plt.subplots(1, 4, figsize=(18, 4.8), width_ratios=(1.3, 1.3, 1, 1))
    plot_ber(axes[0], simulated_title, simulated)
    plot_ber(axes[1], measured_title, measured)
    shown = {m.detector: m for m in simulated if m.snr_db == 22}
    plot_constellation(axes[2], shown["lmmse"])
    plot_constellation(axes[3], shown["auto"])
    figure.tight_layout()
    options.output.mkdir(parents=True, exist_ok=True)
    results = {"measured_channel": as_json(measured), "simulated_channel": as_json(simulated)}
    (options.output / "demo.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    save_figure(figure, options.output / "demo.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
