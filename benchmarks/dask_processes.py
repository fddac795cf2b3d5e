# SPDX-License-Identifier: GPL-3.0-or-later
"""A Dask scheduler and its workers in processes of their own, for tests and measurements."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["DaskProcesses", "cpu_seconds"]

PATIENCE_S = 120


class DaskProcesses:
    """A scheduler, which has no gr_kaq, and its workers; a context manager, which kills them.

    Args:
        folder: for their logs.
        host: where the scheduler listens.
        port: where; 0: any.
        inside: what comes before the scheduler's command, such as `ip netns exec NAME`.

    Attributes:
        address: tcp://HOST:PORT.
        process: of the scheduler.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0, inside: Sequence[str] = ()):
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        atexit.register(self.__exit__)  # where something fails before the context is entered
        options = ("--host", host, "--port", str(port), "--no-dashboard")
        self.process, log = self._begin(inside, "dask_scheduler", options, {"PYTHONPATH": None})
        self.address = _said(log, r"Scheduler at: +(tcp://\S+)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def worker(self, inside: Sequence[str] = (), **environment: str | None) -> tuple[subprocess.Popen[bytes], str]:
        """A worker that runs, and its address; with an environment that differs, None: without that variable."""
        options = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        process, log = self._begin(inside, "dask_worker", options, environment)
        address = _said(log, r"Start worker at: +(tcp://\S+)")
        _said(log, r"Registered to: +(tcp://\S+)")
        return process, address

    def _begin(
        self, inside: Sequence[str], program: str, options: Sequence[str], environment: dict[str, str | None]
    ) -> tuple[subprocess.Popen[bytes], Path]:
        log = self._folder / f"log{len(self._processes)}"
        path = os.pathsep.join(str(Path(part).resolve()) for part in sys.path if part)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        settings = {**os.environ, **threads, "PYTHONPATH": path, **environment}
        process = subprocess.Popen(
            [*inside, sys.executable, "-m", f"distributed.cli.{program}", *options],
            cwd=self._folder,
            env={key: value for key, value in settings.items() if value is not None},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        return process, log


def cpu_seconds(pid: int) -> float:
    """Of a process, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _said(log: Path, pattern: str) -> str:
    """What a log says, as soon as it does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
