# SPDX-License-Identifier: GPL-3.0-or-later
"""The antenna counts that a trained detector takes."""

from __future__ import annotations

__all__ = ["AntennaCounts"]


class AntennaCounts:
    """What the models of all networks have: the counts that they accept, and the check of them.

    Attributes:
        name: of the model.
        max_num_rx, max_num_tx: most receive antennas and streams.
        min_rx_per_tx: least number of receive antennas for each stream.
    """

    name: str
    max_num_rx: int
    max_num_tx: int
    min_rx_per_tx: float

    def check_size(self, num_rx: int, num_tx: int) -> None:
        """Raise ValueError unless the detector accepts this number of antennas."""
        if num_rx < 1 or num_tx < 1 or num_rx > self.max_num_rx or num_tx > self.max_num_tx:
            raise ValueError(
                f"detector {self.name} takes 1 to {self.max_num_rx} receive and 1 to {self.max_num_tx} transmit "
                f"antennas; got num_rx={num_rx}, num_tx={num_tx}"
            )
        if num_rx < self.min_rx_per_tx * num_tx:
            raise ValueError(
                f"detector {self.name} needs num_rx >= {self.min_rx_per_tx:g} * num_tx; "
                f"got num_rx={num_rx}, num_tx={num_tx}"
            )
