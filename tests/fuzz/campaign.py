# SPDX-License-Identifier: GPL-3.0-or-later
"""Many cases: children that run them, what came of each, and the corpus of those that failed."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Campaign", "Job", "Outcome", "load_corpus", "load_known"]

BATCH = 200  # cases of one child
GRACE_S = 10.0  # for the watchdog in the child
START_S = 60.0
GROWTH_MIB = 150  # of a batch, after its first cases
WARM = 40  # cases


class Job(NamedTuple):
    """What gives a case."""

    block: str
    seed: int
    case: int


@dataclass
class Outcome:
    """What came of a case."""

    job: Job
    failures: list[str]
    log: str = ""
    known: list[str] = field(default_factory=list)  # failures of which the corpus says that they are open
    did: list[str] = field(default_factory=list)
    seconds: float = 0.0
    rss_kib: int = 0

    def text(self, whole: bool) -> str:
        """For the reader: the symptom, and how to have it again."""
        block, seed, case = self.job
        lines = [f"FAILED --block {block} --seed {seed} --case {case}: {'; '.join(self.failures)}"]
        lines += [f"  {line}" for line in (*self.did, *self.log.splitlines())] if whole else []
        return "\n".join(lines)


def kind(failure: str) -> str:
    """A symptom without what differs from case to case."""
    return re.sub(r"[0-9.]+", "#", failure.splitlines()[0])[:120]


class Child:
    """A process that runs cases, one after the other."""

    def __init__(self, limit: float):
        self.limit = limit
        self.folder = tempfile.TemporaryDirectory(prefix="kaq-fuzz-")
        self.log = Path(self.folder.name) / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.fuzz.worker", "--log", str(self.log), "--limit", str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.done = 0
        self.warm_kib = self.rss_kib = 0

    def run(self, job: Job) -> Outcome:
        """Run a case; the child has ended if it did not survive."""
        assert self.process.stdin and self.process.stdout
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{job.block} {job.seed} {job.case}\n")
            self.process.stdin.flush()
            patience = self.limit + GRACE_S + (0 if self.done else START_S)
            if select.select([self.process.stdout], [], [], patience)[0]:
                answer = self.process.stdout.readline()
        if not answer:
            return Outcome(job, [self._epitaph()], self._log())
        self.done += 1
        outcome = Outcome(job, **json.loads(answer))
        self.rss_kib = outcome.rss_kib
        if self.done == WARM:
            self.warm_kib = outcome.rss_kib
        return outcome

    def growth_mib(self) -> float:
        """How much it has grown since it was warm."""
        return (self.rss_kib - self.warm_kib) / 1024 if self.warm_kib else 0.0

    def _log(self) -> str:
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    def _epitaph(self) -> str:
        """How it ended."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "hang: not even the watchdog runs"
        log = self._log()
        if "Timeout (" in log:
            return f"hang: {hung_at(log)}"
        return f"crash: signal {-status}" if status < 0 else f"crash: exit status {status}"

    def close(self) -> None:
        """Have it end."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


def hung_at(log: str) -> str:
    """Where the main thread stood: the innermost place in the harness or the package."""
    stacks = log[log.index("Timeout (") :].split("\n\n")
    places = re.findall(r'File "([^"]+)", line \d+ in (\w+)', stacks[-1])
    return " < ".join(f"{Path(path).stem}.{name}" for path, name in places[:4]) or "nowhere in Python"


class Campaign:
    """Runs cases in several children side by side.

    Args:
        num_children: how many.
        limit: seconds that a case may take.
        seconds: for the whole of it; None: until the cases end.
        known: block and symptom of faults that are open: they are counted, and fail nothing.
    """

    def __init__(
        self,
        num_children: int,
        limit: float = 20.0,
        seconds: float | None = None,
        known: Collection[tuple[str, str]] = (),
    ):
        self._num_children, self._limit, self._known = num_children, limit, known
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self.count = self.num_failed = 0
        self.cases: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self.failed_cases: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.growths: list[float] = []
        self.known: Counter[tuple[str, str]] = Counter()

    def run(self, jobs: Iterable[Job], show: Callable[[Outcome], None] = lambda outcome: None) -> None:
        """Run them all, or as many as there is time for."""
        waiting = iter(jobs)
        threads = [threading.Thread(target=self._run, args=(waiting, show)) for _ in range(self._num_children)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, waiting: Iterator[Job], show: Callable[[Outcome], None]) -> None:
        child: Child | None = None
        while True:
            with self._lock:
                late = self._deadline is not None and time.monotonic() > self._deadline
                job = None if late else next(waiting, None)
            if job is None:
                break
            child = child or Child(self._limit)
            outcome = child.run(job)
            if child.process.poll() is None and child.done == BATCH and child.growth_mib() > GROWTH_MIB:
                outcome.failures.append(f"memory: {child.growth_mib():.0f} MiB over a batch, up to this case")
            with self._lock:
                self._note(outcome)
                show(outcome)
            if child.process.poll() is not None or child.done >= BATCH:
                if child.warm_kib:
                    self.growths.append(child.growth_mib() / max(1, child.done - WARM))
                child.close()
                child = None
        if child:
            child.close()

    def _note(self, outcome: Outcome) -> None:
        self.count += 1
        self.cases[outcome.job.block] += 1
        self.seconds[outcome.job.block] += outcome.seconds
        block = outcome.job.block
        outcome.known = [failure for failure in outcome.failures if (block, kind(failure)) in self._known]
        outcome.failures = [failure for failure in outcome.failures if failure not in outcome.known]
        self.known.update({(block, kind(failure)) for failure in outcome.known})
        if outcome.failures:
            self.num_failed += 1
            self.failed_cases[outcome.job.block] += 1
            self.failed.append(outcome)

    def symptoms(self) -> dict[tuple[str, str], list[Outcome]]:
        """The cases that failed, by block and kind of symptom."""
        found: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in self.failed:
            for symptom in dict.fromkeys(map(kind, outcome.failures)):
                found.setdefault((outcome.job.block, symptom), []).append(outcome)
        return found

    def report(self, seed: int, seconds: float) -> dict[str, Any]:
        """Everything, for other programs."""
        return {
            "seed": seed,
            "seconds": round(seconds, 1),
            "cases": self.count,
            "failed": self.num_failed,
            "blocks": {
                block: {"cases": count, "failed": self.failed_cases[block], "seconds": round(self.seconds[block], 1)}
                for block, count in sorted(self.cases.items())
            },
            "growth_mib_per_case": [round(growth, 3) for growth in self.growths],
            "known": [
                {"block": block, "symptom": symptom, "cases": count}
                for (block, symptom), count in sorted(self.known.items())
            ],
            "symptoms": [
                {
                    "block": block,
                    "symptom": symptom,
                    "cases": len(outcomes),
                    "first": outcomes[0].job._asdict(),
                    "failures": outcomes[0].failures,
                    "did": outcomes[0].did,
                    "log": outcomes[0].log,
                }
                for (block, symptom), outcomes in sorted(self.symptoms().items())
            ],
        }

    def table(self) -> str:
        """The same, for people."""
        lines = [f"{'block':20} {'cases':>8} {'failed':>7} {'ms/case':>8}"]
        for block, count in sorted(self.cases.items()):
            mean = 1000 * self.seconds[block] / count
            lines.append(f"{block:20} {count:8} {self.failed_cases[block]:7} {mean:8.0f}")
        for (block, symptom), outcomes in sorted(self.symptoms().items(), key=lambda entry: -len(entry[1])):
            first = outcomes[0].job
            lines.append(f"{len(outcomes):5} x {block}: {symptom} (--seed {first.seed} --case {first.case})")
        lines += [f"{count:5} x {block}: {symptom} (known)" for (block, symptom), count in sorted(self.known.items())]
        return "\n".join(lines)

    def add_to(self, path: Path) -> int:
        """Add a case for each symptom that the corpus has not; returns how many."""
        old = entries(path)
        known = {(entry["block"], entry["symptom"]) for entry in old}
        new = [
            {**outcomes[0].job._asdict(), "symptom": symptom}
            for (block, symptom), outcomes in sorted(self.symptoms().items())
            if (block, symptom) not in known
        ]
        if new:
            path.write_text("[\n" + ",\n".join("  " + json.dumps(entry) for entry in old + new) + "\n]\n")
        return len(new)


def entries(path: Path) -> list[dict[str, Any]]:
    """The corpus as it is written."""
    return json.loads(path.read_text()) if path.exists() else []


def load_corpus(path: Path) -> list[Job]:
    """The cases that once failed."""
    return [Job(entry["block"], entry["seed"], entry["case"]) for entry in entries(path)]


def load_known(path: Path) -> set[tuple[str, str]]:
    """Block and symptom of the faults that are open: the corpus says why."""
    return {(entry["block"], entry["symptom"]) for entry in entries(path) if "open" in entry}
