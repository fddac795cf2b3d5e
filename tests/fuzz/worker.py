# SPDX-License-Identifier: GPL-3.0-or-later
"""The child that cases run in: a crash or a hang ends it, and belongs to the case that it was at.

It reads `NAME SEED CASE` from standard input, and answers each with a line of JSON. What blocks and libraries write
goes to a file.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import json
import os
import re
import resource
import sys
import time
import traceback
from pathlib import Path

__all__ = ["main"]

PEAK_MIB = 300  # of one case, beyond what there was before it
ADDRESS_SPACE = 12 << 30  # so that a case that fills memory ends itself, and nobody else
CPU_S = float(os.environ.get("KAQ_FUZZ_CPU_S", "10"))  # of one case
FAULTS = re.compile(r"Traceback|caught exception|terminate called|unhandled|Segmentation|\x1b|^FORGED", re.MULTILINE)
INTERNAL = re.compile(r"internal error, please report: (.*)")
LOG_SHOWN = 3000
FORGET = 40  # cases; the parent looks at the memory after such multiples


def status(field: str) -> int:
    """A field of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def forget() -> None:
    """What estimators keep of each frame format: a flowgraph has one, a batch of cases has them all."""
    from gr_kaq.estimation import observation

    observation.observer.cache_clear()
    observation.channel_covariance.cache_clear()
    observation.ChannelCovariance.frequency_modes.cache_clear()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def run(name: str, seed: int, number: int, log: int, limit: float) -> dict[str, object]:
    """Run one case under the watchdog."""
    from tests.fuzz.case import run_case
    from tests.fuzz.self_test import go_wrong

    os.ftruncate(log, 0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began, cpu = status("VmRSS"), time.monotonic(), time.process_time()
    faulthandler.dump_traceback_later(limit, exit=True, file=log)
    did: list[str] = []
    try:
        if name == "self-test":
            go_wrong(os.environ["KAQ_FUZZ_SELF_TEST"])
        failures, did = ([], []) if name == "self-test" else run_case(name, seed, number)
    except Exception:
        failures = [f"exception in the flowgraph's thread: {traceback.format_exc()}"]
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    gc.collect()
    faulthandler.cancel_dump_traceback_later()
    ctypes.CDLL(None).fflush(None)
    text = os.pread(log, 1 << 20, 0).decode(errors="replace")
    peak = (status("VmHWM") - before) / 1024
    if peak > PEAK_MIB:
        failures.append(f"memory: {peak:.0f} MiB in one case")
    if cpu > CPU_S:
        failures.append(f"slow: {cpu:.1f} s of processor time")
    errors = INTERNAL.findall(text)
    failures += [f"internal error: {error[:200]}" for error in errors]
    if not errors and (found := FAULTS.search(text)):
        failures.append(f"in the log: {found.group()!r}")
    return {
        "failures": failures,
        "log": text[-LOG_SHOWN:] if failures else "",
        "did": did,
        "seconds": round(seconds, 3),
    }


def main() -> int:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--log", type=Path, required=True, help="where blocks and libraries write")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that a case may take")
    options = parser.parse_args()
    log = os.open(options.log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(log)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for done, line in enumerate(sys.stdin, 1):
        name, seed, number = line.split()
        outcome = run(name, int(seed), int(number), log, options.limit)
        if done % FORGET == 0:
            forget()
        answers.write(json.dumps({**outcome, "rss_kib": status("VmRSS")}) + "\n")
    answers.flush()
    os._exit(0)  # a flowgraph that hangs must not keep it


if __name__ == "__main__":
    sys.exit(main())
