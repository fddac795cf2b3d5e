# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of work for the tests, in a module that other processes import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gr_kaq.links.ber_units import count_unit, point_units
from gr_kaq.sweeps.units import Series

MIN_ERRORS = 3000
UNITS = 12
UNIT_BITS = 32_000


def point(snr_db: float, **more: Any) -> Series:
    """A BER point in units of 32 000 bits, which is one draw; `more` is in the jobs, too."""
    series = point_units(
        ["lmmse", "admm5-16qam"],
        "16qam",
        4,
        4,
        snr_db,
        min_errors=MIN_ERRORS,
        max_bits=UNITS * UNIT_BITS,
        seed=3,
        bits_per_unit=UNIT_BITS,
    )
    return replace(series, job=lambda unit: {**series.job(unit), **more})


def points(**more: Any) -> list[Series]:
    return [point(snr_db, **more) for snr_db in (16.0, 20.0, 22.0, 30.0)]


def square(job: dict[str, Any]) -> dict[str, Any]:
    """n^2 after `seconds`; a line in `log`, if there is one, says who did it."""
    time.sleep(job.get("seconds", 0))
    if "log" in job:
        with Path(job["log"]).open("a") as file:
            file.write(f"{job['n']} {os.getpid()}\n")
    return {"square": job["n"] ** 2}


def count_and_die_once(job: dict[str, Any]) -> dict[str, Any]:
    """`count_unit`; the first process that comes to unit 2 of a point is killed."""
    if job["unit"] == 2 and first(job):
        os.kill(os.getpid(), signal.SIGKILL)
    return count_unit(job)


def always_die(job: dict[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return job


def raise_always(job: dict[str, Any]) -> dict[str, Any]:
    raise ArithmeticError(f"no result for {job['n']}")


def raise_where_told(job: dict[str, Any]) -> dict[str, Any]:
    """n^2; raises where the environment says so."""
    if "KAQ_TEST_RAISE" in os.environ:
        raise ArithmeticError("a broken machine")
    return square(job)


def first(job: dict[str, Any]) -> bool:
    """Whether nobody else has asked this about the job's SNR."""
    try:
        os.close(os.open(f"{job['marker']}-{job['snr_db']:g}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
