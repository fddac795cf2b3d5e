# SPDX-License-Identifier: GPL-3.0-or-later
"""BER points in units of work: pieces of a point's transmissions, each with random numbers of its own.

The first unit has those of the seed, so that a point which ends in it is that of a single run. Later ones have those of
seeds spawned from it. All SNRs have the same ones: a curve's points differ by the noise's power only.
"""

from __future__ import annotations

import functools
import hashlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import __version__
from ..channels.named import channels_named
from ..detection.detector import Detector
from ..detection.detectors import load_detector
from ..files import read_file
from ..signals.bit_errors import BitErrorRate
from ..sweeps.results import Job
from ..sweeps.units import Series
from .simulated_link import PERFECT, CsiError, Link, count_bit_errors

__all__ = ["count_unit", "counts_of", "digest_of", "point_units", "units_needed"]

BITS_PER_UNIT = 200_000_000
"""6 to 12 s of LMMSE and one network on one core; more with more detectors."""

MAX_BYTES = 2**30
"""Of a file that a job names."""


def point_units(
    detectors: Sequence[str],
    constellation: str,
    num_rx: int,
    num_tx: int,
    snr_db: float,
    *,
    min_errors: int,
    max_bits: int,
    seed: int,
    channel: str = "iid",
    correlation: float | None = None,
    csi_error: CsiError = PERFECT,
    files: Mapping[str, str] | None = None,
    bits_per_unit: int = BITS_PER_UNIT,
) -> Series:
    """A point in units for `count_unit`.

    Args:
        detectors: names or paths.
        constellation: of all of them.
        num_rx, num_tx: of the link.
        snr_db: of the point.
        min_errors: of each detector, at which the point ends.
        max_bits: at which it ends anyway.
        seed: of bits, channels, noise and estimation errors.
        channel, correlation: see `channels_named`.
        csi_error: of the receiver.
        files: the files among detectors and channel, {path: `digest_of` it}.
        bits_per_unit: at most.
    """
    common = {
        "gr_kaq": __version__,
        "detectors": list(detectors),
        "constellation": constellation,
        "files": dict(files or {}),
        "num_rx": num_rx,
        "num_tx": num_tx,
        "channel": channel,
        "correlation": correlation,
        "snr_db": snr_db,
        "csi_error": asdict(csi_error),
        "seed": seed,
        "min_errors": min_errors,
    }

    def job(unit: int) -> Job:
        return {**common, "unit": unit, "bits": min(bits_per_unit, max_bits - unit * bits_per_unit)}

    return Series(job, -(-max_bits // bits_per_unit), lambda results: units_needed(results, min_errors))


def count_unit(job: Job, progress: Callable[[list[BitErrorRate]], object] | None = None) -> dict[str, Any]:
    """Count the errors of one unit.

    Args:
        job: of `point_units`. It ends at its bits or, earlier, at min_errors.
        progress: as in `count_bit_errors`.

    Returns:
        `errors` and `bits`, a number for each detector.

    Raises:
        ValueError: a file is another one here.
    """
    files = job["files"]
    for path, digest in files.items():
        _check_file(path, digest)
    detectors = [_detector(name, job["constellation"], files.get(name)) for name in job["detectors"]]
    unit = job["unit"]
    link_seed, channel_seed = np.random.SeedSequence(job["seed"], spawn_key=(unit,) if unit else ()).generate_state(2)
    make_channels, _, _ = channels_named(job["channel"], job["correlation"])
    link = Link(
        make_channels(job["num_rx"], job["num_tx"], int(channel_seed)),
        detectors[0].constellation,
        job["snr_db"],
        csi_error=CsiError(**job["csi_error"]),
        seed=int(link_seed),
    )
    counts = count_bit_errors(detectors, link, min_errors=job["min_errors"], max_bits=job["bits"], progress=progress)
    return {"errors": [count.errors for count in counts], "bits": [count.bits for count in counts]}


def counts_of(results: Sequence[dict[str, Any]]) -> list[BitErrorRate]:
    """Of each detector, over all units.

    Raises:
        ValueError: a result, perhaps of a file, is none of `count_unit`.
    """
    try:
        errors, bits = (
            [sum(map(operator.index, values)) for values in zip(*(r[key] for r in results), strict=True)]
            for key in ("errors", "bits")
        )
        return [BitErrorRate(*count) for count in zip(errors, bits, strict=True)]
    except (TypeError, KeyError, ValueError):
        raise ValueError("a result that is kept has other counts than these detectors have") from None


def units_needed(results: Sequence[dict[str, Any]], min_errors: int) -> int:
    """How many units every detector takes to make so many errors, at the rate so far; twice as many without an error.

    No more than there are where that is so already.
    """
    if not results:
        return 1
    fewest = min(count.errors for count in counts_of(results))
    if not fewest:
        return 2 * len(results)
    return math.ceil(len(results) * min_errors / fewest)


def digest_of(path: str) -> str:
    """Of a file that a job names, so that a worker notices another one."""
    return hashlib.sha256(read_file(path, MAX_BYTES)).hexdigest()[:16]


@functools.cache
def _detector(name: str, constellation: str, digest: str | None) -> Detector:
    """Once for each file."""
    return load_detector(name, constellation=constellation)


@functools.cache
def _check_file(path: str, digest: str) -> None:
    if digest_of(path) != digest:
        raise ValueError(f"{path} is another file here than where the sweep was begun")
