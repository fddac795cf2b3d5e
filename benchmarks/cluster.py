# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster costs and brings, on this machine: python -m benchmarks.cluster

Points of the report in this process, in processes, and on Dask workers of this machine, in turns: their wall time, and
the processor time that all of them take. Then units that do nothing: what the scheduler takes for each, which is what
limits the number of workers.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dask_processes import DaskProcesses, cpu_seconds
from benchmarks.report.simulate import bit_errors, iid
from benchmarks.units import importable
from gr_kaq.sweeps.cluster import Cluster
from gr_kaq.sweeps.results import Results
from gr_kaq.sweeps.units import run_units
from gr_kaq.sweeps.workers import Here, Processes, Workers

DETECTORS = ("list8-16qam", "admm5-16qam", "lmmse")


def nothing(job: dict[str, Any]) -> dict[str, Any]:
    """A unit that takes no time."""
    return job


def point(number: int, max_bits: float, **more: Any) -> dict[str, Any]:
    """A job of the report: 8x8 at 20 dB."""
    return {
        "channel": iid(8, 8),
        "constellation": "16qam",
        "snr_db": 20.0,
        "num_vectors": 4,
        "detectors": list(DETECTORS),
        "min_errors": 10**9,
        "max_bits": max_bits,
        "peer_max_bits": 0,
        "seed": number,
        "csi": {},
        **more,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, default=8, help="of each turn (default %(default)s)")
    parser.add_argument("--bits", type=float, default=1e8, help="of a point (default %(default)g)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--empty", type=int, default=5000, help="units that do nothing (default %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun is ended
    jobs = [point(number, options.bits) for number in range(options.points)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways: dict[str, Callable[[], tuple[Workers, Sequence[int]]]] = {"here": lambda: (Here(), ())}
        ways |= {f"{n} processes": lambda n=n: (Processes(n), ()) for n in (1, 2)}
        for count in (1, 2):
            own = Path(folder) / str(count)
            own.mkdir()
            dask = stack.enter_context(DaskProcesses(own))
            pids = [dask.process.pid, *(dask.worker()[0].pid for _ in range(count))]
            ways[f"{count} Dask workers"] = lambda dask=dask, pids=pids: (Cluster(dask.address), pids)
        _compare(jobs, ways, options.turns)
        _scheduler(dask, options.empty)


def _compare(
    jobs: Sequence[dict[str, Any]], ways: dict[str, Callable[[], tuple[Workers, Sequence[int]]]], turns: int
) -> None:
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    expected: list[dict[str, Any]] | None = None
    for turn in range(turns + 1):
        for name, open_way in ways.items():
            workers, pids = open_way()
            with workers:
                _run([point(10**6 + k, 1e5) for k in range(4)], workers)  # imports, detectors
                before = _all_cpu(pids)
                began = time.monotonic()
                found = _run(jobs if turn else jobs[:2], workers)
                seconds, used = time.monotonic() - began, _all_cpu(pids) - before
            if turn:  # the first one is for caches
                expected = expected or found
                assert found == expected
                wall[name].append(seconds)
                cpu[name].append(used)
    print(f"{len(jobs)} points, {turns} turns, medians; the same results to the bit")
    first = statistics.median(cpu["here"])
    for name in ways:
        seconds, used = statistics.median(wall[name]), statistics.median(cpu[name])
        print(f"{name:<16} {seconds:7.1f} s, processors {used:7.1f} s ({100 * (used / first - 1):+.1f} %)")
    for one, two in (("1 processes", "2 processes"), ("1 Dask workers", "2 Dask workers")):
        faster = sorted(a / b for a, b in zip(wall[one], wall[two], strict=True))
        print(f"{two}: {statistics.median(faster):.2f} times as fast as one ({faster[0]:.2f} to {faster[-1]:.2f})")


def _run(jobs: Sequence[dict[str, Any]], workers: Workers) -> list[dict[str, Any]]:
    return run_units(jobs, bit_errors, workers, Results(None))


def _all_cpu(pids: Sequence[int]) -> float:
    """Of this process, those of its pool, and the ones named."""
    children = [process.pid for process in multiprocessing.active_children() if process.pid]
    return time.process_time() + sum(map(cpu_seconds, [*pids, *children]))


def _scheduler(dask: DaskProcesses, count: int) -> None:
    with Cluster(dask.address) as workers:
        run_units([{"warm": n} for n in range(100)], importable(nothing), workers, Results(None))
        before, own = cpu_seconds(dask.process.pid), time.process_time()
        began = time.monotonic()
        run_units([{"n": n} for n in range(count)], importable(nothing), workers, Results(None))
        seconds = time.monotonic() - began
        scheduler = (cpu_seconds(dask.process.pid) - before) / count
        client = (time.process_time() - own) / count
    busiest = max(scheduler, client)
    print(
        f"a unit that does nothing: {1e3 * seconds / count:.2f} ms on 2 workers; the scheduler takes "
        f"{1e3 * scheduler:.2f} ms of a processor, this process {1e3 * client:.2f} ms"
    )
    print(
        f"so one scheduler and one client keep at most {5 / busiest:.0f} workers busy with units of 5 s, "
        f"{60 / busiest:.0f} with units of 60 s"
    )


if __name__ == "__main__":
    main()
