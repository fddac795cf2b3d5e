# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the line-of-sight channels of training/data with Sionna: python -m benchmarks.report.line_of_sight.

Clustered delay line D of 3GPP TR 38.901, table 7.7.1-4: one line of sight, 13.3 dB stronger than any other path, so
that the streams are hard to tell apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .peers import sionna_module
from .settings import ROOT

__all__ = ["cdl_d", "main"]

CARRIER_FREQUENCY = 3.5e9
DELAY_SPREAD = 30e-9
SUBCARRIER_DISTANCE = 270e3
NUM_SUBCARRIERS = 4
DROPS = 256
PANELS = {4: (1, 2), 8: (2, 2)}
"""Rows and columns of dual-polarized elements, by the antennas of a side."""
SIZES = ((4, 4), (8, 4))
"""num_rx, num_tx. With eight streams, all but the first four are lost in any noise."""


def cdl_d(num_rx: int, num_tx: int, seed: int) -> NDArray[np.complex64]:
    """Uplink channels from one panel to another.

    Args:
        num_rx, num_tx: antennas of the base station and of the terminal, 4 or 8.
        seed: of the rays' phases and of how they are paired.

    Returns:
        h (DROPS, NUM_SUBCARRIERS, num_rx, num_tx), with mean |h|^2 = 1.

    Raises:
        PeersUnavailableError: Sionna is not installed.
    """
    models, channel = sionna_module("channel.tr38901"), sionna_module("channel")
    sionna_module("config").config.seed = seed
    terminal, base = [
        models.PanelArray(
            num_rows_per_panel=PANELS[count][0],
            num_cols_per_panel=PANELS[count][1],
            polarization="dual",
            polarization_type="cross",
            antenna_pattern=pattern,
            carrier_frequency=CARRIER_FREQUENCY,
            device="cpu",
        )
        for count, pattern in ((num_tx, "omni"), (num_rx, "38.901"))
    ]
    model = models.CDL("D", DELAY_SPREAD, CARRIER_FREQUENCY, terminal, base, "uplink", device="cpu")
    gains, delays = model(DROPS, 1, 1.0)  # at one time
    frequencies = SUBCARRIER_DISTANCE * channel.subcarrier_frequencies(NUM_SUBCARRIERS, 1.0, device="cpu")
    response = channel.cir_to_ofdm_channel(frequencies, gains, delays).numpy()
    h = response[:, 0, :, 0, :, 0].transpose(0, 3, 1, 2)  # (drop, rx, tx, subcarrier) to (drop, subcarrier, rx, tx)
    return (h / np.sqrt(np.mean(np.abs(h) ** 2))).astype(np.complex64)


def main() -> None:
    """Write cdl_d_4x4.npz and cdl_d_8x4.npz."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "training" / "data", help="folder (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for num_rx, num_tx in SIZES:
        h = cdl_d(num_rx, num_tx, options.seed)
        path = options.output / f"cdl_d_{num_rx}x{num_tx}.npz"
        np.savez_compressed(path, h=np.stack([h.real, h.imag], axis=-1).astype(np.float16))
        print(f"wrote {path}: {h.shape}")


if __name__ == "__main__":
    main()
