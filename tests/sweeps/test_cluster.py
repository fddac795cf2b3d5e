# SPDX-License-Identifier: GPL-3.0-or-later
"""Units on Dask workers, and what may go wrong there."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="Dask is not installed (requirements-dev.txt)")

import gr_kaq
from gr_kaq.commands.kaq import main
from gr_kaq.links.ber_units import count_unit
from gr_kaq.sweeps import cluster
from gr_kaq.sweeps.cluster import Cluster
from gr_kaq.sweeps.results import Results
from gr_kaq.sweeps.units import run_series, run_units
from gr_kaq.sweeps.workers import Here
from tests.sweeps import work


@pytest.fixture(scope="module")
def alone():
    """What one process counts."""
    return run_series(work.points(), count_unit, Here(), Results(None))


def keys(path: Path) -> list[str]:
    return [json.dumps(json.loads(line)["job"]) for line in path.read_text().splitlines()]


def lines_of(said: list[warnings.WarningMessage]) -> list[str]:
    """Ours, and not those of Python's about sockets of Dask."""
    return [str(warning.message) for warning in said if warning.category is UserWarning]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_workers_gives_the_same(count, dask, alone, tmp_path):
    scheduler = dask()
    for _ in range(count):
        scheduler.worker()
    path = tmp_path / "units.jsonl"
    with Cluster(scheduler.address) as workers, Results(path) as results:
        assert workers.count == count
        assert run_series(work.points(), count_unit, workers, results) == alone
    assert len(keys(path)) == len(set(keys(path))) >= sum(map(len, alone))


def test_a_killed_worker_costs_its_unit(dask, alone, tmp_path):
    """Two of three workers are killed in a unit each."""
    scheduler = dask()
    begun = [scheduler.worker()[0] for _ in range(3)]
    path = tmp_path / "units.jsonl"
    series = [work.point(22.0, marker=str(tmp_path / "died")), work.point(30.0, marker=str(tmp_path / "died"))]
    with Cluster(scheduler.address) as workers, Results(path) as results:
        assert run_series(series, work.count_and_die_once, workers, results) == alone[2:]
    assert sum(process.poll() is not None for process in begun) == 2
    assert len(keys(path)) == len(set(keys(path)))


def test_workers_may_come_later(dask):
    scheduler = dask()
    late = threading.Timer(1.0, scheduler.worker)
    late.start()
    with warnings.catch_warnings(record=True) as said, Cluster(scheduler.address) as workers:
        warnings.simplefilter("always")
        assert run_units([{"n": 3}], work.square, workers, Results(None)) == [{"square": 9}]
    late.join()
    (line,) = lines_of(said)
    assert "has no workers yet; waiting" in line


def test_a_lost_scheduler_is_said_and_what_is_finished_is_kept(dask, tmp_path, capfd):
    scheduler = dask()
    scheduler.worker()
    path = tmp_path / "units.jsonl"
    jobs = [{"n": n, "seconds": 0.2} for n in range(100)]
    with (
        Cluster(scheduler.address) as workers,
        Results(path) as results,
        pytest.raises(ConnectionError, match=f"{scheduler.address} was lost; the same command goes on"),
    ):
        run_units(jobs, work.square, workers, results, done=lambda _: scheduler.process.kill())
    assert capfd.readouterr().err == ""
    assert 1 <= len(keys(path)) < 100
    # and another one finishes it
    again = dask()
    again.worker()
    with Cluster(again.address) as workers, Results(path) as results:
        found = run_units(jobs[:20], work.square, workers, results)
    assert [r["square"] for r in found] == [n * n for n in range(20)]
    assert len(keys(path)) == len(set(keys(path)))


def test_a_unit_that_raises_on_one_worker_runs_on_another(dask):
    scheduler = dask()
    _, broken = scheduler.worker(KAQ_TEST_RAISE="1")
    scheduler.worker()
    jobs = [{"n": n, "seconds": 0.1} for n in range(12)]
    with warnings.catch_warnings(record=True) as said, Cluster(scheduler.address) as workers:
        warnings.simplefilter("always")
        found = run_units(jobs, work.raise_where_told, workers, Results(None))
        assert workers.count == 1
    assert [r["square"] for r in found] == [n * n for n in range(12)]
    (line,) = lines_of(said)
    assert line == f"worker {broken} on {socket.gethostname()} gets no more units: ArithmeticError: a broken machine"


def test_a_unit_that_raises_everywhere_ends_the_sweep(dask, tmp_path):
    scheduler = dask()
    addresses = {scheduler.worker()[1] for _ in range(3)}
    path = tmp_path / "units.jsonl"
    with Cluster(scheduler.address) as workers, Results(path) as results, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_units([{"n": 1}], work.square, workers, results)
        with pytest.raises(ChildProcessError, match="a unit failed on worker .*: no result for 7; on worker") as error:
            run_units([{"n": 7}], work.raise_always, workers, results)
    assert sum(address in str(error.value) for address in addresses) == 2
    assert len(keys(path)) == 1


def test_units_that_kill_every_worker_are_said(dask):
    """Dask gives up after three."""
    scheduler = dask()
    for _ in range(4):
        scheduler.worker()
    with Cluster(scheduler.address) as workers, pytest.raises(ChildProcessError, match="ended every worker .*tcp://"):
        run_units([{"n": 1}], work.always_die, workers, Results(None))


@pytest.fixture
def other_version(tmp_path):
    """A folder with another gr_kaq."""
    folder = tmp_path / "other" / "gr_kaq"
    shutil.copytree(Path(gr_kaq.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "__init__.py"
    init.write_text(init.read_text().replace(f'__version__ = "{gr_kaq.__version__}"', '__version__ = "0.0.1"'))
    return str(folder.parent)


def test_workers_with_another_version_are_named(dask, other_version):
    scheduler = dask()
    _, foreign = scheduler.worker(PYTHONPATH=other_version)
    with (
        Cluster(scheduler.address) as workers,
        pytest.raises(ChildProcessError, match=rf"{foreign} on .*: gr_kaq 0\.0\.1 there, .* here.*no other worker"),
    ):
        run_units([work.point(16.0).job(0)], count_unit, workers, Results(None))


def test_a_worker_without_gr_kaq_is_named_and_others_do_the_work(dask, alone):
    scheduler = dask()
    _, empty = scheduler.worker(PYTHONPATH=None)
    scheduler.worker()
    with warnings.catch_warnings(record=True) as said, Cluster(scheduler.address) as workers:
        warnings.simplefilter("always")
        assert run_series(work.points(), count_unit, workers, Results(None)) == alone
    (line,) = lines_of(said)
    assert f"worker {empty} on" in line and "No module named 'gr_kaq'" in line


# -- where there is no scheduler


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 3.0)


def test_nobody_listens(impatient):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"tcp://127.0.0.1:{port}: no Dask scheduler can be reached"):
        Cluster(f"tcp://127.0.0.1:{port}")


def test_something_else_listens(impatient):
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        port = server.stdout.readline().split()[5]
        try:
            with pytest.raises(
                ConnectionError, match="can be reached: (no answer in Dask's language|Timed out during handshake)"
            ):
                Cluster(f"tcp://127.0.0.1:{port}")
        finally:
            server.kill()


def test_a_worker_is_no_scheduler(dask):
    _, address = dask().worker()
    with pytest.raises(ConnectionError, match="it is a Worker, and no scheduler"):
        Cluster(address)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory; a file, or an address such as tcp"),
        ("a: [", "no YAML"),
        ("jobqueue: {}", "exactly one of slurm, pbs"),
        ("jobqueue: {slurm: {}, pbs: {}}", "exactly one of slurm, pbs"),
        ("jobqueue: {local: {cores: 1, memory: 1GiB, colour: red}}", "colour"),
    ],
)
def test_files_that_state_no_cluster(text, message, tmp_path):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (requirements-dev.txt)")
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Cluster(str(path))


# -- the command


def test_the_command_on_a_cluster(dask, tmp_path, capsys):
    scheduler = dask()
    for _ in range(2):
        scheduler.worker()
    ber = ["ber", "admm5-16qam", "--num-rx", "4", "--num-tx", "4", "--snr", "10:30:4", "--max-bits", "2e5"]
    assert main(ber) == 0
    table = capsys.readouterr().out
    keep = ["--keep", str(tmp_path / "units.jsonl")]
    assert main([*ber, *keep, "--cluster", scheduler.address]) == 0
    shown = capsys.readouterr()
    assert shown.out == table and "2 workers" in shown.err
    assert len(keys(tmp_path / "units.jsonl")) == 6
    # the file alone
    assert main([*ber, *keep]) == 0
    assert capsys.readouterr().out == table


def test_the_command_with_jobs_of_its_own(tmp_path, capsys):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (requirements-dev.txt)")
    path = tmp_path / "here.yaml"
    settings = {"cores": 1, "memory": "1GiB", "processes": 1, "local_directory": str(tmp_path)}
    path.write_text(json.dumps({"jobqueue": {"local": settings}}))
    ber = ["ber", "zf", "--constellation", "qpsk", "--num-tx", "2", "--snr", "0 10", "--max-bits", "2e4"]
    assert main(ber) == 0
    table = capsys.readouterr().out
    assert main([*ber, "--cluster", str(path), "--jobs", "2"]) == 0
    assert capsys.readouterr().out == table


def test_without_dask_the_command_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["ber", "zf", "--constellation", "qpsk", "--snr", "0", "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert "--cluster needs Dask" in capsys.readouterr().err
