# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks that take long have units, which run on one core or on a cluster (docs/guide/cluster.md)."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gr_kaq.commands.arguments import add_workers
from gr_kaq.commands.long_run import units_progress
from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import one_unit, run_series
from gr_kaq.sweeps.workers import Function, open_workers

__all__ = ["add_unit_options", "frame_groups", "importable", "once_for_settings", "run_groups", "settings_of"]

T = TypeVar("T")

FRAMES = 20
"""Of a unit: some seconds."""
ELSEWHERE = ("jobs", "cluster", "keep", "output", "plot")
"""Options that say where something runs or goes, and not what is measured."""


def add_unit_options(parser: argparse.ArgumentParser) -> None:
    """Add --jobs, --cluster and --keep."""
    add_workers(parser)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="finished units; the same command goes on from there")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What is measured, of the options of a command line: for jobs."""
    return {name: value for name, value in vars(options).items() if name not in ELSEWHERE}


def frame_groups(options: argparse.Namespace, points: Sequence[Job], *varied: str) -> list[list[Job]]:
    """Jobs for `run_groups`, a group for each point: the settings, the point, and frames, the first and the one after
    the last.

    Args:
        options: of a command line; `frames` of them are counted at each point.
        points: what the jobs of each have beside the settings.
        varied: the options that the points are made of, which are no settings.
    """
    settings = {name: value for name, value in settings_of(options).items() if name not in ("frames", *varied)}
    parts = [(first, min(first + FRAMES, options.frames)) for first in range(0, options.frames, FRAMES)]
    return [[{"settings": settings, **point, "frames": part} for part in parts] for point in points]


def once_for_settings(make: Callable[[argparse.Namespace], T]) -> Callable[[Job], T]:
    """What `make` makes of the settings of a job, once in a process for all jobs that have the same."""

    @functools.cache
    def made(settings: str) -> T:
        return make(argparse.Namespace(**json.loads(settings)))

    return lambda job: made(json.dumps(job["settings"]))


def run_groups(
    options: argparse.Namespace,
    title: str,
    function: Function,
    groups: Sequence[Sequence[Job]],
    show: Callable[[int, list[Result]], None],
) -> None:
    """Run groups of units, all side by side.

    Args:
        options: with those of `add_unit_options`.
        title: of the progress bar.
        function: of the benchmark that runs.
        groups: their jobs, plain JSON, as the results.
        show: called with each group's number and results, in the order of the groups, as soon as they are there.
    """
    places = [(number, place) for number, jobs in enumerate(groups) for place in range(len(jobs))]
    found: list[list[Result | None]] = [[None] * len(jobs) for jobs in groups]
    shown = 0

    def counted(number: int, results: Sequence[Result]) -> None:
        nonlocal shown
        group, place = places[number]
        found[group][place] = results[0]
        while shown < len(groups) and None not in found[shown]:
            show(shown, [result for result in found[shown] if result is not None])
            shown += 1

    series = [one_unit(job) for jobs in groups for job in jobs]
    with (
        Results(options.keep) as kept,
        open_workers(options.jobs, options.cluster) as workers,
        units_progress(title) as progress,
    ):
        run_series(series, importable(function), workers, kept, progress, counted)


def importable(function: Function) -> Function:
    """A function of the program that runs, by the name under which other processes import it."""
    module = sys.modules[function.__module__]
    if module.__name__ != "__main__" or module.__spec__ is None:
        return function
    found: Function = getattr(importlib.import_module(module.__spec__.name), function.__name__)
    return found
