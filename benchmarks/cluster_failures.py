# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a sweep when its cluster fails: python -m benchmarks.cluster_failures (as root)

Eight workers, each in a network namespace of its own, behind a bridge that has the scheduler. Every case counts the
same BER points, in units of half a second, while something is killed, cut off, slow or full. A sweep that this has
ended goes on afterwards. The results have to be those of one process, with every unit in the file once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dask_processes import DaskProcesses
from benchmarks.units import importable
from gr_kaq.links.ber_units import count_unit, point_units
from gr_kaq.sweeps.cluster import Cluster
from gr_kaq.sweeps.results import Result, Results
from gr_kaq.sweeps.units import Series, run_series
from gr_kaq.sweeps.workers import Here

WORKERS = 8
NETWORK = "10.199.24"
UNIT_S = 0.5
UNIT_BITS = 32_000
SLOW = "KAQ_SLOW_UNITS"
MIN_ERRORS = 6000
SNRS = (16.0, 18.0, 20.0, 22.0, 24.0)
UNITS = 40
BREAK_AFTER_S = 2.0


def unit(job: dict[str, Any]) -> dict[str, Any]:
    """Some 32 000 bits, in half a second; in ten times as long where the environment says so."""
    time.sleep(UNIT_S * (10 if SLOW in os.environ else 1))
    return count_unit(job)


def points() -> list[Series]:
    """The sweep: 55 units count."""
    most = {"min_errors": MIN_ERRORS, "max_bits": UNITS * UNIT_BITS, "bits_per_unit": UNIT_BITS}
    return [point_units(["lmmse", "admm5-16qam"], "16qam", 4, 4, snr_db, seed=1, **most) for snr_db in SNRS]


@contextlib.contextmanager
def namespaces() -> Iterator[list[str]]:
    """Names of network namespaces that reach each other, and this one at NETWORK.254."""
    names = [f"kaq{number}" for number in range(WORKERS)]
    bridge = "kaqbridge"

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)

    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("address", "add", f"{NETWORK}.254/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names):
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", bridge, "up")
            ip("-n", name, "address", "add", f"{NETWORK}.{number + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("link", "delete", f"{name}v", check=False)  # a worker that still ends would keep it
            ip("netns", "delete", name, check=False)
        ip("link", "delete", bridge, check=False)


class Case:
    """A cluster with a sweep that has begun.

    Attributes:
        dask: the scheduler.
        workers: their processes.
        folder: of the file of results.
    """

    def __init__(self, folder: Path, names: Sequence[str], **slow: str):
        (folder / "dask").mkdir(parents=True)
        self.folder, self.names = folder / "results", names
        self.folder.mkdir()
        self.dask = DaskProcesses(folder / "dask", host=f"{NETWORK}.254")
        self.workers = [
            self.dask.worker(("ip", "netns", "exec", name), **(slow if name == names[0] else {}))[0] for name in names
        ]

    def run(self, function: Callable[[dict[str, Any]], dict[str, Any]]) -> list[list[Result]]:
        """The sweep, to its end."""
        with Cluster(self.dask.address) as workers, Results(self.folder / "units.jsonl") as results:
            return run_series(points(), function, workers, results)


def nothing(case: Case) -> None:
    """Nothing fails"""


def kill_workers(case: Case) -> None:
    """Three of eight workers are killed"""
    for process in case.workers[:3]:
        process.kill()


def cut_off(case: Case) -> None:
    """The link of a worker goes down, and does not come back"""
    subprocess.run(["ip", "link", "set", f"{case.names[1]}v", "down"], check=True)


def kill_scheduler(case: Case) -> None:
    """The scheduler is killed"""
    case.dask.process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun is ended
    expected = run_series(points(), count_unit, Here(), Results(None))
    print(f"{len(SNRS)} points, {sum(map(len, expected))} units of {UNIT_S:g} s, {WORKERS} workers", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as name, namespaces() as names:
        folder = Path(name)
        cases: list[tuple[str, Callable[[Case], None], dict[str, str]]] = [
            (break_it.__doc__ or "", break_it, {}) for break_it in (nothing, kill_workers, cut_off, kill_scheduler)
        ]
        cases.append(("A worker takes ten times as long", nothing, {SLOW: "1"}))
        for number, (title, break_it, slow) in enumerate(cases):
            case = Case(folder / str(number), names, **slow)
            with case.dask:
                wrong += _try(title, case, break_it, importable(unit), expected)
            subprocess.run(["ip", "link", "set", f"{names[1]}v", "up"], check=True)
        for number, (title, options) in enumerate(
            (("The disk is full", "size=16k"), ("The folder is read-only", "ro,size=1m")), len(cases)
        ):
            case = Case(folder / str(number), names)
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "kaq", case.folder], check=True)
            try:
                with case.dask:
                    wrong += _try(title, case, nothing, importable(unit), expected)
            finally:
                subprocess.run(["umount", case.folder], check=True)
    return 1 if wrong else 0


def _try(
    title: str,
    case: Case,
    break_it: Callable[[Case], None],
    function: Callable[[dict[str, Any]], dict[str, Any]],
    expected: list[list[Result]],
) -> bool:
    """Run a case, and again on what is left or repaired if it failed; returns whether something was wrong."""
    said: list[str] = []
    timer = threading.Timer(BREAK_AFTER_S, break_it, (case,))
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        timer.start()
        try:
            found = case.run(function)
        except (OSError, RuntimeError) as error:
            said.append(f"error: {error}")
            found = None
        timer.join()
    seconds = time.monotonic() - began
    said += [f"warning: {w.message}" for w in warned if w.category is UserWarning]
    kept = _lines(case.folder)
    if found is None:
        subprocess.run(["mount", "-o", "remount,rw,size=1m", case.folder], check=False, stderr=subprocess.DEVNULL)
        with Results(case.folder / "units.jsonl") as results:
            found = run_series(points(), count_unit, Here(), results)
    keys = _lines(case.folder)
    right = found == expected and len(keys) == len(set(keys)) and keys[: len(kept)] == kept
    print(f"{title}: {seconds:.1f} s, {len(kept)} units kept; {'right' if right else 'WRONG'}", flush=True)
    for line in said:
        print(f"    {line}", flush=True)
    return not right


def _lines(folder: Path) -> list[str]:
    """The jobs in the file of results."""
    path = folder / "units.jsonl"
    return [json.dumps(json.loads(line)["job"]) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
