# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error rates behind a channel code: whether the LLRs are worth what they claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import coded, plots
from .. import markdown as md
from ..exact import EXACT_MAP, EXACT_MAX_LOG
from ..names import CODED, EP, LMMSE, label
from ..names import installed as installed_names
from ..points import run_points
from ..settings import Settings
from ..simulate import missing_peers
from ..statistics import Crossing, Interval, Rate, crossing, distance

TITLE = "Coded block error rate"

LEVEL = 0.1
COLUMNS = 3
"""Of plots."""
LINKS: dict[str, tuple[float, ...]] = {
    "iid-2x2-16qam": (10.6, 11.1, 11.8),
    "iid-2x2-64qam": (16, 16.5, 17),
    "iid-4x4-16qam": (11.2, 11.7, 12.2, 13.1),
    "iid-4x4-64qam": (16.8, 17.3, 17.8, 18.6),
    "iid-8x8-16qam": (11.6, 12, 12.4, 13.4),
    "iid-8x8-64qam": (17.4, 17.9, 18.5, 19.5),
    "iid-16x16-16qam": (12, 12.4, 12.9, 14.1),
    "iid-16x16-64qam": (18.3, 18.8, 19.5, 21.5),
    "umi-64x16-16qam": (6.5, 7, 7.6, 8.1),
    "umi-64x16-64qam": (12.1, 12.6, 13.1, 13.5),
    "umi-16x4-16qam": (3.5, 4.1),
    "umi-16x4-64qam": (8.3, 8.8),
}
QUICK_LINKS: dict[str, tuple[float, ...]] = {"iid-2x2-16qam": (10, 12), "iid-16x16-16qam": (11, 14)}
WITH_PEER = tuple(name for name in LINKS if "64x16" not in name)
"""The links at which Sionna's EP, which is slow, is measured too; exact LLRs are where they can be enumerated."""
EXACT_LLRS = (EXACT_MAP, EXACT_MAX_LOG)


def block_errors(job: dict[str, Any]) -> dict[str, Any]:
    """One link and SNR; see `coded.measure`."""
    link = coded.CODED_LINKS[job["link"]]
    detectors = [coded.load(name, link.constellation) for name in job["detectors"]]
    limits = {key: job[key] for key in ("min_block_errors", "max_blocks", "seed")}
    coded.BLOCKS_PER_DRAW = job["blocks_per_draw"]  # decoding takes most of the time, in quick mode too
    return {"rows": coded.measure(detectors, link, job["snr_db"], **limits)}


def measure(settings: Settings) -> dict[str, Any]:
    """Block error rates of every link; nothing without Sionna, whose code it is."""
    reason = missing_peers()
    jobs = []
    for name, snrs in () if reason else settings.pick(LINKS, QUICK_LINKS).items():
        ours = installed_names(*CODED[coded.CODED_LINKS[name].constellation])
        detectors = [*settings.pick(ours, ours[:1]), LMMSE]
        detectors += [EP] if name in WITH_PEER and not settings.quick else []
        detectors += EXACT_LLRS if coded.CODED_LINKS[name].enumerable else ()
        for snr_db in snrs:
            jobs.append(
                {
                    "link": name,
                    "snr_db": float(snr_db),
                    "detectors": detectors,
                    "min_block_errors": settings.pick(100, 10),
                    "max_blocks": settings.pick(1024, 64),
                    "blocks_per_draw": settings.pick(1024, 64),
                    "seed": settings.seed,
                }
            )
    results = run_points(settings, "coded", block_errors, jobs, _cells)
    return {"missing": reason, "points": [{**job, **result} for job, result in zip(jobs, results, strict=True)]}


def _cells(point: dict[str, Any]) -> dict[str, str]:
    return {label(row["detector"]): md.rate(Rate(row["block_errors"], row["blocks"])) for row in point["rows"]}


def links(data: dict[str, Any]) -> list[str]:
    """Links that were measured."""
    return list(dict.fromkeys(point["link"] for point in data["points"]))


def curve(data: dict[str, Any], link: str, detector: str) -> tuple[list[float], list[Rate]]:
    """SNRs and block error rates."""
    points = sorted((p for p in data["points"] if p["link"] == link), key=lambda p: p["snr_db"])
    found = [(p["snr_db"], row) for p in points for row in p["rows"] if row["detector"] == detector]
    return [snr for snr, _ in found], [Rate(row["block_errors"], row["blocks"]) for _, row in found]


def detectors(data: dict[str, Any], link: str) -> list[str]:
    """What was measured on a link."""
    return next(p["detectors"] for p in data["points"] if p["link"] == link)


def needed(data: dict[str, Any], link: str, detector: str) -> Crossing | None:
    """SNR at the block error rate `LEVEL`."""
    return crossing(*curve(data, link, detector), LEVEL)


def gain(data: dict[str, Any], link: str, detector: str) -> Interval | None:
    """dB that LMMSE needs more."""
    return distance(needed(data, link, detector), needed(data, link, LMMSE))


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """Block error rate versus SNR."""
    names = links(data)
    if not names:
        return []
    rows = -(-len(names) // COLUMNS)
    figure, axes = plots.axes(min(COLUMNS, len(names)), rows, width=4.6, height=4.2)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, link in zip(axes.flat, names, strict=False):
        plots.ber_axis(axis, link.replace("-", ", "), "block error rate")
        for detector in detectors(data, link):
            snrs, rates = curve(data, link, detector)
            plots.curve(axis, snrs, list(rates), plots.style(detector, detectors(data, link)), label(detector))
        axis.axhline(LEVEL, color="0.4", linewidth=0.8)
        plots.legend(axis, loc="lower left")
    return [plots.save(figure, folder, "coded")]


def markdown(data: dict[str, Any]) -> str:
    """SNR at 10 % block error rate, and the gain over LMMSE."""
    if data["missing"]:
        return f"Not measured: {data['missing']}."
    rows = []
    for link in links(data):
        for detector in detectors(data, link):
            where = needed(data, link, detector)
            cell = "-" if where is None else f"{where.snr_db:.2f}"
            gained = "-" if detector == LMMSE else md.decibels(gain(data, link, detector))
            rates = " ".join(
                f"{snr:g}: {rate.value:.1e}" for snr, rate in zip(*curve(data, link, detector), strict=True)
            )
            rows.append([link, label(detector), cell, gained, rates])
    return md.joined(
        f"5G LDPC code, rate 1/2, {coded.CODED_BITS} coded bits in a block of one stream, Sionna's encoder and "
        f"belief-propagation decoder ({coded.DECODER_ITERATIONS} iterations), max-log LLRs as the detectors give "
        f"them. The {label(EXACT_MAP)} sums the likelihoods of all candidates, the {label(EXACT_MAX_LOG)} takes the "
        "largest: no detector without feedback from the decoder has better LLRs than the former. Both are measured "
        "where a vector has at most 65536 candidates. "
        f"H is independent on each of 24 subcarriers (i.i.d.), or that of one drop at 8 subcarriers (UMi).",
        md.figure("coded", "block error rate versus SNR"),
        md.table(["link", "detector", f"SNR (dB) at {LEVEL:g}", "dB better than LMMSE", "SNR: block error rate"], rows),
    )
