# SPDX-License-Identifier: GPL-3.0-or-later
"""What a block counts, declared once. Its getters, `stats()` and docs/guide/counters.md follow from the declaration.

    @dataclass
    class DecoderCounters(Counters):
        frames: int = counter("frames", "Frames decoded, rightly or not.")

    class frame_decoder(KaqBlock[DecoderCounters]):
        ...
            self.counters.frames += 1

        @reading("errors per frame")
        def block_error_rate(self) -> float: ...

The block then has a method `frames()`, and `stats()` has the entries `frames` and `block_error_rate`. Counting stays a
plain increment: it happens in `work`.

GNU Radio Companion reads a block through methods, so each counter has one. They are made when the class is: a dozen
written by hand would differ from the fields sooner or later.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

__all__ = ["Counters", "Entry", "add_getters", "counter", "counters_of_ports", "entries", "reading", "values"]

Getter = TypeVar("Getter", bound=Callable[..., Any])
MARK = "_kaq_entry"  # the attribute of a getter that `stats()` has


@dataclass(frozen=True)
class Entry:
    """An entry of `stats()`.

    Attributes:
        name: of the entry, and of the getter.
        unit: of the value.
        meaning: what it says, in a sentence.
    """

    name: str
    unit: str
    meaning: str


def counter(unit: str, meaning: str) -> Any:
    """A field of `Counters` that starts at 0.

    Args:
        unit: what is counted, such as ``"frames"``.
        meaning: a sentence for the documentation.
    """
    return field(default=0, metadata={"unit": unit, "meaning": meaning})


def counters_of_ports(unit: str, meaning: str) -> Any:
    """The same for a list with a number for each antenna or stream. The block makes it, as it knows how many."""
    return field(default_factory=list, metadata={"unit": unit, "meaning": meaning})


@dataclass
class Counters:
    """What every block counts. A block that counts more has a dataclass of its own that is derived from this one."""

    internal_errors: int = counter("exceptions", "Exceptions that were caught and should not have happened.")
    failed_starts: int = counter("starts", "How often the block could not start, so that the flowgraph ended.")
    dropped_items: int = counter(
        "items", "Items on their way to the block that were dropped when the flowgraph was unlocked."
    )


def reading(unit: str) -> Callable[[Getter], Getter]:
    """Marks a getter that works its value out: `stats()` has it too. Its docstring is its meaning."""
    return lambda getter: _mark(getter, Entry(getter.__name__, unit, " ".join((getter.__doc__ or "").split())))


def _mark(getter: Getter, entry: Entry) -> Getter:
    setattr(getter, MARK, entry)
    getter.__doc__ = f"{inspect.cleandoc(getter.__doc__ or entry.meaning)}\n\nUnit: {entry.unit}."
    return getter


def add_getters(block: type, counters: type[Counters]) -> None:
    """Give a class of blocks a method for each counter.

    Raises:
        TypeError: the class has something of that name already.
    """
    for declared in fields(counters):
        if declared.name in vars(block):
            raise TypeError(f"{block.__name__}.{declared.name} is declared as a counter, and defined too")
        entry = Entry(declared.name, declared.metadata["unit"], declared.metadata["meaning"])
        getter = _getter(declared.name)
        getter.__module__, getter.__qualname__ = block.__module__, f"{block.__qualname__}.{declared.name}"
        getter.__annotations__ = {"return": declared.type}
        setattr(block, declared.name, _mark(getter, entry))


def _getter(name: str) -> Callable[[Any], Any]:
    def get(self: Any) -> Any:
        value = getattr(self.counters, name)
        return list(value) if isinstance(value, list) else value  # the block goes on counting in its own

    get.__name__ = name
    return get


def entries(block: Any) -> list[Entry]:
    """What `stats()` has of a class of blocks: counters, then readings, each in the order of their declaration."""
    methods = {name: value for base in reversed(block.__mro__) for name, value in vars(base).items()}
    found = [getattr(method, MARK) for method in methods.values() if hasattr(method, MARK)]
    counted = {declared.name for declared in fields(block.counters_type)}
    return sorted(found, key=lambda entry: entry.name not in counted)


def values(block: Any) -> dict[str, Any]:
    """The value of each entry under its name."""
    return {entry.name: getattr(block, entry.name)() for entry in entries(type(block))}
