# SPDX-License-Identifier: GPL-3.0-or-later
"""Our detectors beside error rates that others published, in the unit in which they were published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import markdown as md
from .. import plots, references
from ..exact import EXACT_ML
from ..names import GENERAL_16QAM, LMMSE, TALL_16QAM, installed, label
from ..points import rate_cells, run_points
from ..published import SOURCES, PublishedRate, published
from ..settings import Settings
from ..simulate import bit_errors, iid, rate_of
from ..statistics import MIN_RATIO_ERRORS, Rate

TITLE = "Beside published results"

UNITS = {"symbol": "symbol error rate", "pam": "PAM symbol error rate"}
MARKERS = "+x1234|_"


def sizes() -> list[str]:
    """Sizes of which something was published."""
    return list(dict.fromkeys(point.size for point in published()))


def of_size(size: str) -> list[PublishedRate]:
    """The published points of a size."""
    return [point for point in published() if point.size == size]


def measure(settings: Settings) -> dict[str, Any]:
    """Error rates of our detectors at the published SNRs, in the published unit and in bits, on the same vectors."""
    exact = references.present(EXACT_ML)
    jobs = []
    for size in sizes():
        num_rx, num_tx = map(int, size.split("x"))
        points = of_size(size)
        tall = [TALL_16QAM] if num_rx >= 2 * num_tx else []
        ours = installed(*GENERAL_16QAM, *tall)
        snrs = sorted({point.snr_db for point in points})
        for snr_db in settings.pick(snrs, snrs[:2]):
            for unit in (points[0].unit, "bit"):
                jobs.append(
                    {
                        "size": size,
                        "unit": unit,
                        "channel": iid(num_rx, num_tx),
                        "csi": {},
                        "constellation": "16qam",
                        "snr_db": snr_db,
                        "num_vectors": 4,
                        "detectors": [*settings.pick(ours, ours[:1]), LMMSE, *exact],
                        "min_errors": settings.pick(2_000, 30),
                        "max_bits": settings.pick(16_000_000, 10_000),
                        "peer_max_bits": settings.pick(8_000_000, 5_000),
                        "seed": settings.seed,
                    }
                )
    results = run_points(settings, "published_points", bit_errors, jobs, rate_cells)
    return {
        "missing": references.missing(EXACT_ML),
        "points": [{**job, **result} for job, result in zip(jobs, results, strict=True)],
    }


def _measured(data: dict[str, Any], size: str, unit: str) -> list[dict[str, Any]]:
    return [point for point in data["points"] if point["size"] == size and point["unit"] == unit]


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Our curves, and marks where something was published."""
    figure, axes = plots.axes(2, 2, width=5.2, height=4.4)
    for axis, size in zip(axes.flat, sizes(), strict=True):
        points = of_size(size)
        unit = points[0].unit
        plots.ber_axis(axis, f"{size}, 16-QAM, i.i.d. Rayleigh", UNITS[unit])
        ours = _measured(data, size, unit)
        detectors = ours[0]["detectors"]
        for detector in detectors:
            rates: list[Rate | None] = [rate_of(point, detector) for point in ours]
            look = plots.style(detector, detectors)
            plots.curve(axis, [point["snr_db"] for point in ours], rates, look, label(detector))
        for marker, name in zip(MARKERS, dict.fromkeys(point.detector for point in points), strict=False):
            marks = [point for point in points if point.detector == name]
            snrs, rates_of_others = [p.snr_db for p in marks], [p.rate for p in marks]
            axis.plot(
                snrs,
                rates_of_others,
                linestyle="",
                marker=marker,
                color="#B00020",
                markersize=8,
                label=f"{name} [publ.]",
            )
        plots.legend(axis, loc="lower left")
    return [plots.save(figure, folder, "published-points")]


def markdown(data: dict[str, Any]) -> str:
    """Marks beside curves, and a table for each size."""
    parts = [
        "Learned detectors that others published, with the error rates that they published: i.i.d. Rayleigh, 16-QAM, "
        "perfect estimates, and the same definition of the SNR. They were not run here. The rates are those of complex "
        "symbols, or of PAM symbols, and ours are counted in the same unit. Their MMSE beside our LMMSE shows how well "
        "the definitions agree.",
        "The published bit error rates in brackets are converted, with the ratio between our LMMSE's bit errors and "
        "their MMSE's symbol errors, or 1/2 for PAM symbols. Where there is no bracket, nothing was converted. They "
        f"are rough: among our own detectors, bit errors per symbol error range {_bits_per_error(data)}. "
        "The rates before the brackets compare without that.",
        "\n".join(f"- {source}: {text}." for source, text in SOURCES.items()),
        f"Left out: {data['missing']}." if data["missing"] else "",
        md.figure("published-points", "error rates of our detectors (curves), and published ones (red marks)"),
    ]
    for size in sizes():
        points = of_size(size)
        unit = points[0].unit
        ours, bits = _measured(data, size, unit), _measured(data, size, "bit")
        detectors = ours[0]["detectors"]
        names = list(dict.fromkeys(point.detector for point in points))
        rows = []
        for here, in_bits in zip(ours, bits, strict=True):
            own = [_cell(rate_of(here, d), rate_of(in_bits, d)) for d in detectors]
            found = {point.detector: point for point in points if point.snr_db == here["snr_db"]}
            rows.append([f"{here['snr_db']:g}", *own, *(_published_cell(found.get(name)) for name in names)])
        source = ", ".join(dict.fromkeys(point.source for point in points))
        head = ["SNR (dB)", *map(label, detectors), *(f"{name} ({source})" for name in names)]
        parts += [f"### {size}: {UNITS[unit]} (bit error rate)", md.table(head, rows)]
    return md.joined(*parts)


def _bits_per_error(data: dict[str, Any]) -> str:
    """Range of the bit error rate over the symbol error rate, from enough errors of each."""
    ratios = []
    for point in (p for p in data["points"] if p["unit"] == "symbol"):
        in_bits = next(p for p in _measured(data, point["size"], "bit") if p["snr_db"] == point["snr_db"])
        for name in point["detectors"]:
            symbols, bits = rate_of(point, name), rate_of(in_bits, name)
            if symbols is not None and bits is not None and min(symbols.errors, bits.errors) >= MIN_RATIO_ERRORS:
                ratios.append(bits.value / symbols.value)
    return f"from {min(ratios):.2f} to {max(ratios):.2f}" if ratios else "too few here to be counted"


def _cell(rate: Rate | None, ber: Rate | None) -> str:
    if rate is None or ber is None:
        return "-"
    bits = f"{ber.value:.2e}" if ber.errors else md.rate(ber)
    return f"{md.rate(rate)} ({bits})"


def _published_cell(point: PublishedRate | None) -> str:
    if point is None:
        return "-"
    return f"{point.rate:.2e}" + ("" if point.ber is None else f" ({point.ber:.1e})")
