# SPDX-License-Identifier: GPL-3.0-or-later
"""At which SNR a detector's BER falls through a level, and how far two detectors are apart, on the same vectors.

The seed of channels, bits and noise does not depend on the SNR: at another SNR the same noise is scaled. So two
detectors are compared on the same vectors even where their SNRs differ, and what is left of the difference is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.detection.detector import Detector
from gr_kaq.links.simulated_link import Link, detect
from gr_kaq.signals.constellation import constellation_named

from .simulate import load, make_channels
from .statistics import Interval

__all__ = ["BatchedErrors", "bits_of_batch", "bracket", "error_counts", "errors_at_level", "gap", "level_snr"]

GRID_DB = 0.5
"""Distance of the SNRs that are measured; between two of them log10(BER) is a straight line."""
COARSE_STEPS = 4
LOWEST_DB, HIGHEST_DB = -12.0, 40.0
"""From where the search starts."""
PILOT_SHARE = 10
"""A tenth of the batches finds the two SNRs, at which then all of them are measured."""
RESAMPLES = 1000


@dataclass(frozen=True)
class BatchedErrors:
    """A detector's errors at the two SNRs on either side of a level.

    Args:
        snr_db: the lower and the higher one.
        errors: at each, the bit errors of every batch: (2, batches).
        bits_per_batch: bits of a batch.
    """

    snr_db: tuple[float, float]
    errors: NDArray[np.int64]
    bits_per_batch: int

    @classmethod
    def read(cls, document: dict[str, Any]) -> BatchedErrors:
        """From the form in which `errors_at_level` returns it."""
        low, high = document["snr_db"]
        return cls((low, high), np.array(document["errors"], np.int64), document["bits_per_batch"])


def errors_at_level(job: dict[str, Any]) -> dict[str, Any]:
    """Find the two SNRs on either side of a level of the BER, and count errors at both of them.

    Args:
        job: channel (see `simulate`), constellation, detector, level, start_db (where to start the search), batches,
            bits_per_batch (rounded up to whole vectors), seed. One vector per channel, so that channels are many.

    Returns:
        snr_db, errors and bits_per_batch of `BatchedErrors`; snr_db is None where the level is not crossed between
        start_db + LOWEST_DB and start_db + HIGHEST_DB.
    """
    detector = load(job["detector"], job["constellation"])
    bits = bits_of_batch(job)
    vectors = bits // _bits_per_vector(job)
    counted: dict[tuple[int, int], list[int]] = {}

    def errors(step: int, batches: int) -> list[int]:
        if (step, batches) not in counted:
            counted[step, batches] = _errors(job, detector, job["start_db"] + GRID_DB * step, batches, vectors)
        return counted[step, batches]

    def above(step: int, batches: int) -> bool:
        return sum(errors(step, batches)) >= job["level"] * bits * batches

    limits = round(LOWEST_DB / GRID_DB), round(HIGHEST_DB / GRID_DB)
    pilot = max(2, job["batches"] // PILOT_SHARE)
    step = bracket(lambda step: above(step, pilot), *limits)
    while step is not None:  # the pilot may be off by one or two
        if not above(step, job["batches"]):
            step -= 1
        elif above(step + 1, job["batches"]):
            step += 1
        else:
            break
        step = step if limits[0] <= step < limits[1] else None
    if step is None:
        return {"snr_db": None, "errors": [], "bits_per_batch": bits}
    snr_db = [job["start_db"] + GRID_DB * s for s in (step, step + 1)]
    return {"snr_db": snr_db, "errors": [errors(s, job["batches"]) for s in (step, step + 1)], "bits_per_batch": bits}


def bits_of_batch(job: dict[str, Any]) -> int:
    """Bits that a batch of a job of `errors_at_level` has: a whole number of vectors."""
    bits_per_vector = _bits_per_vector(job)
    return -(-job["bits_per_batch"] // bits_per_vector) * bits_per_vector


def _bits_per_vector(job: dict[str, Any]) -> int:
    return job["channel"]["num_tx"] * constellation_named(job["constellation"]).bits_per_symbol


def _errors(job: dict[str, Any], detector: Detector, snr_db: float, batches: int, vectors: int) -> list[int]:
    """Bit errors of each batch at an SNR."""
    size = job["channel"]["num_rx"], job["channel"]["num_tx"]
    channel_seed, link_seed = np.random.SeedSequence([job["seed"], *size]).spawn(2)
    constellation = constellation_named(job["constellation"])
    link = Link(make_channels(job["channel"], channel_seed), constellation, snr_db, num_vectors=1, seed=link_seed)
    counts = []
    for _ in range(batches):
        sent = link.draw(vectors)
        decided = constellation.decide(detect(detector, sent).symbols)
        counts.append(int(np.count_nonzero(decided != sent.bits)))
    return counts


def bracket(above: Callable[[int], bool], lowest: int, highest: int) -> int | None:
    """The step i with above(i) and not above(i + 1), where above falls from true to false once.

    Starts at 0, in growing strides, and halves the last one. None where it does not fall from `lowest` to `highest`.
    """
    stride = COARSE_STEPS
    if above(0):
        low, high = 0, min(stride, highest)
        while above(high):
            if high == highest:
                return None
            stride *= 2
            low, high = high, min(high + stride, highest)
    else:
        low, high = max(-stride, lowest), 0
        while not above(low):
            if low == lowest:
                return None
            stride *= 2
            low, high = max(low - stride, lowest), low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return low


def _crossings(counts: BatchedErrors, level: float, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """SNRs at the level for each row of weights (resamples, batches) of the batches.

    All of them with the slope of the first row: that of a resample with few errors could be anything.
    """
    bits = counts.bits_per_batch * weights.sum(axis=1)
    low, high = (np.log10(np.maximum(weights @ errors, 0.5) / bits) for errors in counts.errors)
    fall = max(low[0] - high[0], 1e-3)
    share = (low[0] - math.log10(level)) / fall
    excess = (1 - share) * low + share * high - math.log10(level)
    return counts.snr_db[0] + (counts.snr_db[1] - counts.snr_db[0]) * (share + excess / fall)


def _resamples(batches: int) -> NDArray[np.float64]:
    """How often each batch is drawn: first each once, then RESAMPLES times with replacement."""
    drawn = np.random.default_rng(1).multinomial(batches, np.full(batches, 1 / batches), RESAMPLES)
    return np.concatenate([np.ones((1, batches)), drawn])


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return Interval(float(values[0]), float(low), float(high))


def level_snr(counts: BatchedErrors, level: float) -> Interval:
    """SNR in dB at the level, with a 95 % bootstrap interval over the batches (Efron, "Bootstrap methods", 1979)."""
    return _interval(_crossings(counts, level, _resamples(counts.errors.shape[1])))


def gap(counts: BatchedErrors, reference: BatchedErrors, level: float) -> Interval:
    """dB that a detector needs more than the reference, with a 95 % bootstrap interval.

    A resample takes the same batches of both. Where one of them has fewer batches, these are compared; the other's line
    may then have to be extended by a fraction of a dB, which is good to some hundredths.
    """
    batches = min(counts.errors.shape[1], reference.errors.shape[1])
    weights = _resamples(batches)
    own, other = (
        _crossings(BatchedErrors(c.snr_db, c.errors[:, :batches], c.bits_per_batch), level, weights)
        for c in (counts, reference)
    )
    return _interval(own - other)


def error_counts(counts: BatchedErrors) -> Sequence[int]:
    """Errors at the lower and at the higher SNR."""
    return [int(total) for total in counts.errors.sum(axis=1)]
