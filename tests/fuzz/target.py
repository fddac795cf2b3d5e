# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of block under test has to say of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tests.fuzz.values import Choices

if TYPE_CHECKING:
    from tests.fuzz.case import Case

__all__ = ["Tag", "Target", "Verdict", "within"]

Verdict = bool | None
"""Whether a value has to be taken (True) or refused (False); None where that is not known."""

Tag = tuple[int, int, Any, Any, Verdict]
"""Port, item, key, value, and whether it is valid; None for one that is nobody's."""


class Target:
    """A block, what it is fed with, and what must hold afterwards.

    Attributes:
        block: it is connected at all ports.
        inputs, outputs: their signatures.
        message_inputs, message_outputs: names of message ports.
        restarts: whether it may be stopped and started.
    """

    name: ClassVar[str]
    block: Any
    message_inputs: tuple[str, ...] = ()
    message_outputs: tuple[str, ...] = ()
    restarts = True

    def __init__(self, choices: Choices, folder: Path):
        self.choices, self.folder = choices, folder
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def parts(self) -> list[Any]:
        """The blocks that count."""
        return [self.block]

    def message_block(self, port: str, is_input: bool) -> Any:
        """Which block has this message port."""
        return self.block

    def wire(self, tb: Any) -> None:
        """Connect what the case does not."""

    # What is fed

    def piece(self, count: int) -> list[np.ndarray]:
        """So many items for each input."""
        return [self.choices.samples((count, shape(port)[1]), shape(port)[0]) for port in self.inputs]

    def items(self) -> int:
        """How many items a piece has."""
        return int(1 + 200 * self.choices.random() ** 2)

    def tags(self, count: int) -> list[Tag]:
        """Tags for a piece."""
        choices = self.choices
        most = 2000 if choices.one_in(60) else 12
        return [self.foreign_tag(count) for _ in range(int(most * choices.random() ** 4))]

    def foreign_tag(self, count: int) -> Tag:
        """A tag that is none of this block's."""
        choices = self.choices
        key = choices.choice((choices.symbol("foreign"), choices.symbol("packet_len"), choices.text()))
        return choices.randrange(len(self.inputs)), choices.randrange(count), key, choices.pmt(), None

    def message(self, port: str) -> tuple[Any, Verdict]:
        """A message for a port."""
        return self.choices.pmt(), False

    def setters(self) -> list[Callable[[], Any]]:
        """What other threads may call while the flowgraph runs. ValueError, OSError and ImportError say no."""
        return []

    def actions(self, case: Case) -> list[Callable[[], Any]]:
        """What else may happen, such as the death of a peer."""
        return []

    def while_stopped(self, case: Case) -> None:
        """Called between stop and start."""

    # What must hold

    def equal_rate(self) -> bool:
        """Whether an item comes out, on every port, for each that goes in."""
        return bool(self.inputs and self.outputs)

    def finite(self, case: Case) -> bool:
        """Whether outputs have to be finite."""
        return not case.extreme

    def meanwhile(self) -> None:
        """Called again and again while the flowgraph ends: a peer may have to take what is left."""

    def lower_bounds(self, case: Case) -> dict[str, tuple[int, int]]:
        """What has to happen before the stream ends: a name, how much of it was counted, and how much has to be."""
        return {}

    def finish(self, case: Case) -> None:
        """Have the flowgraph end, where the end of the input does not."""

    def faults(self, case: Case) -> Iterator[str]:
        """What is wrong at the end."""
        return iter(())

    def close(self) -> None:
        """Called at the end of a case, also of one that failed."""


def shape(port: Any) -> tuple[Any, int]:
    """Type and length of a port's items."""
    return (port[0], port[1]) if isinstance(port, tuple) else (port, 1)


def within(name: str, count: float, low: float, high: float) -> Iterator[str]:
    """A fault unless low <= count <= high."""
    if not low <= count <= high:
        yield f"{name} is {count}; {low} to {high} expected"


def verdicts(values: list[Verdict]) -> Counter:
    """How many of each."""
    return Counter(values)
