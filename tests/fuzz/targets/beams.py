# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of arrays: the search for a beam, what makes one of several channels, and what tells an array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from gnuradio import gr

from gr_kaq.beams.planar_array import Beam, PlanarArray
from gr_kaq.beams.policies import POLICIES
from gr_kaq.blocks.base import ports
from gr_kaq.blocks.beam_combiner import beam_combiner
from gr_kaq.blocks.beam_driver import beam_driver
from gr_kaq.blocks.beam_pmt import BEAM, beam_to_pmt
from gr_kaq.blocks.beam_search import beam_search
from gr_kaq.blocks.beam_view import beam_view
from tests.fuzz.plumbing import connect_silence
from tests.fuzz.target import Tag, Target, Verdict, verdicts, within
from tests.fuzz.values import Choices

__all__ = ["Combiner", "Driver", "Search", "View", "beam"]

SIZES = ((2, 2), (4, 1), (4, 4), (1, 8))


def beam(choices: Choices, size: tuple[int, int]) -> tuple[Any, Verdict]:
    """A beam of an array, or one that it has not, or none."""
    array = PlanarArray(*size)
    if choices.one_in(2):
        return beam_to_pmt(Beam(choices.randrange(size[0]), choices.randrange(size[1]))), True
    if choices.one_in(2):
        return choices.pmt(), None
    values = [choices.choice((0, 1, 2, 5, -1, 2**31 - 1)) for _ in range(4)]
    try:
        array.check(values)
    except ValueError:
        return beam_to_pmt(Beam(*values)), False
    return beam_to_pmt(Beam(*values)), True


class Search(Target):
    name = "beam_search"
    message_inputs = ("frames",)
    message_outputs = ("beam", "pilots", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.size = choices.choice(SIZES[2:])
        self.patience = choices.choice((1, 50, 1 << 16))
        policy = choices.choice([name for name, policy in POLICIES.items() if not policy.coherent])
        self.block = beam_search(
            self.size,
            policy,
            choices.choice((64, 100)),
            tracking=choices.one_in(2),
            hold=choices.choice((0, 3)),
            settling=choices.choice((0, 10)),
            confirmed=choices.one_in(2),
            patience=self.patience,
            stats_interval_s=choices.choice((0, 0.01, 1)),
        )
        self.inputs = ports(np.complex64, 1, 1)
        self.samples = 0

    def tags(self, count: int) -> list[Tag]:
        choices, asked = self.choices, Beam(self.block.first(), self.block.second())
        self.samples += count
        beams = [*choices.some(lambda: beam(choices, self.size), 6), (beam_to_pmt(asked), None)]
        return super().tags(count) + [(0, choices.randrange(count), BEAM, *given) for given in beams]

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if choices.one_in(4):
            return choices.pmt(), None
        sample = choices.choice((0, self.samples, self.samples + 1, choices.randrange(self.samples + 1)))
        whole, snr = pmt.from_uint64(sample), pmt.from_double(choices.uniform(-10, 40))
        spoilt = choices.randrange(8)
        if spoilt == 0:
            whole = choices.choice((pmt.from_uint64(2**64 - 1), pmt.from_long(-(2**62)), choices.number()))
        elif spoilt == 1:
            snr = choices.choice((pmt.from_double(float("nan")), pmt.from_double(1e4), choices.text()))
        entries = pmt.make_dict()
        for key, value in (("sample", whole), ("snr", snr)):
            entries = pmt.dict_add(entries, pmt.intern(key), value)
        early = self.patience < self.samples  # it may come before its samples
        return entries, False if spoilt == 1 else None if spoilt == 0 or early else True

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        bounds = {"messages that are no frame": (self.block.invalid_frames(), self._refused(case))}
        if case.complete:
            bounds["items read"] = (self.block.nitems_read(0), case.fed)
        return bounds

    def _refused(self, case: Any) -> int:
        return verdicts([verdict for _, verdict in case.messages["frames"]])[False]

    def faults(self, case: Any) -> Iterator[str]:
        block, came = self.block, verdicts([verdict for _, verdict in case.messages["frames"]])
        yield from within("invalid_frames", block.invalid_frames(), came[False], came[False] + came[None])
        yield from within("frames used", block.pilots() + block.ignored_frames(), 0, came[True] + came[None])
        for message in case.listeners["beam"].messages:
            values = [pmt.to_long(pmt.dict_ref(message, pmt.intern(name), pmt.PMT_NIL)) for name in Beam._fields]
            PlanarArray(*self.size).check(values)


class Combiner(Target):
    name = "beam_combiner"
    message_inputs = ("beam",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.size = choices.choice(SIZES)
        self.block = beam_combiner(self.size, phase_bits=choices.choice((None, 1, 3)))
        self.inputs = ports(np.complex64, 1, self.size[0] * self.size[1])
        self.outputs = ports(np.complex64, 1, 1)

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        more = choices.some(lambda: (0, choices.randrange(count), BEAM, *beam(choices, self.size)), 4)
        return super().tags(count) + more

    def message(self, port: str) -> tuple[Any, Verdict]:
        return beam(self.choices, self.size)

    def finite(self, case: Any) -> bool:
        return False  # samples that are NaN pass through

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        refused = verdicts([verdict for _, verdict in case.messages["beam"]])[False]
        return {"refused messages on beam": (self.block.rejected_messages(), refused)}

    def faults(self, case: Any) -> Iterator[str]:
        came = verdicts([verdict for _, verdict in case.messages["beam"]])
        yield from within("rejected_messages", self.block.rejected_messages(), came[False], came[False] + came[None])
        if case.exact:
            fed = sum(tag[0] == 0 and not (tag[2] is not None and pmt.eq(tag[2], BEAM)) for tag in case.tags)
            new = min(case.fed, 1 + came[True] + came[None])
            yield from within("tags on the output", case.collector.tags[0], fed + (case.fed > 0), fed + new)


class Array:
    """One that answers or not."""

    def __init__(self, size: tuple[int, int], choices: Choices):
        self.array, self._choices = PlanarArray(*size), choices

    def set_beam(self, beam: Beam) -> None:
        self.array.check(beam)
        if self._choices.one_in(3):
            raise OSError("no answer\x1b[31m\nFORGED")


class Driver(Target):
    name = "beam_driver"
    message_inputs = ("beam",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.size = choices.choice(SIZES)
        self.block = beam_driver(Array(self.size, Choices(choices.getrandbits(60))))

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "beam")

    def message(self, port: str) -> tuple[Any, Verdict]:
        return beam(self.choices, self.size)

    def _counted(self) -> int:
        return self.block.beams() + self.block.failures() + self.block.rejected_messages()

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"messages on beam": (self._counted(), len(case.messages["beam"]))}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        came = verdicts([verdict for _, verdict in case.messages["beam"]])
        yield from within("messages counted", self._counted(), came.total(), came.total())
        yield from within("rejected_messages", self.block.rejected_messages(), came[False], came[False] + came[None])


class View(Target):
    name = "beam_view"
    message_inputs = ("beam", "pilots")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.size = choices.choice(SIZES)
        self.block = beam_view(self.size)

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "beam")

    def message(self, port: str) -> tuple[Any, Verdict]:
        made, verdict = beam(self.choices, self.size)
        if port == "pilots" and verdict is not None and self.choices.one_in(2):
            snr = self.choices.choice((pmt.from_double(12.5), pmt.from_double(float("nan")), self.choices.pmt()))
            return pmt.dict_add(made, pmt.intern("snr"), snr), False if verdict is False else None
        return made, verdict

    def _messages(self, case: Any) -> list[tuple[Any, Verdict]]:
        return [message for port in self.message_inputs for message in case.messages[port]]

    def _counted(self) -> int:
        return self.block.beams() + self.block.rejected_messages()

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"messages": (self._counted(), len(self._messages(case)))}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        came = verdicts([verdict for _, verdict in self._messages(case)])
        yield from within("messages counted", self._counted(), came.total(), came.total())
        yield from within("rejected_messages", self.block.rejected_messages(), came[False], came[False] + came[None])
