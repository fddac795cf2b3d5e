# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz what is read: mutated contents of every kind, frames over ZMQ and files. Each is used, or refused in one line.

    python -m tests.fuzz.contents --seconds 60                           all kinds in turn
    python -m tests.fuzz.contents --kind models --seed 7 --case 1234     one case again

A case may take 2 s of processor time, children included, and 200 MiB. The content that it was at is in the folder
`--output`, also after a crash. The first of a kind that fails is copied to the corpus, which
tests/test_mutated_files.py tries: commit it with the change that mends it.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from tests.fuzz.contents import CORPUS, KINDS, try_content

MAX_SECONDS, MAX_MIB = 2.0, 200.0
HANG_S = 60.0
RAN_FIRST = 3  # cases of a kind in which libraries are loaded


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="for how long (default: %(default)g)")
    add("--cases", type=int, help="how many of each kind, in place of --seconds")
    add("--seed", type=int, default=1, help="of all cases (default: %(default)s)")
    add("--kind", action="append", choices=list(KINDS), help="which one, and no other; may be repeated")
    add("--case", type=int, help="this one and no other")
    add("--output", type=Path, default=Path("out/fuzz"), help="where contents.json goes (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Fuzz; the exit status is 1 when anything failed."""
    options = parse_options()
    names = options.kind or list(KINDS)
    if options.case is not None:
        numbers: Iterable[int] = [options.case]
    else:
        numbers = range(options.cases) if options.cases else itertools.count()
    deadline = math.inf if options.cases or options.case is not None else time.monotonic() + options.seconds
    counts = {name: dict.fromkeys(("cases", "failed", "seconds", "mib"), 0.0) for name in names}
    for number in numbers:
        if time.monotonic() > deadline:
            break
        for name in names:
            run(name, number, options, counts[name])
    print(f"{'kind':20} {'cases':>8} {'failed':>7} {'most s':>7} {'most MiB':>9}")
    for name, of in counts.items():
        print(f"{name:20} {of['cases']:8.0f} {of['failed']:7.0f} {of['seconds']:7.2f} {of['mib']:9.0f}")
    (options.output / "contents.json").write_text(json.dumps({"seed": options.seed, "kinds": counts}, indent=2) + "\n")
    return int(any(of["failed"] for of in counts.values()))


def run(name: str, number: int, options: argparse.Namespace, counts: dict[str, float]) -> None:
    """One case."""
    kind, folder = KINDS[name], options.output / name
    folder.mkdir(parents=True, exist_ok=True)
    content = kind.draw(np.random.default_rng([*name.encode(), options.seed, number]))
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    fault, seconds, mib = try_content(kind, content, folder)
    faulthandler.cancel_dump_traceback_later()
    if number >= RAN_FIRST:
        counts["seconds"], counts["mib"] = max(counts["seconds"], seconds), max(counts["mib"], mib)
        if not fault and (seconds > MAX_SECONDS or mib > MAX_MIB):
            fault = f"takes {seconds:.2f} s and {mib:.0f} MiB"
    counts["cases"] += 1
    if not fault:
        return
    print(f"FAILED --kind {name} --seed {options.seed} --case {number}: {fault}")
    counts["failed"] += 1
    if counts["failed"] == 1 and options.case is None:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        (CORPUS / name / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
