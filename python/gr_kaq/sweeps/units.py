# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of work in series: which are run, and which count.

A series is a fixed grid of units, such as the transmissions of a BER point in pieces. Results are taken in the order of
the grid until they are enough, whatever the order in which they come. So what counts depends neither on how many
workers there are, nor on which is faster, nor on interruptions; results beyond the end are not looked at, so early
stopping favours nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .results import Job, Result, Results, key_of
from .workers import Function, Workers

__all__ = ["Progress", "Series", "one_unit", "run_series", "run_units"]


@dataclass(frozen=True)
class Series:
    """Units whose results are taken in order until they are enough.

    Args:
        job: of the k-th unit, plain JSON.
        count: how many units there may be.
        needed: from the results of the first units, how many the series will need, as far as these tell. They are
            enough when that is no more than their number.
    """

    job: Callable[[int], Job]
    count: int
    needed: Callable[[Sequence[Result]], int]


def one_unit(job: Job) -> Series:
    """A series of this unit alone."""
    return Series(lambda _: job, 1, lambda _: 1)


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Args:
        finished: units that count, or will, as far as is known.
        planned: these, and what the series still need.
        workers: how many units run at a time.
    """

    finished: int
    planned: int
    workers: int


class _State:
    """A series in work."""

    def __init__(self, series: Series):
        self.series = series
        self.counted: list[Result] = []
        self.waiting: dict[int, Result] = {}  # finished, but not yet their turn
        self.handed_out = 0  # units from the first on that have a result, or will have one
        self.needed = self._needed()

    def _needed(self) -> int:
        return min(self.series.needed(self.counted), self.series.count)

    @property
    def complete(self) -> bool:
        return self.needed <= len(self.counted)

    def take(self, index: int, result: Result) -> None:
        self.waiting[index] = result
        while not self.complete and len(self.counted) in self.waiting:
            self.counted.append(self.waiting.pop(len(self.counted)))
            self.needed = self._needed()

    @property
    def planned(self) -> int:
        return max(self.needed, len(self.counted))

    @property
    def finished(self) -> int:
        return len(self.counted) + sum(index < self.planned for index in self.waiting)


def run_units(
    jobs: Sequence[Job],
    function: Function,
    workers: Workers,
    results: Results,
    progress: Callable[[Progress], object] | None = None,
    done: Callable[[Result], object] | None = None,
) -> list[Result]:
    """The results of all jobs, in their order; see `run_series`. `done` is called with each as soon as it is there."""
    counted = None if done is None else lambda _, results: done(results[0])
    return [only for (only,) in run_series(list(map(one_unit, jobs)), function, workers, results, progress, counted)]


def run_series(
    series: Sequence[Series],
    function: Function,
    workers: Workers,
    results: Results,
    progress: Callable[[Progress], object] | None = None,
    counted: Callable[[int, Sequence[Result]], object] | None = None,
) -> list[list[Result]]:
    """The results that count, of all series.

    Args:
        series: what to run.
        function: the result of a job, of a module, so that another process can import it.
        workers: where to.
        results: what is there already, and where the new ones go, each as soon as it is there.
        progress: called after each unit.
        counted: called with the index of a series and its results so far when there are more of them.

    Raises:
        OSError: a result could not be kept, or the workers are lost; what was finished before is kept.
        RuntimeError: a unit fails.
        KeyboardInterrupt: the same.
    """
    states = [_State(one) for one in series]
    in_work: dict[str, list[tuple[int, int]]] = {}  # key: series and unit; more than one where these are alike

    def take(number: int, index: int, result: Result) -> None:
        state = states[number]
        before = len(state.counted)
        state.take(index, result)
        if counted is not None and len(state.counted) > before:
            counted(number, state.counted)

    def hand_out(number: int) -> None:
        """The next unit of a series, which may be there already."""
        state = states[number]
        index, state.handed_out = state.handed_out, state.handed_out + 1
        job = state.series.job(index)
        known = results.get(job)
        if known is not None:
            take(number, index, known)
            return
        alike = in_work.setdefault(key_of(job), [])
        alike.append((number, index))
        if len(alike) == 1:
            workers.submit(function, job)

    def next_needed() -> int | None:
        return next((i for i, s in enumerate(states) if s.handed_out < s.needed), None)

    def next_spare() -> int | None:
        """A series that may need one more unit than it seems: better than a worker with nothing to do."""
        open_ones = [i for i, s in enumerate(states) if not s.complete and s.handed_out < s.series.count]
        return min(open_ones, key=lambda i: states[i].handed_out - states[i].needed, default=None)

    while True:
        while len(in_work) < workers.depth and (number := next_needed()) is not None:
            hand_out(number)
        while len(in_work) < workers.count and (number := next_spare()) is not None:
            hand_out(number)
        if progress is not None:
            finished, planned = (sum(getattr(s, name) for s in states) for name in ("finished", "planned"))
            progress(Progress(finished, planned, workers.count))
        if all(state.complete for state in states):
            return [state.counted for state in states]
        done = workers.next_done()
        if done is not None:
            job, result = done
            kept = results.add(job, result)
            for number, index in in_work.pop(key_of(job)):
                take(number, index, kept)
