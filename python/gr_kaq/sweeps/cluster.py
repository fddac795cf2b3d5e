# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers of other machines, by Dask (https://distributed.dask.org): of a scheduler, or in jobs of SLURM and others.

Dask carries units to the workers, and runs those of a worker that was lost again. Here is what else may go wrong: it
becomes one line that names the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import queue
import time
import uuid
import warnings
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from ..files import one_line, read_file
from .identity import identity
from .on_worker import make_on_worker
from .results import Job, Result
from .workers import Function, Workers

__all__ = ["Cluster"]

MAX_BYTES = 2**20
"""Of a configuration file."""
CONNECT_S = 30.0
"""How long to wait for a scheduler, which a script may have begun just now."""
LOOK_AGAIN_S = 1.0
"""How often to see which workers there are."""
UNFIT, FAILED = "unfit", "failed"
"""What an answer says in place of a result: this worker cannot run the unit; the unit raised."""

JOBQUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "local": "LocalCluster",
}
"""Of dask-jobqueue, by the key of their settings. The last one runs the jobs on this machine, to try a file."""


class Cluster(Workers):
    """The workers of a Dask scheduler, each with one thread.

    A unit that raises is run again on another worker, once. A worker on which one has failed, or that has another
    version of gr_kaq, gets no more units, and a warning names it.

    Args:
        where: of a scheduler, as ``tcp://HOST:PORT``; or a configuration file of dask-jobqueue, whose jobs then are
            begun, and ended by `close`.
        jobs: how many workers to ask for with such a file.

    Raises:
        ImportError: Dask is missing.
        ValueError: the file is none.
        ConnectionError: there is no scheduler.
    """

    def __init__(self, where: str, jobs: int = 1):
        distributed = _imported("distributed", "distributed")
        for name in ("asyncio", "tornado", *logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("asyncio", "tornado", "distributed"):  # here it is said in one line
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._jobqueue = None if "://" in where else _begin_jobs(Path(where), jobs)
        address = where if self._jobqueue is None else self._jobqueue.scheduler_address
        self._name = f"the scheduler {address}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a table of versions; those that count are compared for each unit
            try:
                asyncio.run(asyncio.wait_for(_check_scheduler(address), CONNECT_S))
                self._client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                self._close_jobqueue()
                reason = str(error) or f"no answer in Dask's language after {CONNECT_S:g} s"
                raise ConnectionError(f"{where}: no Dask scheduler can be reached: {reason}") from None
        self._on_worker = make_on_worker()
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._units: dict[str, tuple[Function, Job]] = {}
        self._futures: dict[str, Any] = {}
        self._allowed: dict[str, set[str]] = {}  # of units that may not go everywhere
        self._failures: dict[str, str] = {}  # of units that raised: on which worker, and what
        self._bad: set[str] = set()
        self._threads: dict[str, int] = {}
        self._looked = -LOOK_AGAIN_S
        self._said: set[str] = set()
        self._run = uuid.uuid4().hex[:8]
        self._number = 0

    @property
    def count(self) -> int:
        self._look()
        return max(1, sum(threads for worker, threads in self._threads.items() if worker not in self._bad))

    @property
    def depth(self) -> int:
        return 2 * self.count

    def submit(self, function: Function, job: Job) -> None:
        self._send(function, job)

    def _send(self, function: Function, job: Job) -> str:
        """Hand a unit to Dask, under a key that no other has."""
        self._number += 1
        key = f"kaq-{self._run}-{self._number}"
        where: dict[str, Any] = {}
        if self._bad:
            self._look(now=True)
            good = self._threads.keys() - self._bad
            if not good:
                raise ChildProcessError(f"no worker of {self._name} is left that can run the units")
            self._allowed[key] = good
            where = {"workers": sorted(good), "allow_other_workers": False}
        module = function.__module__
        arguments = identity(module), module, function.__qualname__, json.dumps(job)
        self._units[key] = function, job
        self._futures[key] = future = self._client.submit(self._on_worker, *arguments, key=key, pure=False, **where)
        future.add_done_callback(self._done.put)
        return key

    def next_done(self) -> tuple[Job, Result] | None:
        try:
            future = self._done.get(timeout=LOOK_AGAIN_S)
        except queue.Empty:
            self._free_stranded()
            return None
        key = future.key
        if key not in self._futures:  # it was sent again
            return None
        if future.status == "error":
            raise ChildProcessError(self._explained(future.exception()))
        try:
            kind, worker, text = future.result()
        except (OSError, CancelledError):  # what Dask says where it has lost its scheduler
            raise ConnectionError(f"{self._name} was lost; the same command goes on where it stopped") from None
        if kind in (UNFIT, FAILED):
            self._exclude(key, kind, worker, text)
            return None
        self._failures.pop(key, None)
        return self._forget(key)[1], json.loads(text)

    def _forget(self, key: str) -> tuple[Function, Job]:
        del self._futures[key]
        self._allowed.pop(key, None)
        return self._units.pop(key)

    def _send_again(self, key: str) -> None:
        """A unit to other workers; Dask would give the old answer for the old key."""
        failure = self._failures.pop(key, None)
        new = self._send(*self._forget(key))
        if failure is not None:
            self._failures[new] = failure

    def _exclude(self, key: str, kind: str, worker: str, text: str) -> None:
        """A worker that did not run a unit gets no more of them."""
        if kind == FAILED and key in self._failures:
            raise ChildProcessError(f"a unit failed on worker {self._failures[key]}; on worker {worker}: {text}")
        if kind == FAILED:
            self._failures[key] = f"{worker}: {text}"
        self._bad.add(worker.partition(" ")[0])
        self._look(now=True)
        if not self._threads.keys() - self._bad:
            raise ChildProcessError(f"worker {worker}: {text}; there is no other worker")
        self._say(f"worker {worker} gets no more units: {text}")
        self._send_again(key)

    def _free_stranded(self) -> None:
        """Units that may go only to workers that are gone by now may go to others."""
        self._look()
        for key, allowed in list(self._allowed.items()):
            if not allowed & self._threads.keys() and self._threads.keys() - self._bad:
                self._futures[key].release()
                self._send_again(key)

    def _explained(self, error: BaseException) -> str:
        if type(error).__name__ == "KilledWorker":
            last = getattr(getattr(error, "last_worker", None), "address", "unknown")
            return f"a unit has ended every worker that ran it, the last one {last}, perhaps for its memory"
        return f"a worker of {self._name} could not take a unit: {type(error).__name__}: {error}"

    def _look(self, now: bool = False) -> None:
        if not now and time.monotonic() < self._looked + LOOK_AGAIN_S:
            return
        try:
            self._threads = self._client.nthreads()
        except (OSError, ValueError):
            return  # lost: the futures tell
        self._looked = time.monotonic()
        if not self._threads:
            self._say(f"{self._name} has no workers yet; waiting for some")
        for worker, threads in self._threads.items():
            if threads > 1:
                self._say(f"worker {worker} has {threads} threads; one each (--nthreads 1) is faster")

    def _say(self, text: str) -> None:
        """Once."""
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, stacklevel=2)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a scheduler that is lost
            self._client.close(timeout=2)  # and Dask forgets what nobody waits for
        self._close_jobqueue()

    def _close_jobqueue(self) -> None:
        if self._jobqueue is not None:
            self._jobqueue.close()


async def _check_scheduler(address: str) -> None:
    """Raise ConnectionError where something else answers."""
    security = _imported("distributed", "distributed").Security()
    connect = importlib.import_module("distributed.comm").connect
    comm = await connect(address, timeout=0.8 * CONNECT_S, **security.get_connection_args("client"))
    try:
        await comm.write({"op": "identity", "reply": True})
        answer = await comm.read()
    finally:
        comm.abort()
    kind = answer.get("type") if isinstance(answer, dict) else None
    if kind != "Scheduler":
        raise ConnectionError(f"it is a {kind}, and no scheduler")


def _begin_jobs(path: Path, jobs: int) -> Any:
    """The cluster that a file of dask-jobqueue states, with jobs for so many workers."""
    yaml = _imported("yaml", "PyYAML")
    try:
        document = yaml.safe_load(read_file(path, MAX_BYTES))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; a file, or an address such as tcp://HOST:8786 expected") from None
    except Exception as error:
        raise ValueError(f"{path}: no YAML: {one_line(error)}") from None
    settings = document.get("jobqueue") if isinstance(document, dict) else None
    if not isinstance(settings, dict) or len(settings) != 1 or next(iter(settings)) not in JOBQUEUES:
        raise ValueError(f"{path}: key jobqueue with exactly one of {', '.join(JOBQUEUES)} expected")
    ((system, own),) = settings.items()
    jobqueue = _imported("dask_jobqueue" if system != "local" else "dask_jobqueue.local", "dask-jobqueue")
    try:
        dashboard = {"scheduler_options": {"dashboard_address": ":0"}}  # any port: the usual one may be another user's
        cluster = getattr(jobqueue, JOBQUEUES[system])(**{**dashboard, **own})
        cluster.scale(jobs)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return cluster


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"--cluster needs Dask ({error}); pip install {package}") from None
