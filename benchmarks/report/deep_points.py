# SPDX-License-Identifier: GPL-3.0-or-later
"""Points of a BER curve in several units of work, so that deep ones have errors to speak of.

The first unit is the point as `simulate.bit_errors` counts it. Detectors that made fewer than `ENOUGH_ERRORS` in it go
on in further units, each with random numbers of its own: the fast ones together, and every reference alone with the
first detector, whose errors on the same vectors its pair needs. So a slow detector stops as soon as it has enough,
whatever others lack. Full-precision twins have the first unit only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from gr_kaq.sweeps.results import Job, Result, Results
from gr_kaq.sweeps.units import Series

from .points import rate_cells, run_series_of_points
from .references import is_reference, is_slow
from .settings import Settings
from .simulate import bit_errors
from .statistics import MIN_RATIO_ERRORS, Pair, Rate

__all__ = ["ENOUGH_ERRORS", "FAST", "REFERENCES", "Budget", "point_series", "run_deep_points"]

ENOUGH_ERRORS = MIN_RATIO_ERRORS


@dataclass(frozen=True)
class Budget:
    """What detectors may see after the first unit.

    Args:
        bits: of a unit.
        units: at most.
        trial: after so many, a detector that will not have enough errors in all of them gets no more.
    """

    bits: int
    units: int
    trial: int


FAST = Budget(100_000_000, 20, 5)
"""Some 20 s of one core for a unit of five detectors at 16x16."""
REFERENCES = Budget(4_000_000, 25, 2)
"""10 to 60 s of one core for a unit."""


def run_deep_points(settings: Settings, section: str, jobs: Sequence[Job]) -> list[Result]:
    """What `bit_errors` says of every job, with the further units added.

    Args:
        settings: where to run them; with `quick` there are no further units.
        section: whose points these are.
        jobs: of `bit_errors`. The first detector of each is a fast one.
    """
    series = [point_series(job, 1 if settings.quick else None) for job in jobs]

    def so_far(kept: Results) -> Iterator[tuple[Job, Result]]:
        for job, one in zip(jobs, series, strict=True):
            units = {name: _in_order(kept, units) for name, units in one.items()}
            if all(units.values()):
                yield job, _added(job, units)

    every = [units for one in series for units in one.values()]
    found = iter(run_series_of_points(settings, section, bit_errors, every, so_far, rate_cells))
    return [_added(job, {name: next(found) for name in one}) for job, one in zip(jobs, series, strict=True)]


def _in_order(kept: Results, series: Series) -> list[Result]:
    """The first units of a series, as far as they are finished."""
    units = (kept.get(series.job(number)) for number in range(series.count))
    return list(itertools.takewhile(lambda result: result is not None, units))  # type: ignore[arg-type]


def point_series(job: Job, most_units: int | None = None) -> dict[str, Series]:
    """The units of a point: of the fast detectors by the name of the first one, of each reference by its name.

    Args:
        job: of `bit_errors`.
        most_units: at most, of each; None: as many as the budget says.
    """
    names: list[str] = job["detectors"]
    fast = [name for name in names if not is_slow(name) and not name.endswith("-fp")]
    series = {fast[0]: _series(job, fast, fast, FAST, most_units)}
    for name in filter(is_reference, names):
        series[name] = _series(job, [fast[0], name], [name], REFERENCES, most_units)
    return series


def _series(job: Job, detectors: list[str], counting: list[str], budget: Budget, most_units: int | None) -> Series:
    further = {
        **job,
        "detectors": detectors,
        "min_errors": ENOUGH_ERRORS,
        "max_bits": budget.bits,
        "peer_max_bits": budget.bits,
    }
    return Series(
        lambda piece: {**further, "piece": piece} if piece else job,
        1 + budget.units if most_units is None else most_units,
        lambda results: _units_needed(results, counting, budget),
    )


def _units_needed(results: Sequence[Result], names: Sequence[str], budget: Budget) -> int:
    """How many units the detectors take to make enough errors, as far as these are within reach."""
    if not results:
        return 1
    needed = len(results)
    for name in names:
        rate = _rate(results, name)
        if rate.errors >= ENOUGH_ERRORS or (not rate.errors and len(results) > budget.trial):
            continue
        more = math.ceil((ENOUGH_ERRORS / rate.value - rate.trials) / budget.bits) if rate.errors else needed
        total = len(results) + max(1, more)
        if len(results) <= budget.trial:
            needed = max(needed, min(total, 1 + budget.trial))
        elif total <= 1 + budget.units:
            needed = max(needed, total)
    return needed


def _rate(results: Sequence[Result], name: str) -> Rate:
    return sum((Rate.read(result["rates"][name]) for result in results), Rate())


def _added(job: Job, found: dict[str, list[Result]]) -> Result:
    """The rates and pairs of all units, as `bit_errors` has them."""
    of_fast = found[job["detectors"][0]]
    units = {}
    for name in job["detectors"]:
        units[name] = found.get(name, of_fast if name in of_fast[-1]["rates"] else of_fast[:1])
    pairs = {
        name: sum((Pair.read(result["pairs"][name]) for result in units[name]), Pair()) for name in job["detectors"][1:]
    }
    return {
        "rates": {name: asdict(_rate(results, name)) for name, results in units.items()},
        "pairs": {name: asdict(pair) for name, pair in pairs.items()},
    }
