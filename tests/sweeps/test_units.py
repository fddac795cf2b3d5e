# SPDX-License-Identifier: GPL-3.0-or-later
"""Units in this process and in others: the same results, each once, whatever happens to the processes."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gr_kaq.links.ber_units import count_unit, counts_of, units_needed
from gr_kaq.sweeps.results import Results
from gr_kaq.sweeps.units import Series, run_series, run_units
from gr_kaq.sweeps.workers import Here, Processes, Workers
from tests.sweeps import work


def in_memory() -> Results:
    return Results(None)


@pytest.fixture(scope="module")
def alone():
    """What one process counts."""
    return run_series(work.points(), count_unit, Here(), in_memory())


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class AnyOrder(Workers):
    """So many workers that finish in an order of their own."""

    def __init__(self, count: int, seed: int):
        self._count, self._rng, self.units = count, random.Random(seed), []

    @property
    def count(self) -> int:
        return self._count

    def submit(self, function, job) -> None:
        self.units.append((function, job))

    def next_done(self):
        function, job = self.units.pop(self._rng.randrange(len(self.units)))
        return job, function(job)

    def close(self) -> None:
        self.units.clear()


def test_a_series_ends_with_the_unit_that_is_enough(alone):
    for results, snr_db in zip(alone, (16.0, 20.0, 22.0, 30.0), strict=True):
        fewest = [min(c.errors for c in counts_of(results[: k + 1])) for k in range(len(results))]
        assert all(errors < work.MIN_ERRORS for errors in fewest[:-1])
        assert fewest[-1] >= work.MIN_ERRORS or len(results) == work.UNITS, snr_db
    assert 1 < len(alone[0]) < len(alone[1]) < len(alone[2]) < len(alone[3]) == work.UNITS


def test_units_have_random_numbers_of_their_own():
    series = work.point(12.0)
    results = [count_unit(series.job(unit)) for unit in (0, 1, 1, 2)]
    assert results[1] == results[2]
    assert len({tuple(r["errors"]) for r in results}) == 3


@pytest.mark.parametrize("seed", range(20))
def test_neither_number_nor_order_matters(seed, alone):
    workers = AnyOrder(1 + seed % 7, seed)
    seen = []
    found = run_series(work.points(), count_unit, workers, in_memory(), seen.append)
    assert found == alone
    assert seen[-1].finished == seen[-1].planned == sum(map(len, found))


@pytest.mark.parametrize("count", [2, 5])
def test_processes_give_the_same(count, alone, tmp_path):
    path = tmp_path / "units.jsonl"
    with Processes(count) as workers, Results(path) as results:
        assert run_series(work.points(), count_unit, workers, results) == alone
    keys = [json.dumps(line["job"]) for line in lines(path)]
    assert len(keys) == len(set(keys)) >= sum(map(len, alone))
    # and again, from the file
    with Processes(count) as workers, Results(path) as results:
        assert run_series(work.points(), pytest.fail, workers, results) == alone


def test_a_killed_process_costs_its_unit(alone, tmp_path):
    path = tmp_path / "units.jsonl"
    series = work.points(marker=str(tmp_path / "died"))
    with Processes(2) as workers, Results(path) as results:
        found = run_series(series, work.count_and_die_once, workers, results)
    assert found == alone
    assert len(list(tmp_path.glob("died-*"))) >= 3
    keys = [json.dumps(line["job"]) for line in lines(path)]
    assert len(keys) == len(set(keys))


def test_units_that_kill_every_process_are_an_error():
    with Processes(2) as workers, pytest.raises(ChildProcessError, match="killed again and again"):
        run_units([{"n": n} for n in range(4)], work.always_die, workers, in_memory())


def test_an_error_in_a_process_is_raised_here():
    with Processes(2) as workers, pytest.raises(ArithmeticError, match="no result for 0"):
        run_units([{"n": 0}], work.raise_always, workers, in_memory())


def test_no_more_units_are_planned_than_errors_need():
    results = [{"errors": [10, 40], "bits": [1000, 1000]}]
    assert units_needed([], 100) == 1
    assert units_needed(results, 100) == 10
    assert units_needed(results * 10, 100) == 10
    assert units_needed(results * 11, 100) == 10
    assert units_needed([{"errors": [0], "bits": [1000]}] * 4, 100) == 8


def test_workers_without_work_begin_what_may_be_needed():
    workers = AnyOrder(4, 1)
    series = [Series(lambda unit, n=n: {"n": n, "unit": unit}, 3, lambda results: 1) for n in range(2)]
    handed_out = []
    run_series(series, lambda job: handed_out.append((job["n"], job["unit"])) or {}, workers, in_memory())
    assert sorted(handed_out)[:2] != [] and {(0, 0), (1, 0)} <= set(handed_out)


def test_jobs_that_are_alike_are_run_once(tmp_path):
    log = str(tmp_path / "log")
    with Processes(2) as workers:
        found = run_units([{"n": 3, "log": log}] * 3 + [{"n": 4, "log": log}], work.square, workers, in_memory())
    assert [r["square"] for r in found] == [9, 9, 9, 16]
    assert sorted(line.split()[0] for line in Path(log).read_text().splitlines()) == ["3", "4"]


# -- the file


def test_a_line_that_was_cut_off_is_run_again(tmp_path):
    path = tmp_path / "units.jsonl"
    with Results(path) as results:
        run_units([{"n": n} for n in range(4)], work.square, Here(), results)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        complete = whole[:end].count(b"\n") + (whole[end : end + 1] == b"\n")
        with Results(path) as results:
            assert len(results) == complete
            found = run_units([{"n": n} for n in range(4)], work.square, Here(), results)
        assert [r["square"] for r in found] == [0, 1, 4, 9]
        with Results(path) as results:
            assert len(results) == 4


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"job": {"n": 1}}', b'{"job": 1, "result": 2}', b"\xff", b"null", b""])
def test_lines_that_are_no_results_do_not_count(line, tmp_path):
    path = tmp_path / "units.jsonl"
    path.write_bytes(
        line + b'\n{"job": {"n": 2}, "result": {"square": 4}}\n{"job": {"n": 2}, "result": {"square": 5}}\n'
    )
    with Results(path) as results:
        assert len(results) == 1 and results.get({"n": 2}) == {"square": 4}


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            Results(path)


def test_two_sweeps_do_not_write_one_file(tmp_path):
    with Results(tmp_path / "f"), pytest.raises(BlockingIOError, match="another process writes it"):
        Results(tmp_path / "f")
    Results(tmp_path / "f").close()


def test_a_file_that_can_grow_no_more_is_said_in_one_line(tmp_path):
    """The limit lies within the second line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Results(tmp_path / "f") as results:
        results.add({"n": 1}, {"square": 1})
        first = (tmp_path / "f").read_bytes()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 10, hard))
            with pytest.raises(OSError, match=r"1 finished units are kept.*/f'") as error:
                results.add({"n": 2}, {"square": 4})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.errno == errno.EFBIG
        assert (tmp_path / "f").read_bytes() == first
        results.add({"n": 3}, {"square": 9})
    assert [line["job"]["n"] for line in lines(tmp_path / "f")] == [1, 3]


def test_an_interrupt_keeps_what_is_finished(tmp_path, control_c):
    """Ctrl-C in a process of its own, with two more; then the same again, to the end."""
    path = tmp_path / "units.jsonl"
    program = (
        "import sys; from pathlib import Path; from tests.sweeps import work\n"
        "from gr_kaq.sweeps.results import Results; from gr_kaq.sweeps.units import run_units\n"
        "from gr_kaq.sweeps.workers import Processes\n"
        "if __name__ == '__main__':\n"
        f"    with Processes(2) as workers, Results(Path({str(path)!r})) as results:\n"
        "        jobs = [{'n': n, 'seconds': 0.3} for n in range(20)]\n"
        "        try: run_units(jobs, work.square, workers, results)\n"
        "        except KeyboardInterrupt: sys.exit(130)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = tmp_path / "program.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 300
    while not (path.exists() and len(path.read_bytes().splitlines()) >= 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130 and "Traceback" not in said, said
    kept = lines(path)
    assert 3 <= len(kept) < 20
    with Results(path) as results:
        found = run_units([{"n": n, "seconds": 0.3} for n in range(20)], work.square, AnyOrder(20, 1), results)
    assert [r["square"] for r in found] == [n * n for n in range(20)]
    assert lines(path)[: len(kept)] == kept


def test_threads_are_one_for_each_process():
    from threadpoolctl import threadpool_info

    def threads(job):
        return {"most": max((pool["num_threads"] for pool in threadpool_info()), default=1)}

    assert run_units([{}], threads, Here(), in_memory()) == [{"most": 1}]
    assert threading.active_count() >= 1
