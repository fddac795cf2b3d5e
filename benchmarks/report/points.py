# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs independent points of a section; what was finished before an interruption is not run again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gr_kaq.commands.long_run import units_progress
from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import Progress, Series, run_series, run_units

from . import markdown as md
from .names import label
from .settings import Settings
from .statistics import Rate

__all__ = [
    "Cells",
    "Found",
    "forget_partial",
    "keep_points",
    "partial_path",
    "partial_table_path",
    "rate_cells",
    "run_points",
    "run_series_of_points",
    "write_json",
]

Found = Callable[[Results], Iterable[tuple[Job, Result]]]
"""The points that are there, from the units that are finished."""
Cells = Callable[[Result], dict[str, str]]
"""What a table of an unfinished section shows of a point, by column."""


def write_json(path: Path, document: Any) -> None:
    """Write JSON; a crash while writing leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(temporary, path)


def partial_path(settings: Settings, section: str) -> Path:
    """Where the finished points of an unfinished section lie: one JSON line for each."""
    return settings.data / f"{section}.partial.jsonl"


def partial_table_path(settings: Settings, section: str) -> Path:
    """Where a table of the finished points of an unfinished section lies."""
    return settings.data / f"{section}.partial.txt"


def forget_partial(settings: Settings, section: str) -> None:
    """Remove both."""
    for path in (partial_path(settings, section), partial_table_path(settings, section)):
        path.unlink(missing_ok=True)


def keep_points(settings: Settings, section: str, points: Iterable[tuple[Job, Result]]) -> None:
    """Let `run_points` take these as finished: jobs and their results."""
    with Results(partial_path(settings, section)) as kept:
        for job, result in points:
            kept.add(job, result)


def run_points(
    settings: Settings, section: str, function: Callable[[Job], Result], jobs: Sequence[Job], cells: Cells | None = None
) -> list[Result]:
    """`function` of every job, in their order.

    Args:
        settings: where to run them, and where partial results lie.
        section: whose points these are.
        function: of a module, so that another process can import it. Jobs and results are plain JSON.
        jobs: the same job has the same result.
        cells: of a table of the finished points, which is there meanwhile; None: no table.
    """

    def found(kept: Results) -> Iterator[tuple[Job, Result]]:
        return ((job, result) for job in jobs if (result := kept.get(job)) is not None)

    with _kept(settings, section, found, cells) as (kept, progress):
        return run_units(jobs, function, settings.workers, kept, progress)


def run_series_of_points(
    settings: Settings,
    section: str,
    function: Callable[[Job], Result],
    series: Sequence[Series],
    found: Found,
    cells: Cells,
) -> list[list[Result]]:
    """The same for points of several units, see `gr_kaq.sweeps.units.run_series`; `found` makes points of them."""
    with _kept(settings, section, found, cells) as (kept, progress):
        return run_series(series, function, settings.workers, kept, progress)


def rate_cells(result: Result) -> dict[str, str]:
    """The rates of a point of `simulate.bit_errors`."""
    return {label(name): md.rate(Rate.read(rate)) for name, rate in result["rates"].items()}


@contextmanager
def _kept(
    settings: Settings, section: str, found: Found, cells: Cells | None
) -> Iterator[tuple[Results, Callable[[Progress], None]]]:
    """The results that are there, and what shows the progress: a bar, and a table in a file."""
    with Results(partial_path(settings, section)) as kept, units_progress(section) as bar:

        def show(progress: Progress) -> None:
            bar(progress)
            if cells is not None:
                text = _table([(job, cells(result)) for job, result in found(kept)])
                partial_table_path(settings, section).write_text(text + "\n", "utf-8")

        yield kept, show


def _table(points: Sequence[tuple[Job, dict[str, str]]]) -> str:
    """A row for each point: in what its job differs from others, and its cells."""
    jobs = [job for job, _ in points]
    keys = [key for key in dict.fromkeys(key for job in jobs for key in job) if key != "detectors"]
    differing = [key for key in keys if len({json.dumps(job.get(key)) for job in jobs}) > 1]
    columns = list(dict.fromkeys(column for _, cells in points for column in cells))
    rows = [
        [*(_short(job.get(key)) for key in differing), *(cells.get(column, "-") for column in columns)]
        for job, cells in points
    ]
    return md.table([*differing, *columns], rows)


def _short(value: object) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
