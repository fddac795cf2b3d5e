# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the detectors are from exact maximum likelihood, at the sizes of testbeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import markdown as md
from .. import plots, references
from ..delay_lines import CARRIER_FREQUENCY, CHANNELS_PER_BLOCK, NUM_SUBCARRIERS, SUBCARRIER_DISTANCE, delay_line
from ..exact import EXACT_ML
from ..level_search import GRID_DB, BatchedErrors, bits_of_batch, error_counts, errors_at_level, gap, level_snr
from ..names import EP, KBEST_REVERSED, LMMSE, NEAR_ML, SIONNA_LMMSE, installed, label
from ..points import run_points
from ..settings import Settings
from ..simulate import iid, kronecker
from ..statistics import MIN_RATIO_ERRORS, Interval

TITLE = "Distance to maximum likelihood"

LEVEL = 1e-3
SLOW_PEERS = (EP, KBEST_REVERSED)
PEERS = (SIONNA_LMMSE, *SLOW_PEERS)
"""Sionna's. Its LMMSE is another implementation of what everything is compared with."""
DELAY_SPREAD_NS = {"C": 100.0, "D": 50.0}
"""Of the clustered delay lines."""


@dataclass(frozen=True)
class Case:
    """One channel and constellation.

    Args:
        size: num_rx, num_tx.
        constellation: what every stream carries.
        start_db: where the search for the SNR starts: about where maximum likelihood is at `LEVEL`.
        correlation: of neighbouring antennas, at both ends; 0: i.i.d. Rayleigh.
        profile: of a clustered delay line, one of `DELAY_SPREAD_NS`; "": none. Sionna draws it.
    """

    size: tuple[int, int]
    constellation: str
    start_db: float
    correlation: float = 0.0
    profile: str = ""

    @property
    def name(self) -> str:
        """As in the table."""
        suffix = f", Kronecker {self.correlation:g}" if self.correlation else ""
        suffix += f", CDL-{self.profile}" if self.profile else ""
        return f"{self.size[0]}x{self.size[1]}, {self.constellation}{suffix}"

    @property
    def channel(self) -> dict[str, Any]:
        """See `simulate`."""
        if self.profile:
            return delay_line(self.profile, DELAY_SPREAD_NS[self.profile], *self.size)
        return kronecker(*self.size, self.correlation) if self.correlation else iid(*self.size)


CASES = (
    Case((2, 2), "qpsk", 18),
    Case((2, 2), "16qam", 26),
    Case((2, 2), "64qam", 33),
    Case((3, 2), "qpsk", 13),
    Case((3, 2), "16qam", 20),
    Case((3, 2), "64qam", 26),
    Case((4, 4), "qpsk", 14),
    Case((4, 4), "16qam", 22),
    Case((4, 4), "64qam", 29),
    Case((8, 8), "16qam", 19),
    Case((8, 8), "64qam", 26),
    Case((16, 16), "16qam", 18),
    Case((4, 4), "16qam", 27, 0.7),
    Case((8, 8), "16qam", 25, 0.7),
    Case((4, 4), "16qam", 28, profile="C"),
    Case((4, 4), "16qam", 33, profile="D"),
)
QUICK_CASES = (CASES[1], CASES[7], CASES[12])


def _jobs(settings: Settings) -> list[dict[str, Any]]:
    """Of every case whose channels can be drawn."""
    peers = settings.pick(references.present(*PEERS), [])
    exact = references.present(EXACT_ML)
    left_out = _not_measured(settings)
    jobs = []
    for case in settings.pick(CASES, QUICK_CASES):
        if case.name in left_out:
            continue
        for detector in [*exact, *installed(*NEAR_ML[case.constellation]), *peers]:
            full = 10 if detector in SLOW_PEERS else 40
            jobs.append(
                {
                    "case": case.name,
                    "channel": case.channel,
                    "constellation": case.constellation,
                    "detector": detector,
                    "level": LEVEL,
                    "start_db": float(case.start_db),
                    "batches": settings.pick(full, 10),
                    "bits_per_batch": settings.pick(100_000, 4_000),
                    "seed": settings.seed,
                }
            )
    return jobs


def _not_measured(settings: Settings) -> list[str]:
    """Cases whose channels Sionna would draw, where it is missing."""
    if references.missing(EP) is None:
        return []
    return [case.name for case in settings.pick(CASES, QUICK_CASES) if case.profile]


def finished(settings: Settings, data: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Those of the jobs that an earlier measurement has done, with their results."""
    found = []
    for job in _jobs(settings):
        wanted = {**job, "bits_per_batch": bits_of_batch(job)}  # a point has the bits as its result, not as its job
        for point in data["points"]:
            if all(point[key] == value for key, value in wanted.items()):
                found.append((job, {key: point[key] for key in ("snr_db", "errors", "bits_per_batch")}))
    return found


def measure(settings: Settings) -> dict[str, Any]:
    """Errors of every detector on both sides of the level; each detector of a case is a point of its own."""
    jobs = _jobs(settings)
    results = run_points(settings, "near_ml", errors_at_level, jobs, _cells)
    return {
        "missing": [reason for name in (EXACT_ML, *PEERS[:1]) if (reason := references.missing(name)) is not None],
        "left_out": [name for names in NEAR_ML.values() for name in names if not installed(name)],
        "not_measured": _not_measured(settings),
        "seed": settings.seed,
        "points": [{**job, **result} for job, result in zip(jobs, results, strict=True)],
    }


def _cells(point: dict[str, Any]) -> dict[str, str]:
    if point["snr_db"] is None:
        return {"errors": "the level is not reached"}
    low, high = point["snr_db"]
    return {"SNR (dB)": f"{low:g} and {high:g}", "errors": ", ".join(str(sum(batches)) for batches in point["errors"])}


def cases(data: dict[str, Any]) -> list[str]:
    """Cases that were measured."""
    return list(dict.fromkeys(point["case"] for point in data["points"]))


def counts(data: dict[str, Any], case: str) -> dict[str, BatchedErrors | None]:
    """Of each detector of a case; None where it does not reach the level."""
    points = [point for point in data["points"] if point["case"] == case]
    return {p["detector"]: None if p["snr_db"] is None else BatchedErrors.read(p) for p in points}


def distance(data: dict[str, Any], case: str, detector: str) -> Interval | None:
    """dB that a detector needs more than exact maximum likelihood; None where one of them is missing."""
    found = counts(data, case)
    own, best = found.get(detector), found.get(EXACT_ML)
    return None if own is None or best is None else gap(own, best, LEVEL)


def _distances(data: dict[str, Any]) -> dict[tuple[str, str], Interval]:
    """All distances that there are, by case and detector."""
    pairs = [(case, d) for case in cases(data) for d in counts(data, case) if d != EXACT_ML]
    found = {pair: distance(data, *pair) for pair in pairs}
    return {pair: value for pair, value in found.items() if value is not None}


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Distance to maximum likelihood, a row for each case."""
    distances = {(case, d): value for (case, d), value in _distances(data).items() if d != SIONNA_LMMSE}
    if not distances:
        return []
    names = cases(data)
    families = list(dict.fromkeys(family(detector) for _, detector in distances))
    figure, axes = plots.axes(1, width=7.5, height=0.34 * len(names) + 1.6)
    axis = axes[0][0]
    for i, kind in enumerate(families):
        look = plots.style(kind, families)
        found = [(names.index(case), value) for (case, d), value in distances.items() if family(d) == kind]
        axis.errorbar(
            [value.value for _, value in found],
            [row + 0.08 * (i - (len(families) - 1) / 2) for row, _ in found],
            xerr=[
                [max(0.0, value.value - value.low) for _, value in found],
                [max(0.0, value.high - value.value) for _, value in found],
            ],
            color=look.colour,
            marker=look.marker or "o",
            linestyle="",
            markersize=5,
            capsize=2,
            label=label(kind),
        )
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_xlim(left=-0.05)
    axis.set_xticks([0, 0.05, 0.1, 0.3, 1, 3, 10], labels=["0", "0.05", "0.1", "0.3", "1", "3", "10"])
    axis.set_xlabel(f"dB more than exact maximum likelihood at BER {LEVEL:g}")
    plots.grid(axis)
    plots.legend(axis, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return [plots.save(figure, folder, "near-ml")]


def family(detector: str) -> str:
    """A detector without its constellation: one colour for `admm5-qpsk` and `admm5-16qam`."""
    return detector.removesuffix("-qpsk").removesuffix("-16qam").removesuffix("-64qam")


def _delay_lines() -> str:
    spreads = " and ".join(f"{spread:g} ns for CDL-{profile}" for profile, spread in DELAY_SPREAD_NS.items())
    return (
        "*CDL-C* and *CDL-D* are clustered delay lines of 3GPP TR 38.901, drawn by Sionna: uplink, "
        f"{CARRIER_FREQUENCY / 1e9:g} GHz, at both ends a line of vertically polarized antennas half a wavelength "
        f"apart, a delay spread of {spreads}. Each vector has a realisation of its own, on one of {NUM_SUBCARRIERS} "
        f"subcarriers, {SUBCARRIER_DISTANCE / 1e3:g} kHz apart, at random. Mean |h|^2 is 1 over blocks of "
        f"{CHANNELS_PER_BLOCK} realisations. CDL-D has a line of sight, 13.3 dB stronger than any other path: its "
        "channels are nearly singular."
    )


def _two_lmmses(data: dict[str, Any]) -> str:
    """How many errors LMMSE makes, and how many Sionna's, where both counted the same bits; nothing without Sionna."""
    own = theirs = 0
    for found in (counts(data, case) for case in cases(data)):
        pair = found.get(LMMSE), found.get(SIONNA_LMMSE)
        if pair[0] is not None and pair[1] is not None and pair[0].snr_db == pair[1].snr_db:
            own += sum(error_counts(pair[0]))
            theirs += sum(error_counts(pair[1]))
    if not theirs:
        return ""
    return (
        f"{label(SIONNA_LMMSE)} is a check of the baseline, by code that is not ours: on the same bits, "
        f"{label(LMMSE)} makes {own} errors and {label(SIONNA_LMMSE)} {theirs}."
    )


def markdown(data: dict[str, Any]) -> str:
    """A table of SNRs and distances, with the errors behind them."""
    rows = []
    for case in cases(data):
        for detector, found in counts(data, case).items():
            if found is None:
                rows.append([case, label(detector), "not reached", "-", "-", "-"])
                continue
            where, errors = level_snr(found, LEVEL), error_counts(found)
            few = " (few)" if min(errors) < MIN_RATIO_ERRORS else ""
            away = "-" if detector == EXACT_ML else md.decibels(distance(data, case, detector))
            snrs = " and ".join(f"{snr:g}" for snr in found.snr_db)
            bits = found.bits_per_batch * found.errors.shape[1]
            cells = [f"{where.value:.2f} [{where.low:.2f}, {where.high:.2f}]", away]
            rows.append([case, label(detector), *cells, f"{errors[0]}, {errors[1]}{few} at {snrs} dB", f"{bits:.1e}"])
    rows += [[case, "all", "not measured", "-", "-", "-"] for case in data.get("not_measured", [])]
    best = label(EXACT_ML)
    return md.joined(
        f"The SNR at which each detector has a BER of {LEVEL:g}, uncoded, with perfect estimates, and how many dB that "
        f"is above {best}, IT++'s sphere decoder. All detectors see the same channels, bits and noise, at every SNR: "
        "the noise is only scaled. Each vector has a channel of its own. The brackets are 95 % intervals, from a "
        "bootstrap over the batches, which are the same for both detectors of a distance. The BER is measured "
        f"{GRID_DB:g} dB apart on both sides of the level, and its logarithm interpolated. Seed {data['seed']}. "
        f"{label(LMMSE)} and Sionna's detectors are there to compare with.",
        _two_lmmses(data),
        _delay_lines(),
        f"Left out: {'; '.join(data['missing'])}." if data["missing"] else "",
        f"Not among the installed detectors: {', '.join(data['left_out'])}." if data["left_out"] else "",
        md.figure("near-ml", f"dB more than {best}; a linear scale up to 0.1 dB, then a logarithmic one")
        if _distances(data)
        else "",
        md.table(["channel", "detector", f"SNR (dB) at {LEVEL:g}", f"dB above {best}", "errors", "bits"], rows),
    )
