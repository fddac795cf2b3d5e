#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` runs: simulated and measured channels, BER tables, a picture of both; Ctrl-C keeps what is there."""

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl

import gr_kaq
from gr_kaq.commands.long_run import check_picture, exit_status
from link_comparison import Link, Sweep, as_json, plot_ber, plot_constellation, save_figure

mpl.use("Agg")
import matplotlib.pyplot as plt

MEASURED_DETECTORS = ("lmmse", "measured-3x2-16qam", "auto")
SIMULATED_DETECTORS = ("lmmse", "admm5-16qam", "auto")
MEASURED_SNRS_DB = (8, 12, 16, 20, 24)
SIMULATED_SNRS_DB = (10, 15, 18, 20, 22, 25)
SHOWN_SNR_DB = 22


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
    options.output.mkdir(parents=True, exist_ok=True)
    check_picture(options.output / "demo.png")
    limits = (options.target_errors, options.max_bits)
    simulated = Sweep(
        "i.i.d. Rayleigh 16x16, 16-QAM", Link(16, 16, "16qam", 64), SIMULATED_SNRS_DB, SIMULATED_DETECTORS, *limits
    )
    sweeps = {"simulated_channel": simulated}
    if not simulated.interrupted:
        measured_link = Link(3, 2, "16qam", 56, recording)
        sweeps["measured_channel"] = Sweep(
            "measured 3x2 channels, 16-QAM", measured_link, MEASURED_SNRS_DB, MEASURED_DETECTORS, *limits
        )
    results = {name: as_json(sweep.measurements) for name, sweep in sweeps.items()}
    (options.output / "demo.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    if simulated.measurements:
        plot(list(sweeps.values()), options.output / "demo.png")
    return exit_status(any(sweep.interrupted for sweep in sweeps.values()))


def plot(sweeps: list[Sweep], path: Path) -> None:
    """The curves, and the constellations of the first sweep where there is most to see."""
    shown = [m for m in sweeps[0].measurements if m.snr_db == SHOWN_SNR_DB] or sweeps[0].measurements
    by_name = {m.detector: m for m in shown}
    figure, axes = plt.subplots(1, 2 + len(sweeps), figsize=(18, 4.8), width_ratios=(*[1.3] * len(sweeps), 1, 1))
    for place, sweep in zip(axes, sweeps, strict=False):
        plot_ber(place, sweep.title, sweep.measurements)
    plot_constellation(axes[-2], by_name["lmmse"])
    plot_constellation(axes[-1], by_name["auto"])
    figure.tight_layout()
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
