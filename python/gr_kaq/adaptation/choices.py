# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sender chooses from, MCS and rank, and which is the best by what is known of the channel.

Two measures of the best are there: the greatest goodput of first transmissions of which few fail, and the greatest
goodput with repeats, however many fail. In the second, a block of B bytes that fails k times with probability P_k costs
1 + P_1 + P_2 + P_3 frames, and is lost with P_4:

    B (1 - P_4) / (1 + P_1 + P_2 + P_3)   bytes per frame

P_k is the product of the block error rates of one to k copies, each taken to add as much SNR as Chase combining does.
Incremental redundancy adds more; a block that fails so often is no good choice in either case.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..frames.frame_format import FrameFormat
from ..frames.frame_header import NUM_REDUNDANCY_VERSIONS
from ..frames.modulation_coding import MCS_TABLE, transport_block_bytes
from .block_error_curves import BlockErrorCurves, shipped_curves

__all__ = ["MAX_TRANSMISSIONS", "TARGET", "Choices"]

TARGET = 0.1
"""Share of first transmissions that may fail."""

MAX_TRANSMISSIONS = NUM_REDUNDANCY_VERSIONS
COPIES_DB = 10 * np.log10(np.arange(1, MAX_TRANSMISSIONS + 1))


class Choices:
    """MCS and ranks of a link.

    Args:
        frame_format: of the frames; its constellation does not matter.
        curves: of the receiver; None: those that ship.
        target: share of first transmissions that may fail, between 0 and 1.
        ranks: that may be chosen; None: all.

    Raises:
        ValueError: an argument is out of range.

    Attributes:
        curves, target: as given.
        num_ranks: antennas that send.
        block_bytes: of a transport block, (num_ranks, MCSs).
        most_robust, fastest: MCS and rank at the ends.
    """

    def __init__(
        self,
        frame_format: FrameFormat,
        curves: BlockErrorCurves | None = None,
        target: float = TARGET,
        ranks: Sequence[int] | None = None,
    ):
        if not 0 < target < 1:
            raise ValueError(f"target is {target}; between 0 and 1 expected")
        self.curves, self.target = curves or shipped_curves(), target
        self.num_ranks = frame_format.num_tx
        chosen = list(ranks or range(1, self.num_ranks + 1))
        if not set(chosen) <= set(range(1, self.num_ranks + 1)):
            raise ValueError(f"ranks is {ranks}; some of 1 to {self.num_ranks} expected")
        self.most_robust = 0, min(chosen)
        self.fastest = len(MCS_TABLE) - 1, max(chosen)
        self.block_bytes = np.array(
            [
                [transport_block_bytes(frame_format, mcs, rank) for mcs in range(len(MCS_TABLE))]
                for rank in range(1, self.num_ranks + 1)
            ]
        )
        self._allowed = np.isin(np.arange(1, self.num_ranks + 1), chosen)[:, None]

    def error_rate(self, snrs_db: ArrayLike, mcs: int, rank: int, deviations_db: ArrayLike = 0.0) -> float:
        """How often a first transmission fails at effective SNRs (num_ranks,) that are known so well."""
        return float(self.curves.block_error_rate(snrs_db, deviations_db)[rank - 1, mcs])

    def best(self, snrs_db: ArrayLike, target: float | None = None) -> tuple[int, int]:
        """MCS and rank with the greatest goodput of those whose error rate is at most the target; or the most robust.

        Args:
            snrs_db: effective SNRs of the ranks, (num_ranks,).
            target: None: the one that was given.
        """
        rates = self.curves.block_error_rate(snrs_db)
        few_fail = rates <= (target or self.target)
        return self._greatest(np.where(self._allowed & few_fail, self.block_bytes * (1 - rates), 0))

    def most_bytes(self, snrs_db: ArrayLike, deviations_db: ArrayLike = 0.0) -> tuple[int, int]:
        """MCS and rank with the most bytes per frame, repeats counted.

        Args:
            snrs_db, deviations_db: as for `bytes_per_frame`, (num_ranks,).
        """
        return self._greatest(self.bytes_per_frame(snrs_db, deviations_db))

    def bytes_per_frame(self, snrs_db: ArrayLike, deviations_db: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Bytes per frame, repeats counted; 0 where the rank may not be chosen.

        Args:
            snrs_db: effective SNRs of the ranks, (..., num_ranks).
            deviations_db: standard deviations of what is not known of them; they broadcast.

        Returns:
            Bytes, (..., num_ranks, MCSs).
        """
        copies = np.asarray(snrs_db, np.float64)[..., None] + COPIES_DB  # (..., ranks, copies)
        rates = self.curves.block_error_rate(copies, np.asarray(deviations_db, np.float64)[..., None])
        failing = np.cumprod(rates, axis=-2)
        frames = 1 + failing[..., :-1, :].sum(axis=-2)
        count: NDArray[np.float64] = np.where(self._allowed, self.block_bytes * (1 - failing[..., -1, :]) / frames, 0)
        return count

    def _greatest(self, goodputs: NDArray[np.float64]) -> tuple[int, int]:
        rank, mcs = np.unravel_index(int(goodputs.argmax()), goodputs.shape)
        return (int(mcs), int(rank) + 1) if goodputs[rank, mcs] > 0 else self.most_robust
