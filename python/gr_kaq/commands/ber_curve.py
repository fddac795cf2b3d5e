# SPDX-License-Identifier: GPL-3.0-or-later
"""The points of `kaq ber`, as units of work bring them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..links.ber_units import count_unit, counts_of
from ..signals.bit_errors import BitErrorRate
from ..sweeps.results import Results
from ..sweeps.units import Series, run_series
from ..sweeps.workers import Here, Workers
from .long_run import PointsProgress, units_progress

__all__ = ["Curve", "Point"]


@dataclass(frozen=True)
class Point:
    """What one detector did at one SNR."""

    detector: str
    snr_db: float
    count: BitErrorRate
    complete: bool


class Curve:
    """The points of all detectors, as far as they are measured.

    Args:
        names: of the detectors.
        snrs: of the points.
        min_errors, max_bits: at which a point ends.
        write: called with the points after each unit.
    """

    def __init__(
        self,
        names: Sequence[str],
        snrs: Sequence[float],
        min_errors: int,
        max_bits: int,
        write: Callable[[Sequence[Point]], None],
    ):
        self._names, self._snrs = names, snrs
        self._min_errors, self._max_bits = min_errors, max_bits
        self._write = write
        self._counts = [[BitErrorRate()] * len(names) for _ in snrs]
        self._complete = [False] * len(snrs)

    def points(self) -> list[Point]:
        """Those that have seen any bits."""
        return [
            Point(name, snr_db, count, complete)
            for snr_db, counts, complete in zip(self._snrs, self._counts, self._complete, strict=True)
            for name, count in zip(self._names, counts, strict=True)
            if count.bits
        ]

    def count(self, units: Callable[[float], Series], workers: Workers, kept: Results) -> None:
        """Measure all points; `units` gives those at an SNR."""
        series = [units(snr_db) for snr_db in self._snrs]
        if isinstance(workers, Here):
            with PointsProgress(len(self._snrs), self._min_errors, self._max_bits) as bar:
                shown = _Shown(bar, [f"{snr_db:g} dB" for snr_db in self._snrs])

                def counted(number: int, results: Sequence[dict[str, Any]]) -> None:
                    self._take(series[number], number, results)
                    shown.update(number, self._counts[number])

                def count_here(job: dict[str, Any]) -> dict[str, Any]:
                    number = self._complete.index(False)  # they are measured one after the other
                    before = self._counts[number]

                    def keep(so_far: list[BitErrorRate]) -> None:
                        self._counts[number] = [a + b for a, b in zip(before, so_far, strict=True)]
                        shown.update(number, self._counts[number])

                    return count_unit(job, keep)

                run_series(series, count_here, workers, kept, counted=counted)
            return
        with units_progress("BER") as progress:
            run_series(series, count_unit, workers, kept, progress, lambda i, r: self._take(series[i], i, r))

    def _take(self, series: Series, number: int, results: Sequence[dict[str, Any]]) -> None:
        self._counts[number] = counts_of(results)
        self._complete[number] = min(series.needed(results), series.count) <= len(results)
        self._write(self.points())


class _Shown:
    """A bar that knows which point is in work."""

    def __init__(self, bar: PointsProgress, names: Sequence[str]):
        self._bar, self._names, self._number = bar, names, -1

    def update(self, number: int, counts: Sequence[BitErrorRate]) -> None:
        while self._number < number:
            self._number += 1
            self._bar.begin(self._names[self._number])
        self._bar.update(min(count.errors for count in counts), counts[0].bits)
