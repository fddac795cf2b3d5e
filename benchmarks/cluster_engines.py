# SPDX-License-Identifier: GPL-3.0-or-later
"""The same work on Dask, on Ray and on Python's process pool: python -m benchmarks.cluster_engines dask|ray|pool

Each in an environment that has it; two workers on this machine. Start (import, cluster, first task), memory of all
processes (proportional set size), processor time of a task that does nothing, points of the report, and what a killed
worker does to six tasks of two seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EMPTY = 1000
WORKERS = 2


def nothing(number: int) -> int:
    return number


def worker_pid(_: int) -> int:
    time.sleep(0.5)
    return os.getpid()


def slow(number: int) -> int:
    time.sleep(2)
    return number


def point(number: int) -> dict[str, Any]:
    """A point of the report, 4x4."""
    from benchmarks.cluster import point as job  # noqa: PLC0415 - what a worker imports
    from benchmarks.report.simulate import bit_errors, iid  # noqa: PLC0415

    return bit_errors(job(number, 4e6, channel=iid(4, 4), detectors=["admm5-16qam", "lmmse"]))


Run = Callable[[Callable[[int], Any], Sequence[int]], list[Any]]


def dask() -> tuple[Run, Callable[[], None]]:
    from distributed import Client, LocalCluster  # noqa: PLC0415

    cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)

    def close() -> None:
        client.close()
        cluster.close()

    return lambda function, numbers: client.gather([client.submit(function, n, pure=False) for n in numbers]), close


def ray() -> tuple[Run, Callable[[], None]]:
    import ray as engine  # noqa: PLC0415

    engine.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def run(function: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
        remote = engine.remote(function)
        return engine.get([remote.remote(n) for n in numbers])

    return run, engine.shutdown


def pool() -> tuple[Run, Callable[[], None]]:
    import multiprocessing  # noqa: PLC0415
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    executor = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))
    return lambda function, numbers: list(executor.map(function, numbers)), executor.shutdown


ENGINES = {"dask": dask, "ray": ray, "pool": pool}


def family(pid: int) -> list[int]:
    """A process and all that it and its children have begun."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    threads = [Path(f"/proc/{pid}/task/{t}/children") for t in os.listdir(f"/proc/{pid}/task") if int(t) != pid]
    children += [child for path in threads if path.exists() for child in path.read_text().split()]
    return [pid, *(one for child in children for one in family(int(child)))]


def pss_mib() -> float:
    total = 0
    for pid in family(os.getpid()):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cpu_s() -> float:
    from benchmarks.dask_processes import cpu_seconds  # noqa: PLC0415

    return sum(cpu_seconds(pid) for pid in family(os.getpid()))


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", choices=ENGINES)
    engine = parser.parse_args().engine
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # by the names under which workers import them
    import benchmarks.cluster_engines as own  # noqa: PLC0415

    run, close = ENGINES[engine]()
    run(own.nothing, [0])
    print(f"{engine}: start {time.monotonic() - began:.1f} s")
    time.sleep(1)
    print(f"memory {pss_mib():.0f} MiB in {len(family(os.getpid()))} processes")
    used = cpu_s()
    run(own.nothing, range(EMPTY))
    print(f"a task that does nothing: {1e3 * (cpu_s() - used) / EMPTY:.2f} ms of a processor, all processes together")
    run(own.point, range(2))
    began, used = time.monotonic(), cpu_s()
    run(own.point, range(2, 10))
    print(f"8 points: {time.monotonic() - began:.1f} s, processors {cpu_s() - used:.1f} s; memory {pss_mib():.0f} MiB")
    pid = run(own.worker_pid, range(4))[0]
    killer = threading.Timer(1.0, os.kill, (pid, signal.SIGKILL))
    killer.start()
    began = time.monotonic()
    try:
        print(f"a worker killed: {run(own.slow, range(6))} after {time.monotonic() - began:.1f} s")
    except Exception as error:
        print(f"a worker killed: {type(error).__name__}: {' '.join(str(error).split())[:90]}")
    began = time.monotonic()
    close()
    print(f"end {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
