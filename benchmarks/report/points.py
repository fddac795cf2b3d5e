# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs independent points of a section in processes; what was finished before an interruption is not run again."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TextIO

from threadpoolctl import threadpool_limits

from gr_kaq.commands.long_run import progress_bar

from .settings import Settings

__all__ = ["keep_points", "partial_path", "run_points", "write_json"]

Job = dict[str, Any]
Result = dict[str, Any]


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
    path = partial_path(settings, section)
    path.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(path)
    with path.open("a", encoding="utf-8") as file:
        for job, result in points:
            _store(file, job, result)


def run_points(
    settings: Settings, section: str, function: Callable[[Job], Result], jobs: Sequence[Job]
) -> list[Result]:
    """`function` of every job, in their order.

    Args:
        settings: how many processes, and where partial results lie.
        section: whose points these are.
        function: of a module, so that a process can import it. Jobs and results are plain JSON.
        jobs: all different; the same job has the same result.
    """
    path = partial_path(settings, section)
    done = {_key(line["job"]): line["result"] for line in _lines(path)}
    missing = [job for job in jobs if _key(job) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    _end_last_line(path)
    with path.open("a", encoding="utf-8") as file, progress_bar(total=len(jobs), desc=section, mininterval=0.5) as bar:
        bar.update(len(jobs) - len(missing))

        def store(job: Job, result: Result) -> None:
            _store(file, job, result)
            done[_key(job)] = result
            bar.update()

        if settings.jobs == 1 or len(missing) < 2:
            for job in missing:
                store(job, _one_thread(function, job))
        else:
            _run_in_processes(settings.jobs, function, missing, store)
    return [done[_key(job)] for job in jobs]


def _run_in_processes(
    processes: int, function: Callable[[Job], Result], jobs: Sequence[Job], store: Callable[[Job, Result], None]
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # two busy processes gain nothing by threads of their own
        os.environ.setdefault(name, "1")
    # spawned, as a fork of a process in which torch runs threads can hang
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures: dict[Future[Result], Job] = {pool.submit(_one_thread, function, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                store(futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread(function: Callable[[Job], Result], job: Job) -> Result:
    with threadpool_limits(1):
        return function(job)


def _store(file: TextIO, job: Job, result: Result) -> None:
    file.write(json.dumps({"job": job, "result": result}) + "\n")
    file.flush()


def _key(job: Job) -> str:
    return json.dumps(job, sort_keys=True)


def _end_last_line(path: Path) -> None:
    """So that a line that was cut off does not swallow the next one."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    """Complete lines; one that was cut off by a crash is measured again."""
    lines = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
