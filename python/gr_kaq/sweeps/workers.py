# SPDX-License-Identifier: GPL-3.0-or-later
"""Where units run: in this process, or in processes of this machine. `cluster` has those of other machines."""

from __future__ import annotations

import abc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Self

from .results import Job, Result

__all__ = ["Function", "Here", "Processes", "Workers", "on_one_thread", "open_workers"]

Function = Callable[[Job], Result]

MOST_DEATHS = 3
"""Of workers, with no unit finished between them: then it is the units that kill."""


class Workers(abc.ABC):
    """What runs units; a context manager, which ends what it began."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """How many units run at a time."""

    @property
    def depth(self) -> int:
        """How many units to hand out: a worker that has finished one finds the next, where there is more than one."""
        return 1 if self.count == 1 else 2 * self.count

    @abc.abstractmethod
    def submit(self, function: Function, job: Job) -> None:
        """Hand out a unit."""

    @abc.abstractmethod
    def next_done(self) -> tuple[Job, Result] | None:
        """A unit that is finished, with its result. None where it was worth while to look again what to hand out."""

    @abc.abstractmethod
    def close(self) -> None:
        """Forget units that are not finished."""


class Here(Workers):
    """This process."""

    def __init__(self) -> None:
        self._units: deque[tuple[Function, Job]] = deque()

    @property
    def count(self) -> int:
        return 1

    def submit(self, function: Function, job: Job) -> None:
        self._units.append((function, job))

    def next_done(self) -> tuple[Job, Result]:
        function, job = self._units.popleft()
        return job, on_one_thread(function, job)

    def close(self) -> None:
        self._units.clear()


class Processes(Workers):
    """So many processes, each with one thread. Units of a process that was killed are run again.

    An interrupt ends them by SIGTERM: a unit may take that as a hint to save what it has.
    """

    def __init__(self, count: int):
        self._count = count
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when a process imports NumPy or torch
            os.environ.setdefault(name, "1")
        self._units: dict[Future[Result], tuple[Function, Job]] = {}
        self._deaths = 0
        self._start()

    def _start(self) -> None:
        # spawned: a fork would share torch's threads and hang, and CUDA does not survive it
        self._pool = ProcessPoolExecutor(self._count, multiprocessing.get_context("spawn"), _start_process)

    @property
    def count(self) -> int:
        return self._count

    def submit(self, function: Function, job: Job) -> None:
        try:
            future = self._pool.submit(_run, function, job)
        except BrokenProcessPool:
            self._start_again()
            future = self._pool.submit(_run, function, job)
        self._units[future] = function, job

    def next_done(self) -> tuple[Job, Result] | None:
        future = wait(self._units, return_when=FIRST_COMPLETED).done.pop()
        try:
            result = future.result()
        except BrokenProcessPool:
            self._start_again()
            return None
        self._deaths = 0
        return self._units.pop(future)[1], result

    def _start_again(self) -> None:
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise ChildProcessError("processes were killed again and again, perhaps for their memory: see dmesg")
        self._pool.shutdown()
        broken = [future for future in self._units if future.cancelled() or future.exception()]
        again = [self._units.pop(future) for future in broken]
        self._start()
        for function, job in again:
            self.submit(function, job)

    def close(self) -> None:
        if not self._units:
            self._pool.shutdown()
            return
        processes = multiprocessing.active_children()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; what follows is the parent's to decide
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes, which would go on for days."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run(function: Function, job: Job) -> Result:
    try:
        return on_one_thread(function, job)
    except KeyboardInterrupt:
        os._exit(0)  # and not on to the next unit in the queue


def open_workers(jobs: int, cluster: str | None = None) -> Workers:
    """Workers as options name them.

    Args:
        jobs: processes of this machine, 1: this one; or how many workers to ask for where `cluster` names a file.
        cluster: see `cluster.Cluster`; None: none.
    """
    if cluster is not None:
        from .cluster import Cluster  # noqa: PLC0415 - Dask is optional, and takes its time to import

        return Cluster(cluster, jobs)
    return Here() if jobs == 1 else Processes(jobs)


def on_one_thread(function: Function, job: Job) -> Result:
    """The result of a job; BLAS and OpenMP have one thread meanwhile, as every processor has a unit of its own."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - only who runs units needs it

    with threadpool_limits(1):
        return function(job)
