# SPDX-License-Identifier: GPL-3.0-or-later
"""What is odd about recorded channels, as CSI tools and network cards give them, and which part is sound.

Network cards pad: with tones of a wider channel, with streams that were not sent. Some leave constants, NaN or what was
in the memory on carriers without a signal. A detector takes all of that for a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RecordingReport", "check_recording", "ranges"]

LOUD_CARRIER_DB, LOUD_ENTRY_DB = 15.0, 30.0
"""Above the median of a packet: what no channel does to a carrier in most packets, or to one entry."""

FEWEST_CONSTANT = 3  # packets in which a measured value does not come again to the digit


@dataclass(frozen=True, eq=False)
class RecordingReport:
    """What is odd about a recording, and what is left without it.

    Attributes:
        findings: a sentence each; empty: nothing is odd.
        packets, carriers, rx, tx: which are sound, as masks.
    """

    findings: Sequence[str]
    packets: NDArray[np.bool_]
    carriers: NDArray[np.bool_]
    rx: NDArray[np.bool_]
    tx: NDArray[np.bool_]

    def cut(self, h: NDArray) -> NDArray:
        """The sound part of the recording."""
        return h[np.ix_(self.packets, self.carriers, self.rx, self.tx)]


def check_recording(h: NDArray[np.complexfloating]) -> RecordingReport:
    """Look at recorded channels.

    Args:
        h: complex (packets, carriers, num_rx, num_tx), as recorded: of any scale, and with NaN and zeros in it.
    """
    findings: list[str] = []
    finite = np.isfinite(h)
    packets, carriers = np.ones(h.shape[0], bool), np.ones(h.shape[1], bool)
    with np.errstate(all="ignore"):
        power = np.where(finite, np.abs(h), 0.0)
        power = (power / (power.max() or 1.0)) ** 2  # of no number is the square beyond double precision

    def drop(mask: NDArray[np.bool_], found: NDArray[np.bool_], what: str, text: str) -> None:
        new = mask & found
        if new.any():
            mask &= ~found
            findings.append(f"{what} {ranges(np.flatnonzero(new))}: {text}")

    per_carrier = ~finite.all(axis=(2, 3))
    drop(carriers, per_carrier.mean(axis=0) > 0.5, "carriers", "NaN or Inf in most packets")
    drop(packets, per_carrier[:, carriers].any(axis=1), "packets", "NaN or Inf")
    drop(packets, ~power[:, carriers].any(axis=(1, 2, 3)), "packets", "zeros only")

    # the size that most packets have; what is zero in others is padding
    used = [power.any(axis=axes) for axes in ((2, 3), (1, 3), (1, 2))]
    used[0] = used[0] & carriers
    sizes = np.concatenate(used, axis=1)
    rx, tx = np.ones(h.shape[2], bool), np.ones(h.shape[3], bool)
    if packets.any():
        kinds, kind_of, counts = np.unique(sizes[packets], axis=0, return_inverse=True, return_counts=True)
        usual = kinds[np.argmax(counts)]
        bounds = np.cumsum([h.shape[1], h.shape[2]])
        usual_carriers, rx, tx = np.split(usual, bounds)
        others = np.zeros(len(packets), bool)
        others[np.flatnonzero(packets)] = kind_of.ravel() != np.argmax(counts)
        if others.any():
            example = sizes[np.flatnonzero(others)[0]]
            size, other = ("x".join(str(part.sum()) for part in np.split(each, bounds)) for each in (usual, example))
            drop(
                packets, others, "packets", f"another size, such as {other} (carriers x rx x tx) where most have {size}"
            )
        drop(carriers, ~usual_carriers, "carriers", "zeros in every packet (padding, or carriers without a signal)")
        for mask, name in ((rx, "receive antennas"), (tx, "streams")):
            if not mask.all():
                findings.append(f"{name} {ranges(np.flatnonzero(~mask))}: zeros in every packet (padding)")

    sound = h[np.ix_(packets, carriers, rx, tx)]
    if len(sound) >= FEWEST_CONSTANT and sound.size:
        constant = np.zeros(len(carriers), bool)
        constant[carriers] = (sound == sound[0]).all(axis=(0, 2, 3))
        drop(carriers, constant, "carriers", "the same values in every packet, which were not measured")

    level = power[np.ix_(packets, carriers, rx, tx)]
    if level.size:
        median = np.median(level, axis=(1, 2, 3), keepdims=True)
        with np.errstate(all="ignore"):
            relative_db = 10 * np.log10(level / np.where(median > 0, median, 1.0))
        loud = np.zeros(len(carriers), bool)
        loud[carriers] = np.median(relative_db.max(axis=(2, 3)), axis=0) > LOUD_CARRIER_DB
        keep = ~loud[carriers]
        drop(carriers, loud, "carriers", f"more than {LOUD_CARRIER_DB:g} dB above the others in most packets")
        spiky = np.zeros(len(packets), bool)
        if keep.any():
            spiky[packets] = relative_db[:, keep].max(axis=(1, 2, 3)) > LOUD_ENTRY_DB
        drop(packets, spiky, "packets", f"a value more than {LOUD_ENTRY_DB:g} dB above the others")
    return RecordingReport(findings, packets, carriers, rx, tx)


def ranges(numbers: Sequence[int] | NDArray[np.integer], limit: int = 12) -> str:
    """``"0-3, 7, 9-11"``; of many ranges the first ones, and how many numbers there are."""
    parts: list[list[int]] = []
    for number in map(int, numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts[:limit])
    return text if len(parts) <= limit else f"{text}, ... ({len(numbers)} of them)"
