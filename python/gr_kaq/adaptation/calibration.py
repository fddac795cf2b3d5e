# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the block error curves of a receiver: frames on many channels at many SNRs, decoded at every MCS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..frames.frame_format import FrameFormat
from ..frames.modulation_coding import MCS_TABLE
from .block_error_curves import fit_curve
from .mutual_information import effective_snr
from .simulation import Scenario, SimulatedLink

__all__ = ["calibrate"]

SNRS_DB = -5.0, 35.0
LEAST, MOST = 0.2, 0.97  # mutual information of frames whose effective SNR is known well
BELOW_DB, ABOVE_DB = 2.0, 9.0  # of the SNR at which the code's rate is the capacity: where blocks are decoded at all


def calibrate(
    frame_format: FrameFormat,
    num_rx: int,
    detector: str = "auto",
    *,
    num_frames: int,
    seed: int,
    progress: Callable[[], object] | None = None,
) -> list[dict[str, Any]]:
    """Curves, one for each MCS: `mcs`, `threshold_db`, `width_db`, `frames`, `errors`, `llr_bias_db`.

    The bias is by how much the LLRs of frames overestimate their effective SNR, against what the bits that were sent
    say: the mean over the frames.

    Each frame has a channel of its own, TDL-A with 100 ns at 10 Hz, and a mean SNR between -5 and 35 dB; it is decoded
    at every rank. Frames whose effective SNR is far from where an MCS begins to work are left out.

    Args:
        frame_format: of the frames.
        num_rx: antennas of the receiver.
        detector: of the receiver.
        num_frames: channels.
        seed: of all.
        progress: called after each frame.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[list[float], list[bool]]] = [([], []) for _ in MCS_TABLE]
    biases: list[list[float]] = [[] for _ in MCS_TABLE]
    begins = [float(effective_snr(mcs.constellation, mcs.rate)) for mcs in MCS_TABLE]
    link: SimulatedLink | None = None
    for number in range(num_frames):
        scenario = Scenario(frame_format, num_rx, float(rng.uniform(*SNRS_DB)), detector=detector)
        link = SimulatedLink(scenario, seed + number, link.receiver if link else None)
        frame = link.frame(0)
        for rank, snr_db in enumerate(frame.snrs_db.tolist(), 1):
            for mcs, begin in enumerate(begins):
                if begin - BELOW_DB < snr_db < begin + ABOVE_DB:
                    found[mcs][0].append(snr_db)
                    found[mcs][1].append(not frame.decodes(mcs, rank))
                    believed, true = frame.information(mcs, rank)
                    if LEAST < true < MOST:
                        snrs_db = effective_snr(MCS_TABLE[mcs].constellation, [believed, true])
                        biases[mcs].append(float(snrs_db[0] - snrs_db[1]))
        if progress:
            progress()
    return [
        {"mcs": str(mcs), **fit_curve(*pairs), "llr_bias_db": float(np.mean(bias)) if bias else 0.0}
        for mcs, pairs, bias in zip(MCS_TABLE, found, biases, strict=True)
    ]
