# SPDX-License-Identifier: GPL-3.0-or-later
"""Which detector to take for a size, a constellation and the speed asked for: the table behind `auto`.

docs/guide/detectors.md shows the same table with what was measured. Change both together.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ELSEWHERE", "PURPOSES", "RULES", "Choice", "Rule", "choose"]

MAX_NUM_RX, MAX_NUM_TX = 64, 16
"""The largest size that the trained detectors for every size take; they also need num_rx >= num_tx."""


@dataclass(frozen=True)
class Rule:
    """A row of the table.

    Args:
        constellation: name of what every stream carries.
        min_num_tx, max_num_tx: numbers of streams that it is for.
        detector: what to take.
        reason: why.
        min_rx_per_tx: least number of receive antennas for each stream.
    """

    constellation: str
    min_num_tx: int
    max_num_tx: int
    detector: str
    reason: str
    min_rx_per_tx: float = 1.0

    def fits(self, constellation: str, num_rx: int, num_tx: int) -> bool:
        """Whether the rule is for this constellation and size."""
        return (
            constellation == self.constellation
            and self.min_num_tx <= num_tx <= self.max_num_tx
            and self.min_rx_per_tx * num_tx <= num_rx <= MAX_NUM_RX
        )


@dataclass(frozen=True)
class Choice:
    """A detector for one size.

    Attributes:
        detector: its name.
        reason: why it was chosen.
    """

    detector: str
    reason: str


_NEAREST = "the lowest error rate of those that take this size"
_EXACT = "up to 2 streams, 16 paths are all that matter: exact maximum likelihood"
_TALL = "with 4 antennas for each stream, 8 paths are as good as 16, and faster"
_FAST = "8 paths are fast up to 8 streams, and near maximum likelihood"
_FASTER = "faster than a list detector with so many streams"
_ONLY = "the only trained detector for this constellation"

PURPOSES = {"auto": "the lowest error rate", "auto-fast": "speed first"}
"""What those that choose choose by, by their names."""
RULES: dict[str, tuple[Rule, ...]] = {
    "auto": (
        Rule("qpsk", 1, 16, "list8-qpsk", _NEAREST),
        Rule("16qam", 1, 2, "list16-16qam", _EXACT),
        Rule("16qam", 3, 16, "list8-16qam", _TALL, 4.0),
        Rule("16qam", 3, 16, "list16-16qam", _NEAREST),
        Rule("64qam", 1, 16, "list8-64qam", _TALL, 4.0),
        Rule("64qam", 1, 16, "list16-64qam", _NEAREST),
        Rule("256qam", 1, 16, "list16-256qam", _ONLY),
    ),
    "auto-fast": (
        Rule("qpsk", 1, 8, "list8-qpsk", _FAST),
        Rule("qpsk", 9, 16, "admm5-qpsk", _FASTER),
        Rule("16qam", 1, 8, "list8-16qam", _FAST),
        Rule("16qam", 9, 16, "admm5-16qam", _FASTER),
        Rule("64qam", 1, 8, "list8-64qam", _FAST),
        Rule("64qam", 9, 16, "admm5-64qam", _FASTER),
        Rule("256qam", 1, 16, "list16-256qam", _ONLY),
    ),
}
"""The rows, by the name of the detector that chooses; the first that fits counts."""
ELSEWHERE = Choice(
    "lmmse",
    f"trained detectors take num_tx <= num_rx, up to {MAX_NUM_RX} receive antennas and {MAX_NUM_TX} streams",
)
"""Where no row fits."""


def choose(name: str, constellation: str, num_rx: int, num_tx: int) -> Choice:
    """The detector for a size.

    Args:
        name: of the detector that chooses, one of `RULES`.
        constellation: name of what every stream carries.
        num_rx, num_tx: antennas and streams.

    Raises:
        ValueError: there is no antenna or no stream.
    """
    if num_rx < 1 or num_tx < 1:
        raise ValueError(f"detector {name} needs num_rx >= 1 and num_tx >= 1; got num_rx={num_rx}, num_tx={num_tx}")
    for rule in RULES[name]:
        if rule.fits(constellation, num_rx, num_tx):
            return Choice(rule.detector, rule.reason)
    return ELSEWHERE
