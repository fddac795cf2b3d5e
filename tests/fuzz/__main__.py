# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz every block in real flowgraphs: anything on their ports, tags, sockets and messages, at any time.

    python -m tests.fuzz --seconds 60                             all blocks in turn
    python -m tests.fuzz --seed 7 --block detector --case 1234    one case again
    python -m tests.fuzz --replay                                 the cases that once failed

A case is a flowgraph around one block. It runs in a child process; what ends the child, or keeps it for too long, is
put down to the case. What fails is added to corpus.json, one case for each symptom. An entry there with "open" is a
fault that is known, and says why it stays for now: it fails nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gr_kaq.commands.long_run import progress_bar
from tests.fuzz.campaign import Campaign, Job, Outcome, load_corpus, load_known

BAR = "{percentage:3.0f}% {elapsed} gone, {remaining} left{postfix}"
CORPUS = Path(__file__).with_name("corpus.json")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cases", type=int, help="how many (default: as --seconds says)")
    add("--seconds", type=float, help="for how long (default: 60, without --cases)")
    add("--seed", type=int, default=1, help="of all cases (default: %(default)s)")
    add("--block", action="append", help="which one, and no other; may be repeated")
    add("--case", type=int, help="this one and no other")
    add("--replay", action="store_true", help="the cases of the corpus")
    add("--limit", type=float, default=20.0, help="seconds that a case may take (default: %(default)g)")
    add("--jobs", type=int, default=os.cpu_count(), help="children side by side (default: %(default)s)")
    add("--corpus", type=Path, default=CORPUS, help="where failures are added (default: beside this file)")
    add("--no-corpus", action="store_true", help="add nothing")
    add("--output", type=Path, default=Path("out/fuzz"), help="where fuzz.json goes (default: %(default)s)")
    return parser.parse_args()


def jobs(options: argparse.Namespace, names: list[str]) -> Iterable[Job]:
    """The cases that were asked for."""
    if options.replay:
        return [job for job in load_corpus(options.corpus) if not options.block or job.block in options.block]
    chosen = options.block or names
    if options.case is not None:
        return [Job(chosen[options.case % len(chosen)], options.seed, options.case)]
    numbers = itertools.count() if options.cases is None else range(options.cases)
    return (Job(chosen[number % len(chosen)], options.seed, number) for number in numbers)


def main() -> int:
    """Fuzz; the exit status is 1 when anything failed."""
    options = parse_options()
    from tests.fuzz.targets import TARGETS

    if unknown := set(options.block or ()) - set(TARGETS):
        print(f"no such block: {', '.join(unknown)}; {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    bounded = options.cases is not None or options.case is not None or options.replay
    seconds = options.seconds or (None if bounded else 60.0)
    campaign = Campaign(options.jobs, options.limit, seconds, load_known(options.corpus))
    cases = jobs(options, list(TARGETS))
    total = len(cases) if isinstance(cases, list) else options.cases
    began = time.monotonic()
    with progress_bar(total=total or seconds, unit="case" if total else "s", bar_format=BAR) as progress:

        def show(outcome: Outcome) -> None:
            progress.update(1 if total else min(seconds, time.monotonic() - began) - progress.n)
            progress.set_postfix_str(f"{campaign.count} cases, {campaign.num_failed} failed", refresh=False)
            if outcome.failures:
                progress.write(outcome.text(options.case is not None))

        campaign.run(cases, show)
    report = campaign.report(options.seed, time.monotonic() - began)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "fuzz.json").write_text(json.dumps(report, indent=2) + "\n")
    print(campaign.table())
    if not (options.no_corpus or options.replay or options.case is not None):
        added = campaign.add_to(options.corpus)
        if added:
            print(f"{added} cases added to {options.corpus}")
    return int(campaign.num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
