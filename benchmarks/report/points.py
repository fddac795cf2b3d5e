# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs independent points of a section; what was finished before an interruption is not run again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gr_kaq.commands.long_run import units_progress
from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import Series, run_series, run_units

from .settings import Settings

__all__ = ["keep_points", "partial_path", "run_points", "run_series_of_points", "write_json"]


def write_json(path: Path, document: Any) -> None:
    """Write JSON; a crash while writing leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(temporary, path)


def partial_path(settings: Settings, section: str) -> Path:
    """Where the finished points of an unfinished section lie: one JSON line for each."""
    return settings.data / f"{section}.partial.jsonl"


def keep_points(settings: Settings, section: str, points: Iterable[tuple[Job, Result]]) -> None:
    """Let `run_points` take these as finished: jobs and their results."""
    with Results(partial_path(settings, section)) as kept:
        for job, result in points:
            kept.add(job, result)


def run_points(
    settings: Settings, section: str, function: Callable[[Job], Result], jobs: Sequence[Job]
) -> list[Result]:
    """`function` of every job, in their order.

    Args:
        settings: where to run them, and where partial results lie.
        section: whose points these are.
        function: of a module, so that another process can import it. Jobs and results are plain JSON.
        jobs: the same job has the same result.
    """
    with Results(partial_path(settings, section)) as kept, units_progress(section) as progress:
        return run_units(jobs, function, settings.workers, kept, progress)


def run_series_of_points(
    settings: Settings, section: str, function: Callable[[Job], Result], series: Sequence[Series]
) -> list[list[Result]]:
    """The same for points of several units; see `gr_kaq.sweeps.units.run_series`."""
    with Results(partial_path(settings, section)) as kept, units_progress(section) as progress:
        return run_series(series, function, settings.workers, kept, progress)
