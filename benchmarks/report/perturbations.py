# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the robustness table: estimation errors, and channels that were not trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .channels import alike_streams, unequal_powers
from .names import MEASURED_16QAM
from .settings import ROOT
from .simulate import iid, kronecker, recorded

__all__ = ["PERFECT", "Row", "rows"]

PERFECT = "perfect estimates"


@dataclass(frozen=True)
class Row:
    """One perturbation.

    Args:
        name: in tables and plots.
        group: rows that belong together.
        channel: see `simulate`.
        csi: the receiver's estimation errors, see `gr_kaq.links.simulated_link.CsiError`.
        own: a detector that was trained on this channel.
        grid: the row whose SNRs are taken, so that curves can be subtracted; default: this one.
        num_vectors: per channel.
        streams: the first and the one after the last stream whose bits count; None: all.
        highest_snr_db: where the search for LMMSE's SNRs ends.
    """

    name: str
    group: str
    channel: dict[str, Any]
    csi: dict[str, float] = field(default_factory=dict)
    own: str | None = None
    grid: str | None = None
    num_vectors: int = 4
    streams: tuple[int, int] | None = None
    highest_snr_db: int = 54

    @property
    def what(self) -> dict[str, Any]:
        """What all jobs of the row have in common."""
        keys: dict[str, Any] = {"channel": self.channel, "csi": self.csi}
        return keys if self.streams is None else {**keys, "streams": list(self.streams)}


def rows() -> list[Row]:
    """The perturbations; those whose recording is missing are left out."""
    square = iid(16, 16)
    found = [Row(PERFECT, "16x16, i.i.d.", square)]
    for bias in (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0):
        found.append(Row(f"SNR {bias:+g} dB", "16x16, i.i.d.", square, {"snr_bias_db": bias}, grid=PERFECT))
    for jitter in (1.0, 2.0, 3.0):
        csi = {"snr_jitter_db": jitter}
        found.append(Row(f"SNR jitter {jitter:g} dB", "16x16, i.i.d.", square, csi, grid=PERFECT))
    for error in (0.5, 1.0, 2.0):
        found.append(Row(f"channel error x{error:g}", "16x16, i.i.d.", square, {"channel": error}, grid=PERFECT))
    for correlation in (0.3, 0.5, 0.7, 0.9):
        found.append(Row(f"Kronecker {correlation:g}", "16x16, correlated", kronecker(16, 16, correlation)))
    for num_rx, num_tx in ((16, 4), (64, 16)):
        file = f"training/data/umi_{num_rx}x{num_tx}.npz"
        if (ROOT / file).exists():
            name, channel = f"UMi {num_rx}x{num_tx}", recorded(file, num_rx, num_tx, 8)
            found.append(Row(name, "3GPP UMi", channel, num_vectors=14))
            noisy = Row(f"{name}, channel error x1", "3GPP UMi", channel, {"channel": 1.0}, num_vectors=14)
            found.append(noisy)
    for size in (4, 8):
        found += _small(size)
    for num_rx, num_tx in ((4, 4), (8, 4)):
        file = f"training/data/cdl_d_{num_rx}x{num_tx}.npz"
        if (ROOT / file).exists():
            name, channel = f"CDL-D {num_rx}x{num_tx}", recorded(file, num_rx, num_tx, 4)
            found.append(Row(name, "line of sight", channel, num_vectors=14, highest_snr_db=66))
    found.append(Row("i.i.d. 3x2", "3x2", iid(3, 2), own=MEASURED_16QAM))
    measured = recorded("measured_csi_3x2", 3, 2, 56)
    found.append(Row("measured 3x2", "3x2", measured, own=MEASURED_16QAM))
    found.append(Row("measured 3x2, channel error x1", "3x2", measured, {"channel": 1.0}, own=MEASURED_16QAM))
    return found


def _small(size: int) -> list[Row]:
    """Unequal powers, correlation and nearly singular channels of as many antennas as streams."""
    name, group = f"{size}x{size}", f"{size}x{size}, hard channels"
    found = [Row(f"{name}, Kronecker 0.9", group, kronecker(size, size, 0.9), highest_snr_db=66)]
    for weaker in (10, 20, 30, 40):
        channel = unequal_powers(size, size, weaker)
        row = Row(
            f"{name}, 2 weak by {weaker} dB", group, channel, streams=(size - 2, size), highest_snr_db=54 + weaker
        )
        found.append(row)
    silent = unequal_powers(size, size, 60, num_weak=1)
    found.append(Row(f"{name}, beside a stream of -60 dB", group, silent, streams=(0, size - 1)))
    alike = alike_streams(size, size, 20)
    found.append(Row(f"{name}, 2 streams alike", group, alike, streams=(size - 2, size), highest_snr_db=66))
    return found
