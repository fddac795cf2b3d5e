# SPDX-License-Identifier: GPL-3.0-or-later
"""One point of a BER curve: several detectors on the same transmissions. Its job and its result are plain JSON.

A job's `channel` is {kind, num_rx, num_tx} and, for kind "kronecker", `correlation`; for kind "recorded", `file`
(relative to the repository, or the name of a shipped recording) and `num_subcarriers`. `channels` and `delay_lines`
have further kinds.
A job's `csi` are arguments of `gr_kaq.links.simulated_link.CsiError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gr_kaq
from gr_kaq.channels.flat import ChannelModel, RayleighChannels, RecordedChannels
from gr_kaq.detection.detector import Detector
from gr_kaq.links.simulated_link import CsiError, Link, detect
from gr_kaq.signals.constellation import constellation_named

from . import references
from .channels import AlikeStreams, UnequalPowers
from .delay_lines import ClusteredDelayLine
from .names import LMMSE
from .peers import PeersUnavailableError, sionna_module
from .references import is_slow
from .settings import ROOT
from .statistics import Pair, Rate

__all__ = [
    "bit_errors",
    "channel",
    "iid",
    "kronecker",
    "level_snrs",
    "load",
    "make_channels",
    "missing_peers",
    "pair_of",
    "rate_of",
    "recorded",
]

ESTIMATES_PER_DRAW = 500
BITS_PER_DRAW = 500_000


def iid(num_rx: int, num_tx: int) -> dict[str, Any]:
    """I.i.d. Rayleigh channels."""
    return {"kind": "rayleigh", "num_rx": num_rx, "num_tx": num_tx}


def kronecker(num_rx: int, num_tx: int, correlation: float) -> dict[str, Any]:
    """Neighbouring antennas are correlated alike at both ends."""
    return {"kind": "kronecker", "num_rx": num_rx, "num_tx": num_tx, "correlation": correlation}


def recorded(file: str, num_rx: int, num_tx: int, num_subcarriers: int) -> dict[str, Any]:
    """Recorded channels; an estimate covers a packet, as in a receiver."""
    return {
        "kind": "recorded",
        "file": file,
        "num_rx": num_rx,
        "num_tx": num_tx,
        "num_subcarriers": num_subcarriers,
    }


def channel(file: str) -> Path:
    """Where a recording lies: relative to the repository, or shipped with the package."""
    return ROOT / file if file.endswith(".npz") else Path(gr_kaq.shipped_recording(file))


def make_channels(document: dict[str, Any], seed: np.random.SeedSequence) -> ChannelModel:
    """The channel model that a job names."""
    size = document["num_rx"], document["num_tx"]
    if document["kind"] == "recorded":
        return RecordedChannels(channel(document["file"]), *size, document["num_subcarriers"])
    if document["kind"] == "powers":
        return UnequalPowers(*size, document["weaker_db"], document["num_weak"], seed)
    if document["kind"] == "alike":
        return AlikeStreams(*size, document["difference_db"], seed)
    if document["kind"] == "cdl":
        return ClusteredDelayLine(*size, document["profile"], document["delay_spread_ns"], seed)
    correlation = document.get("correlation", 0.0)
    return RayleighChannels(*size, rx_correlation=correlation, tx_correlation=correlation, seed=seed)


@cache
def load(name: str, constellation: str) -> Detector:
    """`references.load` for its symbols, once for each name and constellation."""
    return references.load(name, constellation, hard=True)


def missing_peers() -> str | None:
    """Why Sionna's detectors are left out; None where they are not."""
    try:
        sionna_module("mimo")
    except PeersUnavailableError as error:
        return str(error)
    return None


def bit_errors(job: dict[str, Any]) -> dict[str, Any]:
    """Count until every detector has made enough errors or seen enough bits.

    Every detector sees the first so many of the same transmissions: a slow one (a peer) may stop earlier. The seed of
    channels, bits and noise depends on the size, the SNR, the job's seed and its piece only, so that curves that differ
    in something else have their random numbers in common.

    Args:
        job: channel, csi, constellation, snr_db, num_vectors, detectors, min_errors, max_bits, peer_max_bits, seed;
            and, where they differ from all streams and from "bit", streams, the first and the one after the last that
            count, unit: "symbol" counts wrong symbols, "pam" wrong in-phase and quadrature parts, "bit" wrong bits, and
            piece, from 1 on: other random numbers, for more of the same point.

    Returns:
        `rates`, a `Rate` for each detector, and `pairs`: of a quantized detector and its full-precision twin, and of
        the first detector and each other one; by the name of the second.
    """
    size = job["channel"]["num_rx"], job["channel"]["num_tx"]
    piece = job.get("piece", 0)
    entropy = [job["seed"], *size, round(1000 * (100 + job["snr_db"]))]
    sequence = np.random.SeedSequence(entropy, spawn_key=(piece,) if piece else ())
    channel_seed, link_seed = sequence.spawn(2)
    channels = make_channels(job["channel"], channel_seed)
    constellation = constellation_named(job["constellation"])
    link = Link(
        channels,
        constellation,
        job["snr_db"],
        num_vectors=job["num_vectors"],
        csi_error=CsiError(**job["csi"]),
        seed=link_seed,
    )
    names: list[str] = job["detectors"]
    limit = {name: job["peer_max_bits"] if is_slow(name) else job["max_bits"] for name in names}
    rates = {name: Rate() for name in names}
    pairs = {name: Pair() for name in names[1:]}
    first, end = job.get("streams", (0, size[1]))
    counted = slice(first * constellation.bits_per_symbol, end * constellation.bits_per_symbol)
    bits_per_estimate = job["channel"].get("num_subcarriers", 1) * job["num_vectors"] * (counted.stop - counted.start)
    unit = job.get("unit", "bit")
    bits_of_unit = {"bit": 1, "pam": constellation.bits_per_dimension, "symbol": constellation.bits_per_symbol}[unit]
    trials_per_estimate = bits_per_estimate // bits_of_unit
    smallest = min(limit.values())
    count = max(1, min(ESTIMATES_PER_DRAW, BITS_PER_DRAW // bits_per_estimate, -(-smallest // bits_per_estimate)))
    while True:
        active = [n for n in names if rates[n].trials * bits_of_unit < limit[n] and rates[n].errors < job["min_errors"]]
        if not active:
            break
        # a peer's pair needs the first detector's errors on the same vectors, and the others cost next to nothing
        active = [n for n in names if n in active or not is_slow(n)]
        sent = link.draw(count)
        errors = {}
        for name in active:
            decided = constellation.decide(detect(load(name, constellation.name), sent).symbols)
            wrong = _in_units((decided != sent.bits)[..., counted], unit, constellation.bits_per_symbol)
            errors[name] = np.count_nonzero(wrong.reshape(count, -1), axis=1)
            rates[name] += Rate.of(errors[name], count * trials_per_estimate)
        for name in active[1:]:
            pairs[name] += Pair.of(errors[_first_of_pair(name, names)], errors[name], count * trials_per_estimate)
    return {
        "rates": {name: asdict(rate) for name, rate in rates.items()},
        "pairs": {name: asdict(pair) for name, pair in pairs.items()},
    }


def _in_units(wrong: NDArray[np.bool_], unit: str, bits_per_symbol: int) -> NDArray[np.bool_]:
    """Wrong bits (..., bits) to wrong symbols or PAM parts: even bits are the in-phase part, odd ones the other."""
    if unit == "bit":
        return wrong
    parts = wrong.reshape(*wrong.shape[:-1], -1, bits_per_symbol // 2, 2)  # (..., symbol, bit of a part, part)
    return parts.any(axis=(-1, -2)) if unit == "symbol" else parts.any(axis=-2)


def _first_of_pair(name: str, names: Sequence[str]) -> str:
    base = name.removesuffix("-fp")
    return base if base != name and base in names else names[0]


def rate_of(point: dict[str, Any], name: str) -> Rate | None:
    """A detector's rate at a point, None where it was not measured."""
    document = point["rates"].get(name)
    return None if document is None else Rate.read(document)


def pair_of(point: dict[str, Any], name: str) -> Pair | None:
    """The pair whose second is `name` (see `bit_errors`), None where that was not measured."""
    document = point["pairs"].get(name)
    return None if document is None else Pair.read(document)


def level_snrs(job: dict[str, Any]) -> dict[str, Any]:
    """SNRs, to half a dB, at which LMMSE's BER is about each of some levels; so rows of a table compare.

    Args:
        job: channel, csi, constellation, levels, max_bits, seed; and where they differ from `bit_errors`' and
            `HIGHEST_SNR_DB`, streams and highest_snr_db.

    Returns:
        `snr_db`: {level: SNR}; a level that is not reached is left out.
    """
    found: dict[str, float] = {}
    previous: tuple[float, float] | None = None
    for snr_db in range(LOWEST_SNR_DB, job.get("highest_snr_db", HIGHEST_SNR_DB) + 1, SNR_STEP_DB):
        given = {k: job[k] for k in ("channel", "csi", "constellation", "seed", "streams") if k in job}
        point = bit_errors(
            given
            | {"snr_db": float(snr_db), "num_vectors": 2, "detectors": [LMMSE], "peer_max_bits": 0}
            | {"min_errors": 2000, "max_bits": job["max_bits"]}
        )
        here = Rate.read(point["rates"][LMMSE]).log10
        for level in job["levels"]:
            goal = np.log10(level)
            if previous is not None and previous[1] >= goal > here and str(level) not in found:
                share = (goal - previous[1]) / (here - previous[1])
                found[str(level)] = round(2 * (previous[0] + share * SNR_STEP_DB)) / 2
        previous = float(snr_db), here
        if here < np.log10(min(job["levels"])):
            break
    return {"snr_db": found}


LOWEST_SNR_DB, HIGHEST_SNR_DB, SNR_STEP_DB = -6, 54, 3


def levels_reached(found: dict[str, float], levels: Sequence[float]) -> list[tuple[float, float]]:
    """(level, SNR) of those levels that `level_snrs` found."""
    return [(level, found[str(level)]) for level in levels if str(level) in found]
